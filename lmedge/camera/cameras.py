"""The cameras of this machine: what `--source` takes, their names, problems and offers."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import SourceError
from .capture import list_picameras, open_device
from .offer import CameraOffer, OfferedFormat, OfferedSize
from .v4l2 import problem_of, read_offer

_SYSTEM = Path("/sys/class/video4linux")
_PROBED = 5  # numbers tried if the system keeps no list


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundCamera:
    """A camera of this machine.

    Attributes:
        source: The value of `--source`.
        name: The name that driver or library gives.
        problem: The reason why it cannot be asked, and the remedy.
        offer: Its answers, None if there are none.
    """

    source: str
    name: str = ""
    problem: str | None = None
    offer: CameraOffer | None = None

    def lines(self) -> list[str]:
        """Return source, name and problem, then formats with their sizes and rates."""
        parts = (self.source, self.name, self.problem)
        return ["  ".join(part for part in parts if part), *_table(self.offer)]

    def as_json(self) -> dict[str, Any]:
        """Return the object of `lmedge camera --list --json`."""
        offer = self.offer
        return {
            "source": self.source,
            "name": self.name or None,
            "problem": self.problem,
            "driver": (offer.driver or None) if offer else None,
            "bus": (offer.bus or None) if offer else None,
            "formats": [
                {
                    "code": one.code,
                    "description": one.description,
                    "readable": one.readable,
                    "sizes": [dataclasses.asdict(size) for size in one.sizes],
                }
                for one in (offer.formats if offer else ())
            ],
        }


def find_cameras(system: Path = _SYSTEM, devices: Path = Path("/dev")) -> list[FoundCamera]:
    """Return the cameras that the system and picamera2 know, without taking an image."""
    found = [FoundCamera(source=source, name=name) for source, name in list_picameras()]
    if not sys.platform.startswith("linux"):
        return [
            *(FoundCamera(source=f"{number}") for number in range(_PROBED) if _opens(number)),
            *found,
        ]
    entries = sorted(system.glob("video[0-9]*"), key=lambda path: int(path.name[5:]))
    nodes = (_node(entry, devices / entry.name) for entry in entries)
    return [*(node for node in nodes if node is not None), *found]


def _node(entry: Path, device: Path) -> FoundCamera | None:
    """Return the camera of an entry of the system, None if the node takes no images."""
    name = _read(entry / "name") or "unnamed"
    try:
        offer = read_offer(device)
    except OSError as error:
        # Only the first node, index 0, is sure to give images; others may be for metadata.
        if _read(entry / "index") not in {"", "0"}:
            return None
        return FoundCamera(source=str(device), name=name, problem=problem_of(error))
    if offer is None:
        return None
    return FoundCamera(source=str(device), name=offer.name or name, offer=offer)


def _opens(number: int) -> bool:
    try:
        open_device(str(number)).release()
    except SourceError:
        return False
    return True


def _read(path: Path) -> str:
    try:
        return " ".join(path.read_text("utf-8", "replace").split())
    except OSError:
        return ""


def _table(offer: CameraOffer | None) -> Iterator[str]:
    """Yield a line for each size of formats that have the same sizes."""
    formats = offer.formats if offer else ()
    groups: dict[tuple[OfferedSize, ...], list[OfferedFormat]] = {}
    for one in formats:
        if one.readable:
            groups.setdefault(one.sizes, []).append(one)
    for sizes, members in groups.items():
        yield f"    {', '.join(one.code for one in members)}"
        width = max((len(size.text()) for size in sizes), default=0)
        for size in sizes:
            rates = f"  {size.rates_text()} a second" if size.rates else ""
            yield f"        {size.text().ljust(width)}{rates}".rstrip()
    others = [one.code for one in formats if not one.readable]
    if others:
        yield f"    not read by lmedge: {', '.join(others)}"
