"""A remote host: its Python, a folder of ours on it, and the command that runs there."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import __version__
from ..errors import HostError
from ..harmless import harmless, harmless_lines
from ..machine import BOOT_ID
from .packing import unpack, write_wheel
from .ssh import Connection, LostError

OLDEST = (3, 11)
_MOST_LINES = 16  # Pythons that are found there
_LONGEST = 12 * 3600.0  # seconds of a benchmark
_PACKAGES = {"numpy", "cv2", "flatbuffers", "click", "rich", "ai_edge_litert"}
POLL_SECONDS = 10  # for which one request waits for the end of the command
# Runs under any Python 3, and finds packages without importing them.
_PROBE = """
import json, sys
from importlib.util import find_spec
there = lambda name: find_spec(name) is not None
names = ["numpy", "cv2", "flatbuffers", "click", "rich"]
missing = [name for name in names if not there(name)]
if not there("ai_edge_litert") and not there("tflite_runtime"): missing.append("ai_edge_litert")
version = None
try:
    from importlib.metadata import version as of
    version = of("lmedge") if there("lmedge.benchmarks") else None
except Exception: pass
given = sys.argv[1]  # maybe a script that sets up more than a Python: then it is run itself
print(json.dumps({"path": given if "/" in given else sys.executable,
                  "version": list(sys.version_info[:2]), "missing": missing,
                  "lmedge": version}))
"""
_SAFE_PATH = "export PYTHONSAFEPATH=1\n"  # no Python there imports from the folder it runs in
# A log-in without a terminal often has a short PATH: the script of an installed lmedge names the
# Python it belongs to.
_SEARCH = """
for name in python3 python3.14 python3.13 python3.12 python3.11; do try "$name"; done
for script in "$(command -v lmedge)" "$HOME/.local/bin/lmedge"; do
  [ -f "$script" ] && try "$(sed -n '1s/^#! *//p' "$script")"
done
"""
# Folders of ours that a power cut left: nothing runs in those of an earlier start of the machine.
# Not those in TMPDIR, which several machines may share.
_TIDY = f"""
boot="$(cat {BOOT_ID} 2>/dev/null)"
[ -z "$boot" ] || {{
  echo "$boot" >boot
  for old in /var/tmp/lmedge-* /tmp/lmedge-*; do
    [ -d "$old" ] && [ ! -L "$old" ] && [ -O "$old" ] && [ -s "$old/boot" ] || continue
    [ "$(cat "$old/boot")" = "$boot" ] || rm -rf "$old"
  done
}}
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemotePython:
    """A Python on the remote host.

    Attributes:
        path: The Python, or a script that starts one.
        version: Major and minor version.
        missing: Packages that lmedge needs and this Python lacks.
        lmedge: Version of lmedge that is installed there, if any.
    """

    path: str
    version: tuple[int, int]
    missing: tuple[str, ...]
    lmedge: str | None

    @property
    def rank(self) -> int:
        """0: it has this version of lmedge; 1: it has all that lmedge needs; 2: neither."""
        return 2 if self.missing else int(self.lmedge != __version__)


def choose_python(found: Sequence[RemotePython], host: str) -> RemotePython:
    """Return the Python that needs the least. Raises HostError if none is new enough."""
    usable = [one for one in found if one.version >= OLDEST]
    if not usable:
        raise HostError(
            f"{host}: no Python {OLDEST[0]}.{OLDEST[1]} or newer was found there; name it with "
            "--host-python PATH"
        )
    return min(usable, key=lambda one: one.rank)


