"""The checks of a release on the board, before it takes the place of another.

Each runs in a process of the release's own environment: a runtime that crashes on this processor
ends that process, and no more. A check that fails raises DeployError with its reason.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..errors import DeployError, LmedgeError
from ..harmless import harmless
from .release import Release
from .service import camera_groups
from .signing import PublicKey
from .state import Reason
from .store import SIGNATURE_SUFFIX, Store

SPARE = 32 << 20  # bytes that stay free beside a release
_SECONDS = 120.0  # of one check, if the grace of a release is not longer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed:
    """The times of a classification on this board, in milliseconds."""

    p50: float
    p90: float


def require_space(store: Store, needed: int) -> None:
    """Raise DeployError unless `needed` bytes fit beside what is there."""
    free = shutil.disk_usage(store.folder).free
    if free < needed + SPARE:
        raise DeployError(
            f"{store.folder}: {free >> 20} MB are free, {(needed + SPARE) >> 20} MB are needed; "
            "remove something",
            Reason.SPACE,
        )


def require_bytes(store: Store, release: Release, offered: str | None = None) -> None:
    """Raise DeployError if the file of a release is damaged, or not signed as it must be.

    It must be signed by the key that the board has learned, and by one that is offered.
    """
    path = store.file(release)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DeployError(f"{path}: {error.strerror}; deploy it again", Reason.HASH) from error
    if hashlib.sha256(data).hexdigest() != release.sha256:
        raise DeployError(f"{path}: its bytes changed; deploy it again", Reason.HASH)
    key = _key(store, offered)
    if key is None:
        return
    place = path.with_name(path.name + SIGNATURE_SUFFIX)
    try:
        signature = place.read_text("utf-8", "replace")
    except OSError as error:
        raise DeployError(
            f"{path.name}: is not signed, and the board has learned a key; sign it with "
            "`lmedge sign`",
            Reason.SIGNATURE,
        ) from error
    _require_signature(data, signature, place, key)


def take_signature(store: Store, release: Release, given: Path, offered: str | None) -> None:
    """Let a release that was there before have the signature that came with its file now.

    Without a key nobody can tell which of two signatures is right: the first one stays. Raises
    DeployError for a signature that does not fit, and the one that is there stays.
    """
    path = store.file(release)
    place = path.with_name(path.name + SIGNATURE_SUFFIX)
    if not given.is_file():
        return
    signature = given.read_text("utf-8", "replace")
    there = place.read_text("utf-8", "replace") if place.is_file() else None
    key = _key(store, offered)
    if signature == there or (key is None and there is not None):
        return
    if key is not None:
        _require_signature(path.read_bytes(), signature, place, key)
    try:
        store.write(str(place.relative_to(store.folder)), signature)
    except OSError as error:
        raise DeployError(f"{place}: {error.strerror or error}", Reason.SPACE) from error


def _key(store: Store, offered: str | None) -> str | None:
    """Return the key that files must be signed with. Raises DeployError if two differ."""
    learned = store.learned()
    if learned is not None and offered is not None and learned.split() != offered.split():
        raise DeployError(
            f"{store.folder}: the board has learned another key; remove {store.trusted} there to "
            "let it learn this one",
            Reason.SIGNATURE,
        )
    return learned if learned is not None else offered


def _require_signature(data: bytes, signature: str, place: Path, key: str) -> None:
    try:
        PublicKey.read(key, "the learned key").verify(data, signature, place.name)
    except LmedgeError as error:  # also if cryptography is missing: a board that cannot tell
        raise DeployError(str(error), Reason.SIGNATURE) from error


def require_golden(store: Store, release: Release) -> None:
    """Raise DeployError unless the file gives its golden answers here."""
    code, line = _run(store, release, ["inspect", str(store.file(release)), "--verify"])
    if code:
        golden = "golden answers" in line or "other answers" in line
        raise DeployError(line, Reason.GOLDEN if golden else Reason.RUNTIME)


def require_speed(store: Store, release: Release) -> Speed | None:
    """Measure the file, and raise DeployError if it is slower than its budget.

    The number of threads is that of the service, one unless its words name another.
    """
    if release.budget_ms is None:
        return None
    with tempfile.TemporaryDirectory(prefix="lmedge-") as folder:
        if _as_owner(store):  # the check writes there, as the service would
            os.chown(folder, _as_owner(store)["user"], -1)
        words = ["benchmark", str(store.file(release)), "--quick", "--out", folder]
        if "--threads" in release.arguments:
            place = release.arguments.index("--threads")
            words += release.arguments[place : place + 2]
        code, line = _run(store, release, words)
        if code:
            raise DeployError(line, Reason.RUNTIME)
        found = json.loads((Path(folder) / "report.json").read_text("utf-8"))
    times = found["latency"]["end_to_end_ms"]
    speed = Speed(p50=times["p50"], p90=times["p90"])
    if speed.p90 > release.budget_ms:
        raise DeployError(
            f"{release.file}: takes {speed.p90:.1f} ms here at the 90th percentile, and "
            f"{release.budget_ms:g} ms are the budget; pass a larger --budget-ms or a smaller file",
            Reason.SLOW,
        )
    return speed


def require_offered(release: Release) -> None:
    """Raise DeployError if a V4L2 camera does not offer the size, rate or format of a release.

    It is asked while another release takes images; of these alone nobody could tell.
    """
    asked = dict(zip(release.capture, release.capture[1:], strict=False))
    if not {"--size", "--fps", "--format"} & set(asked) or not sys.platform.startswith("linux"):
        return
    from ..camera.capture import device_path, names_camera
    from ..camera.v4l2 import read_offer

    source = release.source
    if not names_camera(source):
        return
    try:
        offer = read_offer(device_path(source), readable_only=True)
        width, _, height = asked.get("--size", "").lower().partition("x")
        unmet = offer and offer.unmet(
            asked["--format"].upper() if "--format" in asked else None,
            (int(width), int(height)) if width else None,
            float(asked["--fps"]) if "--fps" in asked else None,
        )
    except (OSError, ValueError):  # the check of the camera tells why
        return
    if unmet:
        raise DeployError(
            f"camera {source} does not offer {unmet[0]}; pass one of {unmet[1]}", Reason.CAMERA
        )


def require_camera(store: Store, release: Release) -> None:
    """Raise DeployError unless the camera gives a frame that the release classifies."""
    words = ["camera", str(store.file(release)), *release.capture, "--headless", "--frames", "1"]
    code, line = _run(store, release, words)
    if code:
        raise DeployError(line, Reason.CAMERA if code in {7, 11} else Reason.RUNTIME)


def _run(store: Store, release: Release, words: list[str]) -> tuple[int, str]:
    """Run a command of the release's own lmedge; return its exit code and its last line."""
    command = [str(store.environments / release.environment / "run"), "-q", *words]
    seconds = max(_SECONDS, release.grace)
    try:
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            **_as_owner(store),
        )
    except subprocess.TimeoutExpired:
        return 1, f"{release.file}: `lmedge {words[0]}` did not end within {seconds:g} s"
    except OSError as error:
        raise DeployError(f"{command[0]}: {error.strerror}", Reason.ENVIRONMENT) from error
    lines = [line for line in process.stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else f"`lmedge {words[0]}` ended with {process.returncode}"
    return process.returncode, harmless(last.removeprefix("lmedge: "))


def _as_owner(store: Store) -> dict[str, Any]:
    """Return arguments that run a process with the rights of the service, if this one is root."""
    about = store.folder.stat()
    if os.geteuid() != 0 or about.st_uid == 0:
        return {}
    groups = list(camera_groups().values())
    return {"user": about.st_uid, "group": about.st_gid, "extra_groups": groups}
