"""Work on many files ahead of whoever uses it, without memory that grows with their number."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from .errors import DataError
from .image import RgbImage, read_image
from .machine import cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """Yield `function` of each item, in their order, computed a few items ahead in threads.

    `Executor.map` would keep a task and a result for every item at once.

    Args:
        function: The function, for several threads.
        items: The items, which are taken as they are needed.
        workers: The number of threads, one a core unless given.
    """
    workers = workers or cores()
    with concurrent.futures.ThreadPoolExecutor(workers, "ahead") as pool:
        ahead: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def decode_all(
    images: Sequence[Path], side: int, workers: int | None = None
) -> Iterator[tuple[Path, RgbImage | DataError]]:
    """Yield each image decoded for `side`, or the error of reading it, in the given order."""

    def decode(path: Path) -> tuple[Path, RgbImage | DataError]:
        try:
            return path, read_image(path, side)
        except DataError as error:
            return path, error

    return map_ahead(decode, images, workers)