class RemoteHost:
    """The host behind a connection, with a folder of ours on it that `remove` deletes."""

    def __init__(self, connection: Connection) -> None:
        """Choose the name of the folder, so that it is known before anything is sent."""
        self.connection = connection
        self._name = f"lmedge-{secrets.token_hex(8)}"
        # /var/tmp before /tmp, which may be memory, of which a small host has little; memory at the
        # end, since a full disk takes no folder.
        bases = '"${TMPDIR:-}" /var/tmp /tmp /dev/shm'
        self._start = (
            f"dir=\nfor base in {bases}; do\n"
            f'  [ -n "$base" ] && [ -d "$base/{self._name}" ] || continue\n'
            f'  dir="$base/{self._name}"\n  break\n'
            f'done\n[ -n "$dir" ] || for base in {bases}; do\n'
            f'  [ -n "$base" ] && mkdir -m 700 "$base/{self._name}" 2>/dev/null || continue\n'
            f'  dir="$base/{self._name}"\n  break\ndone\n'
            f'dir="${{dir:-/var/tmp/{self._name}}}"\n'
        )
        self.folder = f"/var/tmp/{self._name}"  # or elsewhere, as `prepare` learns
        self.rsync = False
        self._found: tuple[RemotePython, ...] = ()

    @property
    def host(self) -> str:
        """Name of the host, as the user wrote it."""
        return self.connection.link.host

    def prepare(self, python: str | None) -> RemotePython:
        """Make the folder, look for Python (or at `python`) and return the one to use.

        Raises HostError if there is none, or the host refuses.
        """
        output = self.connection.run(
            f'{self._start}umask 077\nmkdir -p "$dir" && cd "$dir" || exit 1\necho "$dir"\n{_TIDY}'
            "command -v rsync >/dev/null 2>&1 && echo rsync || echo scp\n"
            f"{_SAFE_PATH}"
            f"probe={shlex.quote(_PROBE)}\n"
            'try() { [ -n "$1" ] && "$1" -c "$probe" "$1" </dev/null 2>/dev/null; }\n'
            f"{_SEARCH if python is None else f'try {_at_home(python)}'}\nexit 0\n"
        )
        folder, copier, *lines = (*output.splitlines(), "", "")[: _MOST_LINES + 2]
        if not folder.endswith(f"/{self._name}") or copier not in {"rsync", "scp"}:
            raise HostError(
                f"{self.host}: did not run the first script as a POSIX shell does, it printed "
                f"{harmless(folder[:80])!r}; check its log-in shell"
            )
        self.folder = folder
        if not re.fullmatch(r"/[\w./+-]+", self.folder, re.ASCII) or "/../" in self.folder:
            raise HostError(
                f"{self.host}: its temporary folder {harmless(self.folder)} has letters that a "
                "shell reads otherwise; set TMPDIR there"
            )
        self.rsync = copier == "rsync" and shutil.which("rsync") is not None
        return choose_python([_remote_python(line) for line in lines if line], self.host)

    def outfit(self, interpreter: RemotePython, folder: Path) -> None:
        """Add to a payload what this Python lacks: lmedge's modules, or its wheel."""
        if interpreter.rank:
            wheel = write_wheel(folder)
            if interpreter.rank == 1:
                unpack(wheel, folder / "packages")
                wheel.unlink()

    def install(self, interpreter: RemotePython) -> str:
        """Return the Python to run; make an environment in our folder if packages are missing.

        Raises HostError with the next step if pip fails there.
        """
        if interpreter.rank < 2:
            return interpreter.path
        try:
            self._do(
                f"{_SAFE_PATH}{shlex.quote(interpreter.path)} -m venv venv </dev/null 1>&2 && "
                "venv/bin/python -m pip install --quiet --disable-pip-version-check "
                '--no-cache-dir "$(echo "$dir"/lmedge-*.whl)" </dev/null 1>&2\n'
            )
        except HostError as error:
            raise HostError(
                f"{error}: the Python there lacks {', '.join(interpreter.missing)}, and lmedge "
                "could not be installed for the time of the benchmark; install it there "
                "(pip install lmedge), or name a Python that has it with --host-python PATH"
            ) from error
        return f"{self.folder}/venv/bin/python"

    def start(self, python: str, arguments: Sequence[str], columns: int) -> None:
        """Start `lmedge benchmark` there, so that it survives a lost connection."""
        settings = (
            f"COLUMNS={columns} PYTHONUTF8=1 PYTHONSAFEPATH=1 "
            'PYTHONPATH="$PWD/packages" LMEDGE_CACHE="$PWD/cache" MPLCONFIGDIR="$PWD/cache"'
        )
        self.start_apart([python, "-m", "lmedge", "benchmark", *arguments], settings)

    def start_apart(self, words: Sequence[str], settings: str = "PYTHONUTF8=1") -> None:
        """Start a command there, once, so that it survives a lost connection.

        `settings` are words of a shell: the variables that the command sees.
        """
        job = (
            f"export {settings}\n"
            f"{shlex.join(words)} >output 2>errors </dev/null &\necho $! >pid\nwait $!\n"
            "echo $? >code.part && mv code.part code\n"
        )
        self._do(
            f"printf %s {shlex.quote(job)} >job\n"
            "[ -e started ] || { : >started; nohup sh ./job >/dev/null 2>&1 </dev/null & }\n"
        )

    def wait(self, what: str = "benchmark", look_on: Callable[[str], None] | None = None) -> int:
        """Return the exit code of the command. Raises HostError if it ends without one.

        `look_on` is called about once a second with all that the command has printed.
        """
        slices = 4 if look_on is not None else 4 * POLL_SECONDS
        look = (
            f"i=0; while [ ! -e code ] && [ $i -lt {slices} ]; do\n"
            "  i=$((i + 1)); sleep 0.25 2>/dev/null || sleep 1\n"
            '  [ -e pid ] && ! kill -0 "$(cat pid)" 2>/dev/null && { sleep 1; break; }\ndone\n'
            'if [ -e code ]; then cat code; elif [ ! -e pid ] || kill -0 "$(cat pid)" 2>/dev/null\n'
            "then echo running; else echo gone; fi\n"
        )
        end = time.monotonic() + _LONGEST
        while (state := self._do(look).strip()) == "running":
            if look_on is not None:
                look_on(self.printed("output"))
            if time.monotonic() > end:
                raise HostError(
                    f"{self.host}: the {what} has not ended within {_LONGEST / 3600:g} hours; look "
                    "there what keeps it"
                )
        if not re.fullmatch("[0-9]{1,3}", state):
            raise HostError(f"{self.host}: the {what} was ended there, or the host restarted")
        return int(state)

    def printed(self, name: str) -> str:
        """Return the text of `output` or `errors`, safe for this terminal."""
        return harmless_lines(self._do(f"cat {name}\n"))

    def read(self, name: str, most: int) -> str:
        """Return the text of a file below our folder. Raises HostError beyond `most` bytes."""
        return self.connection.run(f'{self._start}cd "$dir" && cat {shlex.quote(name)}\n', most)

    def ask(self, python: RemotePython, program: str, words: Sequence[str]) -> str:
        """Return what a program of Python prints there; it must not change anything."""
        command = [python.path, "-c", program, *words]
        return self._do(f"{_SAFE_PATH}{shlex.join(command)} </dev/null\n")

    def remove(self) -> bool:
        """End the command and remove the folder; return False if the host cannot be reached."""
        end = (
            f'{self._start}[ -d "$dir" ] || exit 0\ncd "$dir"\n'
            'pid="$(cat pid 2>/dev/null)"\n'
            'if [ -n "$pid" ] && [ ! -e code ]; then kill "$pid" 2>/dev/null; i=0\n'
            '  while kill -0 "$pid" 2>/dev/null && [ $i -lt 20 ]; do\n'
            "    i=$((i + 1)); sleep 0.1 2>/dev/null || sleep 1\n  done\nfi\n"
            'cd / && rm -rf "$dir"\n'
        )
        if not self.connection.stood:
            return True
        try:
            self.connection.attempt(end)
        except (HostError, LostError):
            return False
        return True

    def _do(self, script: str) -> str:
        return self.connection.run(f'{self._start}cd "$dir" || exit 1\n{script}')


def _remote_python(line: str) -> RemotePython:
    try:
        found = json.loads(line)
        major, minor = found["version"]
        path, missing, version = found["path"], found["missing"], found["lmedge"]
        if not (isinstance(path, str) and path and harmless(path) == path):
            raise ValueError("path")
        if not all(type(number) is int for number in (major, minor)):
            raise ValueError("version")
        if not (set(missing) <= _PACKAGES and isinstance(version, str | None)):
            raise ValueError("missing")
        return RemotePython(
            path=path, version=(major, minor), missing=tuple(missing), lmedge=version
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HostError(
            f"its probe of Python printed {harmless(line[:200])!r}; name another with --host-python"
        ) from error


def _at_home(python: str) -> str:
    """Return a path as a word of a shell, relative to the home folder as after a log-in."""
    if python.startswith("~/"):
        return f'"$HOME"/{shlex.quote(python[2:])}'
    if "/" in python and not python.startswith("/"):
        return f'"$HOME"/{shlex.quote(python)}'
    return shlex.quote(python)
