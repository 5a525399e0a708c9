"""Child processes of this Python that import nothing from the working folder.

Python puts the working folder in front of all modules for `-c` and `-m`, and for an empty entry of
PYTHONPATH. A file `numpy.py` or a folder `lmedge/` there would then run.
"""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path

_HERE = ("", os.curdir)  # entries that mean the working folder, whichever it is


def python_command(*words: str | os.PathLike[str]) -> list[str]:
    """Return the command that runs this Python with `words`, without the working folder.

    Give the process `child_environment()` too: an empty entry of PYTHONPATH outlasts `-P`.
    """
    return [sys.executable, "-P", *(os.fspath(word) for word in words)]


def child_environment() -> dict[str, str]:
    """Return the environment of a child: PYTHONPATH without the working folder, nothing added."""
    found = dict(os.environ)
    if "PYTHONPATH" in found:
        found["PYTHONPATH"] = os.pathsep.join(_named())
        if not found["PYTHONPATH"]:  # an empty one would mean the working folder again
            del found["PYTHONPATH"]
    return found


def leave_working_folder() -> None:
    """Remove the working folder from this process's places of modules.

    It stays if PYTHONPATH names it in full, or if packages are installed in it.
    """
    try:
        here = str(Path.cwd())
    except OSError:  # the folder was removed
        here = ""
    kept = {*_named(), *site.getsitepackages()}
    sys.path[:] = [
        entry for entry in sys.path if entry not in _HERE and (entry != here or entry in kept)
    ]


def _named() -> list[str]:
    return [
        entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry not in _HERE
    ]
