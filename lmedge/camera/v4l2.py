"""The kernel's answers about a video device, by the ioctls of linux/videodev2.h.

Several programs may ask a device at a time, also while one of them takes images.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .offer import CameraOffer, OfferedFormat, OfferedSize

Ioctl = Callable[[int, int, bytearray], object]

# struct v4l2_capability: driver, card, bus_info, version, capabilities, device_caps, reserved[3]
CAPABILITY = struct.Struct("=16s32s32s6I")
# struct v4l2_fmtdesc: index, type, flags, description, pixelformat, mbus_code, reserved[3]
FORMAT = struct.Struct("=3I32s5I")
# struct v4l2_frmsizeenum: index, pixel_format, type; a union: width, height of one size, or min,
# max, step of the widths, then of the heights; reserved[2]
SIZE = struct.Struct("=3I6I2I")
# struct v4l2_frmivalenum: index, pixel_format, width, height, type; a union: numerator, denominator
# of one interval in seconds, or those of min, max and step; reserved[2]
INTERVAL = struct.Struct("=5I6I2I")


def _request(direction: int, number: int, layout: struct.Struct) -> int:
    """Return _IOR (2) or _IOWR (3) of the kernel for 'V', on x86, ARM and RISC-V."""
    return direction << 30 | layout.size << 16 | ord("V") << 8 | number


QUERYCAP = _request(2, 0, CAPABILITY)
ENUM_FMT = _request(3, 2, FORMAT)
ENUM_FRAMESIZES = _request(3, 74, SIZE)
ENUM_FRAMEINTERVALS = _request(3, 75, INTERVAL)

_CAPTURE, _CAPTURE_PLANES = 0x1, 0x1000  # V4L2_CAP_VIDEO_CAPTURE, ..._MPLANE
_CONVERTS = 0x8000 | 0x4000  # V4L2_CAP_VIDEO_M2M, ..._MPLANE: a codec, no camera
_OF_NODE = 0x80000000  # V4L2_CAP_DEVICE_CAPS: device_caps are those of this node
_BUFFERS, _BUFFERS_PLANES = 1, 9  # V4L2_BUF_TYPE_VIDEO_CAPTURE, ..._MPLANE
_DISCRETE = 1  # V4L2_FRMSIZE_TYPE_DISCRETE, V4L2_FRMIVAL_TYPE_DISCRETE
_BIG_ENDIAN = 1 << 31  # of a code
_MOST = 256  # answers of a list that are read: a driver may not end it
_END = {errno.EINVAL, errno.ENOTTY, errno.ENODATA}  # behind the last, or not known to the driver


def read_offer(
    device: Path, *, readable_only: bool = False, ioctl: Ioctl | None = None
) -> CameraOffer | None:
    """Return the offer of a device; None if it takes no images, as nodes for metadata do.

    Args:
        device: Path of the node.
        readable_only: Leave out the sizes of formats that lmedge does not read.
        ioctl: Function in place of `fcntl.ioctl`, for tests.

    Raises:
        OSError: The device does not open or does not answer.
    """
    ask = ioctl or _kernel()
    file = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        try:
            answer = _ask(ask, file, QUERYCAP, CAPABILITY)
        except OSError as error:
            if error.errno in _END:  # no video device at all
                return None
            raise
        driver, card, bus, _, of_device, of_node, *_ = answer
        can = of_node if of_device & _OF_NODE else of_device
        if not can & (_CAPTURE | _CAPTURE_PLANES) or can & _CONVERTS:
            return None
        kind = _BUFFERS if can & _CAPTURE else _BUFFERS_PLANES
        formats = tuple(_formats(ask, file, kind, readable_only))
        return CameraOffer(name=_text(card), driver=_text(driver), bus=_text(bus), formats=formats)
    finally:
        os.close(file)


def problem_of(error: OSError) -> str:
    """Return why a device does not open or answer, and the remedy."""
    if isinstance(error, PermissionError):
        return "no permission; run `sudo usermod -aG video $USER` and log in again"
    if error.errno == errno.EBUSY:
        return "in use by another program; end that first"
    return f"no answer ({error.strerror or error}); connect it again"


def _kernel() -> Ioctl:
    import fcntl  # not on Windows

    return fcntl.ioctl


def _ask(ask: Ioctl, file: int, request: int, layout: struct.Struct, *values: int) -> Any:
    """Return the fields of the kernel's answer; `values` are the first fields of the question."""
    buffer = bytearray(layout.size)
    struct.pack_into(f"={len(values)}I", buffer, 0, *values)
    ask(file, request, buffer)
    return layout.unpack(buffer)


def _listed(
    ask: Ioctl, file: int, request: int, layout: struct.Struct, *values: int
) -> Iterator[Any]:
    """Yield the answers for index 0, 1 and so on."""
    for index in range(_MOST):
        try:
            yield _ask(ask, file, request, layout, index, *values)
        except OSError as error:
            if error.errno in _END:
                return
            raise


def _formats(ask: Ioctl, file: int, kind: int, readable_only: bool) -> Iterator[OfferedFormat]:
    for _, _, _, description, pixels, *_ in _listed(ask, file, ENUM_FMT, FORMAT, kind):
        found = OfferedFormat(code=_code(pixels), description=_text(description))
        if found.readable or not readable_only:
            sizes = tuple(_sizes(ask, file, pixels))
            found = OfferedFormat(code=found.code, description=found.description, sizes=sizes)
        yield found


def _sizes(ask: Ioctl, file: int, pixels: int) -> Iterator[OfferedSize]:
    for _, _, kind, *fields in _listed(ask, file, ENUM_FRAMESIZES, SIZE, pixels):
        if kind == _DISCRETE:
            width, height = fields[:2]
            least = most = (width, height)
            step = (0, 0)
        else:
            least, most, step = ((fields[place], fields[place + 3]) for place in range(3))
        rates, between = _rates(ask, file, pixels, most)
        if least != most:  # a small image may come faster
            more, also = _rates(ask, file, pixels, least)
            rates, between = rates | more, between or also
        yield OfferedSize(
            least=least,
            most=most,
            step=step,
            rates=tuple(sorted(rates, reverse=True)),
            between=between,
        )
        if kind != _DISCRETE:
            return  # drivers answer each index alike


def _rates(ask: Ioctl, file: int, pixels: int, size: tuple[int, int]) -> tuple[set[float], bool]:
    """Return the rates of a size, and True if those between the outermost are offered too."""
    rates: set[float] = set()
    between = False
    for _, _, _, _, kind, *fields in _listed(
        ask, file, ENUM_FRAMEINTERVALS, INTERVAL, pixels, *size
    ):
        intervals = [fields[:2]] if kind == _DISCRETE else [fields[:2], fields[2:4]]
        rates |= {round(below / above, 3) for above, below in intervals if above and below}
        if kind != _DISCRETE:
            between = True
            break
    return rates, between and len(rates) > 1


def _code(pixels: int) -> str:
    """Return the four letters of a format, without blanks at their end."""
    letters = (pixels & ~_BIG_ENDIAN).to_bytes(4, "little").decode("latin-1").rstrip()
    return f"{letters}-BE" if pixels & _BIG_ENDIAN else letters


def _text(field: bytes) -> str:
    return " ".join(field.split(b"\0")[0].decode("utf-8", "replace").split())
