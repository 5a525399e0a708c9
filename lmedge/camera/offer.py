"""The formats, sizes and rates that a camera offers, and what an option asks beyond them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

MJPG = "MJPG"
# The formats that OpenCV turns into BGR, by their codes in linux/videodev2.h
# (CvCaptureCAM_V4L::convertableToRgb of modules/videoio/src/cap_v4l.cpp).
READABLE = frozenset(
    {MJPG, "JPEG", "YUYV", "UYVY", "NV12", "NV21", "YU12", "YV12", "411P", "BGR3", "RGB3"}
    | {"BA81", "GBRG", "GRBG", "XR24", "AR24", "S910", "GREY", "Y10", "Y16"}
)
_NEAR = 0.01  # share by which a rate may differ: 30 is 29.97 too


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfferedSize:
    """A size, or every size from `least` to `most` in steps of `step`.

    Attributes:
        least: (width, height) in pixels.
        most: (width, height) in pixels, equal to `least` for a single size.
        step: (width, height) in pixels, (0, 0) for a single size.
        rates: Frames a second, the fastest first; empty if the camera does not tell.
        between: True if every rate between the fastest and the slowest is offered.
    """

    least: tuple[int, int]
    most: tuple[int, int]
    step: tuple[int, int] = (0, 0)
    rates: tuple[float, ...] = ()
    between: bool = False

    def has(self, size: tuple[int, int]) -> bool:
        """Return True if `size` is among them."""
        return all(
            least <= value <= most and (value - least) % max(step, 1) == 0
            for value, least, most, step in zip(size, self.least, self.most, self.step, strict=True)
        )

    def gives(self, rate: float) -> bool:
        """Return True if `rate` is offered, or if the camera does not tell its rates."""
        if not self.rates:
            return True
        if self.between:
            return self.rates[-1] * (1 - _NEAR) <= rate <= self.rates[0] * (1 + _NEAR)
        return any(abs(rate - offered) <= _NEAR * offered for offered in self.rates)

    def text(self) -> str:
        """Return the size, or the range of sizes."""
        if self.least == self.most:
            return _by(self.most)
        steps = f" in steps of {_by(self.step)}" if max(self.step) > 1 else ""
        return f"{_by(self.least)} to {_by(self.most)}{steps}"

    def rates_text(self) -> str:
        """Return the rates, empty if there are none."""
        if self.between:
            return f"{self.rates[-1]:g} to {self.rates[0]:g}"
        return ", ".join(f"{rate:g}" for rate in self.rates)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfferedFormat:
    """A format of pixels: its code, such as MJPG, the driver's words for it, and its sizes."""

    code: str
    description: str = ""
    sizes: tuple[OfferedSize, ...] = ()

    @property
    def readable(self) -> bool:
        """True if lmedge reads images of this format."""
        return self.code in READABLE

    def at(self, size: tuple[int, int] | None) -> tuple[OfferedSize, ...]:
        """Return the sizes that contain `size`, all of them for None."""
        return tuple(one for one in self.sizes if size is None or one.has(size))

    def fits(self, size: tuple[int, int] | None, rate: float | None) -> bool:
        """Return True if it has `size` at `rate`, or if its sizes are not known."""
        return not self.sizes or any(rate is None or one.gives(rate) for one in self.at(size))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraOffer:
    """The answers of a camera: its name, driver and place on a bus, and its formats."""

    name: str
    driver: str = ""
    bus: str = ""
    formats: tuple[OfferedFormat, ...] = ()

    def format_for(self, size: tuple[int, int] | None, rate: float | None) -> str | None:
        """Return the code of the format to take, None to leave it to the camera.

        JPEG comes first: uncompressed images beyond VGA do not fit through USB 2 at full rate.
        """
        if size is None:
            return None
        fitting = [one.code for one in self.formats if one.readable and one.fits(size, rate)]
        return MJPG if MJPG in fitting else next(iter(fitting), None)

    def unmet(
        self, code: str | None, size: tuple[int, int] | None, rate: float | None
    ) -> tuple[str, str] | None:
        """Return what is asked and not offered, and what is offered in its place.

        None means that all of it is offered, or that the camera does not tell.
        """
        if not self.formats:
            return None
        formats = [one for one in self.formats if one.readable]
        offered = _listed(one.code for one in formats)
        if code is not None and code not in (one.code for one in formats):
            known = code in (one.code for one in self.formats)
            return (f"{code}, which lmedge does not read" if known else f"format {code}"), offered
        formats = [one for one in formats if code in {None, one.code}]
        suffix = f" as {code}" if code is not None else ""
        if size is not None and formats and not any(one.fits(size, None) for one in formats):
            return f"{_by(size)}{suffix}", _listed(_sizes(formats))
        if rate is not None and formats and not any(one.fits(size, rate) for one in formats):
            place = f" at {_by(size)}" if size is not None else ""
            found = [one for offer in formats for one in offer.at(size)]
            return f"{rate:g} frames a second{place}{suffix}", _listed(_rates(found))
        return None


def _by(pair: tuple[int, int]) -> str:
    return f"{pair[0]}x{pair[1]}"


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts)) or "nothing that lmedge reads"


def _sizes(formats: Sequence[OfferedFormat]) -> list[str]:
    found = {size.text(): size.most for offer in formats for size in offer.sizes}
    return sorted(found, key=lambda text: found[text])


def _rates(sizes: Sequence[OfferedSize]) -> list[str]:
    ranges = [size.rates_text() for size in sizes if size.between]
    single = {rate for size in sizes if not size.between for rate in size.rates}
    return ranges + [f"{rate:g}" for rate in sorted(single, reverse=True)]
