"""Take images of a V4L2 camera in each format and size that it offers; run on the emulated board.

    python3 - /dev/video0 < board_offers.py

One object of JSON a line: the format, the size, that of the image, frames a second, and the
standard deviation of its pixels, which is 0 for an image of one colour. The last object has the
line with which a size that is not offered is refused. lmedge must be importable; whole_board.py
sends this file to the board.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmedge.camera import CaptureOptions, Frame, open_source
from lmedge.camera.offer import OfferedFormat, OfferedSize
from lmedge.camera.v4l2 import read_offer
from lmedge.errors import LmedgeError

FRAMES = 4
WIDEST = 1280  # an emulated processor draws larger images for minutes
SLOWEST = 2.0  # frames a second, the least that is asked for
ODD = (333, 222)  # a size that no camera has


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfferTrial:
    """Images in one format and size: `shown` is the size of the image, `problem` the error."""

    format: str
    size: tuple[int, int]
    rate: float | None
    shown: tuple[int, int] | None = None
    measured: float = 0.0
    deviation: float = 0.0
    problem: str = ""

    @property
    def good(self) -> bool:
        """True if images came in the size that was asked for."""
        return self.shown == self.size and self.deviation > 0


def trials(device: str) -> Iterator[OfferTrial]:
    """Yield a trial for each readable format at its least size, and each size of the first one."""
    offer = read_offer(Path(device), readable_only=True)
    formats = [one for one in offer.formats if one.readable and one.sizes] if offer else []
    for number, one in enumerate(formats):
        sizes = sorted(one.sizes, key=lambda size: size.most)
        for size in [size for size in sizes if size.most[0] <= WIDEST][: None if not number else 1]:
            yield _try(device, one, size)


def _try(device: str, one: OfferedFormat, size: OfferedSize) -> OfferTrial:
    rate = min((rate for rate in size.rates if rate >= SLOWEST), default=None)
    trial = OfferTrial(format=one.code, size=size.most, rate=rate)
    options = CaptureOptions(size=size.most, rate=rate, format=one.code, exact=True)
    frames, image, begun = 0, None, 0.0
    try:
        with open_source(device, options=options, give_up=30.0) as source:
            for frame in source:
                if isinstance(frame, Frame):
                    frames, image = frames + 1, frame.image
                    begun = begun or time.monotonic()
                    if frames == FRAMES:
                        break
    except LmedgeError as error:
        return dataclasses.replace(trial, problem=str(error))
    if image is None:
        return dataclasses.replace(trial, problem="no image")
    return dataclasses.replace(
        trial,
        shown=(image.shape[1], image.shape[0]),
        measured=round((frames - 1) / max(time.monotonic() - begun, 1e-6), 1),
        deviation=round(float(image.std()), 1),
    )


def refusal(device: str) -> str:
    """Return the line with which a size that is not offered is refused."""
    try:
        open_source(device, options=CaptureOptions(size=ODD, exact=True)).close()
    except LmedgeError as error:
        return str(error)
    return ""


def summary(lines: str) -> str:
    """Return the lines of this program in one: formats and sizes that gave images, and not."""
    found: list[dict[str, Any]] = [
        json.loads(line) for line in lines.splitlines() if line[:1] == "{"
    ]
    tried = [one for one in found if "format" in one]
    bad = [f"{one['format']} {one['size'][0]}x{one['size'][1]}" for one in tried if not one["good"]]
    refused = [one["refused"] for one in found if "refused" in one]
    text = f"{len(tried) - len(bad)} of {len(tried)} formats and sizes gave images"
    text += f", not {', '.join(bad)}" if bad else ""
    return "; ".join([text, *(line or "an odd size was not refused" for line in refused)])


if __name__ == "__main__":
    for found in trials(sys.argv[1]):
        print(json.dumps({**dataclasses.asdict(found), "good": found.good}), flush=True)  # noqa: T201
    print(json.dumps({"refused": refusal(sys.argv[1])}))  # noqa: T201
