"""The environment of a release on a board: which one it needs, and the script that makes it."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
from pathlib import Path

from ..remote.host import RemotePython
from .facts import BoardFacts
from .plan import BoardPlan
from .service import USER

_RUN = """\
#!/bin/sh
export PYTHONSAFEPATH=1 PYTHONUTF8=1{path}
: "${{LMEDGE_CACHE:={folder}/cache}}"
export LMEDGE_CACHE
exec {python} -m lmedge "$@"
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outfit:
    """An environment: the modules of lmedge, and the Python that runs them.

    Attributes:
        key: Its name on the board; the same content has the same name.
        python: The Python that makes it, or runs it.
        own_packages: True if that Python has the packages that lmedge needs; pip is not used then.
        extras: Extras of lmedge that it needs.
        system_packages: True if it sees the packages of the system, picamera2 among them.
    """

    key: str
    python: str
    own_packages: bool
    extras: tuple[str, ...]
    system_packages: bool

    @classmethod
    def of(
        cls, wheel: Path, plan: BoardPlan, facts: BoardFacts, python: RemotePython, *, own: bool
    ) -> Outfit:
        """Return the environment that a board needs for these modules and this plan."""
        extras = () if own else plan.extras
        system = not own and facts.picamera2
        parts = (
            hashlib.sha256(wheel.read_bytes()).hexdigest(),
            facts.machine,
            str(python.version),
            python.path if own else "",
            ",".join(extras),
            str(system),
            facts.folder,
        )
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        return cls(
            key=key,
            python=python.path,
            own_packages=own,
            extras=extras,
            system_packages=system,
        )

    def folder(self, facts: BoardFacts) -> str:
        """Return its folder on the board."""
        return f"{facts.folder}/environments/{self.key}"


def setup_script(outfit: Outfit, facts: BoardFacts, incoming: str, *, offline: bool) -> str:
    """Return the script that makes the environment, and the user of the service for root.

    A script that ends early leaves an environment without the file `complete`; the next one makes
    it anew. Two at once take turns by a lock on the folder, as `Store.prune` does, if the board has
    flock, as Debian and Alpine do.
    """
    folder, place = shlex.quote(facts.folder), shlex.quote(outfit.folder(facts))
    make = _packages(outfit, place, incoming) if outfit.own_packages else ""
    make = make or _virtual(outfit, place, incoming, offline=offline)
    python = shlex.quote(outfit.python) if outfit.own_packages else f"{place}/venv/bin/python"
    path = f" PYTHONPATH={place}/packages" if outfit.own_packages else ""
    run = _RUN.format(path=path, folder=facts.folder, python=python)
    user = _user(folder) if facts.root else ""
    return (
        f"umask 022\nmkdir -p {folder}/environments {folder}/cache || exit 1\n{user}"
        f"if command -v flock >/dev/null 2>&1; then exec 9<{folder}/environments\n"
        'flock -n 9 || { echo \'{"step": "waiting for another environment"}\'; flock 9; }; fi\n'
        f"if [ ! -e {place}/complete ]; then\n"
        'echo \'{"step": "making the environment"}\'\n'
        f"rm -rf {place} && mkdir {place} || exit 1\n{make}"
        f"printf %s {shlex.quote(run)} >{place}/run && chmod 755 {place}/run || exit 1\n"
        f"sync; : >{place}/complete; sync\nfi\nexec 9<&-\n"
    )


def _packages(outfit: Outfit, place: str, incoming: str) -> str:
    python = shlex.quote(outfit.python)
    return (
        f"cp -R {shlex.quote(incoming)}/packages {place}/packages || exit 1\n"
        f"{python} -m compileall -q {place}/packages >/dev/null 2>&1\n"
    )


def _virtual(outfit: Outfit, place: str, incoming: str, *, offline: bool) -> str:
    system = " --system-site-packages" if outfit.system_packages else ""
    extras = f"[{','.join(outfit.extras)}]" if outfit.extras else ""
    index = f" --no-index --find-links {shlex.quote(incoming)}/wheelhouse" if offline else ""
    failed = (
        '{"result": "refused", "reason": "environment", "detail": "pip could not install lmedge '
        'there; look at its connection, or pass --wheelhouse"}'
    )
    return (
        f"{shlex.quote(outfit.python)} -m venv{system} {place}/venv 1>&2 &&\n"
        f"{place}/venv/bin/python -m pip install --quiet --disable-pip-version-check "
        f'--no-cache-dir{index} "$(echo {shlex.quote(incoming)}/lmedge-*.whl){extras}" 1>&2 ||\n'
        f"{{ echo {shlex.quote(failed)}; exit 14; }}\n"
    )


def _user(folder: str) -> str:
    """Return the lines that make the user of the service, who owns the folder."""
    return (
        f"id {USER} >/dev/null 2>&1 || useradd --system --home-dir {folder} "
        f"--shell /usr/sbin/nologin {USER} 2>/dev/null || adduser -S -H -h {folder} {USER}\n"
        f"chown {USER} {folder} {folder}/cache || exit 1\n"
    )
