"""The wanted state of a board beside the facts: what cannot be, and what would change."""

from __future__ import annotations

from pathlib import Path

from ..errors import DeployError
from .checks import SPARE
from .facts import MACHINES, BoardFacts
from .plan import BoardPlan
from .release import Release
from .service import unit_text
from .sign_command import verify_file
from .signing import PublicKey
from .state import Reason
from .store import TRUSTED

NEEDED_MB = 600  # of a new environment: packages, and pip's copies of them


def check_board(facts: BoardFacts, *, own: bool) -> None:
    """Raise DeployError at once if no runtime exists for a board."""
    if facts.system != "Linux":
        raise DeployError(f"its system is {facts.system}; deploy needs Linux", Reason.MACHINE)
    if not own and (facts.machine not in MACHINES or facts.bits != 64):
        raise DeployError(
            f"{facts.machine}, {facts.bits} bits: LiteRT has no package for it; install a 64-bit "
            "system, or name a Python that has a runtime with --host-python",
            Reason.MACHINE,
        )


def check_source(plan: BoardPlan, facts: BoardFacts) -> None:
    """Raise DeployError at once if a board lacks the package that reads its camera."""
    if plan.source.startswith("picamera2") and not facts.picamera2:
        raise DeployError(
            "picamera2 is not installed for its Python: sudo apt install python3-picamera2",
            Reason.CAMERA,
        )


def source_doubts(plan: BoardPlan, facts: BoardFacts) -> tuple[str, ...]:
    """Return warnings on the source; the board itself finds out if it gives frames."""
    name = f"video{plan.source}" if plan.source.isdecimal() else plan.source
    name = name.removeprefix("/dev/")
    if not name.startswith("video") or "/" in name:
        return ()
    if name not in facts.cameras:
        return (f"there is no /dev/{name}",)
    if facts.picamera2:
        return ("source=picamera2 reads the camera of a Raspberry Pi; /dev/video* is a webcam",)
    return ()


def check_room(facts: BoardFacts, size: int, *, own: bool, environment: bool) -> None:
    """Raise DeployError unless a file of `size` bytes, and a new `environment`, have room.

    A full disk is found before anything is sent, which would fail there as a lost connection does.
    """
    needed = (size + SPARE >> 20) + 1
    if environment:
        needed += 64 if own else NEEDED_MB
    if facts.free_mb is not None and facts.free_mb < needed:
        what = "a release and its environment need" if environment else "a release needs"
        raise DeployError(
            f"{facts.free_mb} MB are free in {facts.folder}, {what} {needed}; remove something",
            Reason.SPACE,
        )


def check_key(facts: BoardFacts, file: Path, key: str | None) -> None:
    """Raise DeployError at once if a board would refuse the file for its signature."""
    if not facts.trusted:
        return
    if key is not None and key.split() != facts.trusted.split():
        raise DeployError(
            f"the board has learned another key; remove {facts.folder}/{TRUSTED} there to let it "
            "learn this one",
            Reason.SIGNATURE,
        )
    try:
        verify_file(file, PublicKey.read(facts.trusted, "the key of the board"))
    except DeployError as error:
        raise DeployError(
            f"{error}; the board takes signed files only", Reason.SIGNATURE
        ) from error


def changes_for(
    plan: BoardPlan, facts: BoardFacts, release: Release, key: str | None = None
) -> list[str]:
    """Return what a deployment would change, in words; nothing if the board is as wanted."""
    changes = []
    if release.environment not in facts.environments:
        changes.append(f"make an environment with lmedge {release.lmedge}")
    if facts.current != release.name:
        before = "no release" if facts.current is None else facts.current[:12]
        changes.append(f"switch from {before} to {release.name[:12]}")
    elif facts.state.trial is not None or release.name not in facts.state.good:
        changes.append(f"prove release {release.name[:12]}")
    if key is not None and not facts.trusted:
        changes.append("learn the public key")
    if facts.systemd:
        wanted = unit_text(Path(facts.folder), plan.service, system=facts.root)
        if _comparable(facts.unit) != _comparable(wanted):
            changes.append(f"write {plan.service.name}.service")
        elif facts.active not in {"active", "activating"}:
            changes.append(f"start {plan.service.name}.service")
    return changes


def _comparable(unit: str) -> list[str]:
    """Return the lines of a unit, without the groups, which only the board knows."""
    return [line for line in unit.splitlines() if not line.startswith("SupplementaryGroups=")]
