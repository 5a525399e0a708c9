"""Messages of image decoders on standard error: kept from between the lines, and counted.

libjpeg, libpng, libtiff and OpenCV write to file descriptor 2 what they think of single images. It
names no file, and stands in the middle of a bar or a table. What matters of it lmedge reports
itself, with the name of the image.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

from .progress import TALK
from .streams import libraries_write_to

_NOISE = re.compile(
    rb"libpng (warning|error)|Corrupt JPEG data|Premature end of JPEG|Invalid SOS|Inconsistent prog"
    rb"|Unknown Adobe color|Warning: unknown JFIF|TIFF\w*: |_TIFF\w*: |JPEGLib: |\[ *[A-Z]+:\d+@"
    rb"|\s*$"
)
_scope = threading.RLock()
_depth = 0
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def counting_decoder_noise() -> Iterator[None]:
    """Keep what decoders write to standard error in the block, and log its number behind it.

    Lines that are not known to be a decoder's are written behind the block. A block inside another
    changes nothing, and neither does any if LMEDGE_RUNTIME_LOG is set.
    """
    global _depth
    if os.environ.get(TALK):
        yield
        return
    with _scope:
        _depth += 1
        outermost = _depth == 1
    try:
        if outermost:
            with _sink() as kept:
                try:
                    with libraries_write_to(kept.fileno()):
                        yield
                finally:
                    _report(kept)
        else:
            yield
    finally:
        with _scope:
            _depth -= 1


def _sink() -> IO[bytes]:
    """Return an empty file without a name; on Linux it needs no disk."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("lmedge"), "w+b")
    return tempfile.TemporaryFile()


def _report(kept: IO[bytes]) -> None:
    kept.seek(0)
    noise = 0
    for line in kept:
        if _NOISE.match(line):
            noise += bool(line.strip())
        else:
            with contextlib.suppress(OSError):
                os.write(2, line)
    if noise:
        _log.info("image decoders wrote %d messages; %s=1 shows them", noise, TALK)
