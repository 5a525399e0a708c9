"""Images decoded ahead of whoever uses them, without memory that grows with their number."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import DataError
from .image import RgbImage, read_image
from .machine import cores


def decode_all(
    images: Sequence[Path], side: int, workers: int | None = None
) -> Iterator[tuple[Path, RgbImage | DataError]]:
    """Yield each image decoded for `side`, or the error of reading it, in the given order.

    Decoding runs ahead by a few images in `workers` threads, one a core unless given. Memory does
    not grow with the number of images.
    """

    def decode(path: Path) -> RgbImage | DataError:
        try:
            return read_image(path, side)
        except DataError as error:
            return error

    workers = workers or cores()
    with concurrent.futures.ThreadPoolExecutor(workers, "decode") as pool:
        ahead: collections.deque[tuple[Path, concurrent.futures.Future[RgbImage | DataError]]]
        ahead = collections.deque()
        try:
            for path in images:
                ahead.append((path, pool.submit(decode, path)))
                if len(ahead) > 2 * workers:
                    first, waiting = ahead.popleft()
                    yield first, waiting.result()
            while ahead:
                first, waiting = ahead.popleft()
                yield first, waiting.result()
        finally:
            pool.shutdown(cancel_futures=True)
