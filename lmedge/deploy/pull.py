"""What comes home from a board: collected frames, photographs of lessons, the taught file."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from ..errors import HostError, MissingDependencyError, ModelFileError
from ..golden import verify
from ..harmless import harmless_lines
from ..model_file import read_model
from ..remote.ssh import Connection
from .plan import BoardPlan
from .taught import TAUGHT_FOLDER

SUFFIXES = (".jpg", ".json")  # of collected frames
_AT_A_TIME = 200  # names in one script
_NOT_READ = "unreadable"
_UNREADABLE = f'for name; do [ -r "$name" ] || [ ! -e "$name" ] || echo "{_NOT_READ}  $name"; done'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pulled:
    """What came home: new files, files deleted there, and all taught files that are here."""

    came: int
    gone: int
    taught: tuple[Path, ...]


class Puller:
    """The copies from one board, over a connection that is open."""

    def __init__(self, plan: BoardPlan, folder: str, connection: Connection, *, rsync: bool):
        """Take the plan, the folder of the board, and whether rsync is there."""
        self._plan, self._folder = plan, folder
        self._connection, self._rsync = connection, rsync

    def pull(self, folder: Path, *, delete: bool, step: Callable[[str], None]) -> Pulled:
        """Bring home what a board has collected and was taught.

        Collected frames go into `folder`, photographs of lessons into `photographs/` in it, and the
        taught file into `taught/`. Every file has the bytes that it has there. A taught file runs
        here before it counts. A photograph is deleted there only after its bytes were compared.
        """
        wanted = self._wanted()
        if shutil.which("rsync") is None or not self._rsync:
            raise MissingDependencyError("frames are copied by rsync: install it on both machines")
        came = gone = 0
        for one in wanted:
            new, good = self._bring(one, folder / one.here, step)
            came += new
            pictures = [name for name in good if Path(name).suffix in SUFFIXES]
            if delete and pictures:
                self._delete(one.there, pictures)
                gone += len(pictures)
        return Pulled(came=came, gone=gone, taught=_checked_files(folder / TAUGHT_FOLDER))

    def _bring(
        self, one: _Wanted, home: Path, step: Callable[[str], None]
    ) -> tuple[int, list[str]]:
        """Bring one folder home; return the number of new files, and the names of all."""
        hashes = self._hashes(one)
        before = {name for name, digest in hashes.items() if _same(home / name, digest)}
        if len(before) < len(hashes):
            step(f"copying {len(hashes) - len(before)} files")
            home.mkdir(parents=True, exist_ok=True)
            self._connection.fetch(one.there, home, one.suffixes, inside=one.inside)
        good = [name for name, digest in hashes.items() if _same(home / name, digest)]
        if len(good) < len(hashes):
            there = self._hashes(one)  # a full folder drops its oldest frames meanwhile
            missing = there.keys() & hashes.keys() - set(good)
            if missing:
                raise HostError(
                    f"{self._plan.host}: {len(missing)} of {len(hashes)} files did not arrive as "
                    "they are there; pull again"
                )
        return len(good) - len(before), good

    def _wanted(self) -> list[_Wanted]:
        words, found = self._plan.arguments, []
        if "--collect" in words:
            found.append(_Wanted(there=self._place("--collect")))
        if "--teach-photographs" in words:
            there = self._place("--teach-photographs")
            found.append(_Wanted(there=there, here="photographs", suffixes=(".jpg", ".csv")))
        if "--teach" in words:
            there = f"{self._folder}/{TAUGHT_FOLDER}"
            found.append(
                _Wanted(there=there, here=TAUGHT_FOLDER, suffixes=(".tflite",), inside=False)
            )
        if not found:
            raise HostError(
                f"{self._plan.name}: collects nothing and is not taught; set collect or teach in "
                "fleet.toml"
            )
        return found

    def _place(self, option: str) -> str:
        given = self._plan.arguments[self._plan.arguments.index(option) + 1]
        return given if given.startswith("/") else f"{self._folder}/{given}"

    def _hashes(self, one: _Wanted) -> dict[str, str]:
        names = " -o ".join(f"-name '*{suffix}'" for suffix in one.suffixes)
        depth = "" if one.inside else "-maxdepth 1 "
        find = f"find . {depth}-type f \\( {names} \\) ! -name '.*'"
        text = self._run(
            f"cd {shlex.quote(one.there)} 2>/dev/null || exit 0\n"
            f'these() {{ {find} -exec "$@" {{}} +; }}\n'
            f"these sh -c {shlex.quote(_UNREADABLE)} sh\n"
            "these sha256sum 2>/dev/null\nexit 0\n"  # also if one goes meanwhile
        )
        found = {}
        for line in text.splitlines():
            digest, _, name = line.partition("  ")
            if digest == _NOT_READ:
                raise HostError(
                    f"{self._plan.host}: {one.there}: {name} cannot be read by the user who logs in"
                )
            if digest.startswith("\\"):  # sha256sum marks a name with a backslash
                digest, name = digest[1:], name.replace("\\\\", "\\")
            inside = name.startswith("./") and ".." not in Path(name).parts
            if re.fullmatch(r"[0-9a-f]{64}", digest) and inside and name.isprintable():
                found[name] = digest
        return found

    def _delete(self, there: str, names: list[str]) -> None:
        for start in range(0, len(names), _AT_A_TIME):
            words = shlex.join(names[start : start + _AT_A_TIME])
            self._run(f"cd {shlex.quote(there)} && rm -f -- {words}\n")

    def _run(self, script: str) -> str:
        return harmless_lines(self._connection.run(script))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Wanted:
    """A folder of a board that is brought home: where it is, where it goes, and which files."""

    there: str
    here: str = ""
    suffixes: tuple[str, ...] = SUFFIXES
    inside: bool = True


def _checked_files(folder: Path) -> tuple[Path, ...]:
    """Return the taught files in a folder, each of which gives its golden answers here.

    Raises ModelFileError if one does not.
    """
    found = tuple(sorted(folder.glob("*.tflite")))
    for path in found:
        if not verify(read_model(path)).passed:
            raise ModelFileError(
                f"{path}: gives other answers here than on the board; do not deploy it"
            )
    return found


def _same(path: Path, digest: str) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == digest
