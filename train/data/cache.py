"""The size of the cache, which holds everything that can be made again."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lmedge.errors import LmedgeError, RecipeError

DEFAULT_GB = 6.0
IMAGES = 2 / 3  # share of the decoded images; the rest is for features
VARIABLE = "LMEDGE_CACHE_GB"
logger = logging.getLogger(__name__)


def image_limit() -> int:
    """Return the bytes of decoded images that are kept. Raises RecipeError."""
    return int(_limit() * IMAGES)


def feature_limit() -> int:
    """Return the bytes of features that are kept. Raises RecipeError."""
    return int(_limit() * (1 - IMAGES))


def _limit() -> float:
    """Return the size of the whole cache in bytes: LMEDGE_CACHE_GB, in GiB, or 6 GiB."""
    given = os.environ.get(VARIABLE) or str(DEFAULT_GB)
    try:
        size = float(given)
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise RecipeError(f"{VARIABLE}={given}: not a size in GiB; set it to a number such as 20")
    return size * 1024**3


def report_unwritten(error: LmedgeError) -> None:
    """Log that the work goes on without the cache."""
    logger.warning(
        "going on without the cache, slower: %s; LMEDGE_CACHE names another folder",
        str(error).partition(";")[0],
    )


def trim(files: Iterable[Path], limit: int) -> int:
    """Remove the files used longest ago until they are within nine tenths of `limit` bytes.

    Nothing is removed while they are within `limit`. Returns the bytes that are left.
    """
    found = list(_sizes(files))
    total = sum(stat.st_size for stat, _ in found)
    if total <= limit:
        return total
    for stat, file in sorted(found, key=lambda item: item[0].st_mtime):
        file.unlink(missing_ok=True)
        total -= stat.st_size
        if total <= 0.9 * limit:
            break
    return total


def _sizes(files: Iterable[Path]) -> Iterator[tuple[os.stat_result, Path]]:
    for file in files:
        if file.name.startswith("."):
            continue  # being written
        with contextlib.suppress(FileNotFoundError):  # another run trims as well
            yield file.stat(), file
