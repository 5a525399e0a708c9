"""Time of the search for near-duplicates, by the number of images.

    python -m benchmarks.studies.similar_search --images 24000,50000,100000

Monuments are drawn, and each drawing gives several random views. Views of one drawing have close
hashes often, so that the search has more pairs to look at than on photographs. The search of the
package takes turns with a comparison of all pairs of hashes, up to `--all-pairs` images. Times are
of the processor.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from lmedge import hamming
from lmedge.machine import peak_bytes
from lmedge.report.csv_files import write_csv
from lmedge.similar import ImageFingerprint, fingerprint, pairs_alike
from lmedge.train.demo import MONUMENTS, draw_monument
from lmedge.train.fitting.augment import random_stream, random_view
from lmedge.train.recipes import load_recipe

from .common import out_option, run_study

SIDE = 64  # of a view, and of a drawing 8/7 of it
MB = 1e6


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchTime:
    """The search among `images`: near-duplicate pairs, and processor seconds.

    `all_pairs_seconds` is a comparison of all pairs of hashes alone. Memory is the most that the
    process had, with the fingerprints.
    """

    images: int
    pairs: int
    seconds: float
    microseconds_per_image: float
    all_pairs_seconds: float | None
    memory_mb: float


def looks(count: int, views: int) -> Iterator[ImageFingerprint]:
    """Yield the fingerprints of `count` views of drawings."""
    names = [name for group in MONUMENTS.values() for name in group]
    augment = load_recipe("default").augment
    side = SIDE * 8 // 7
    for number in range(-(-count // views)):
        drawn = draw_monument(
            names[number % len(names)], np.random.default_rng(number), (side, side)
        )
        for view in range(min(views, count - number * views)):
            yield fingerprint(random_view(drawn, SIDE, augment, random_stream(number, view)))


def measure(found: list[ImageFingerprint], *, all_pairs: bool) -> SearchTime:
    """Search among fingerprints."""
    began = time.process_time()
    pairs = len(pairs_alike(found, details=True))
    seconds = time.process_time() - began
    other = None
    if all_pairs:
        began = time.process_time()
        for bits in ("bits", "mirrored_bits"):
            left = np.where(np.stack([one.bits for one in found]), 1, -1).astype(np.float32)
            right = np.where(np.stack([getattr(one, bits) for one in found]), 1, -1)
            right = right.astype(np.float32).T
            for start in range(0, len(left), 512):
                np.nonzero(left[start : start + 512] @ right >= 64 - 2 * hamming.MOST)
        other = time.process_time() - began
    return SearchTime(
        images=len(found),
        pairs=pairs,
        seconds=seconds,
        microseconds_per_image=1e6 * seconds / len(found),
        all_pairs_seconds=other,
        memory_mb=(peak_bytes() or 0) / MB,
    )


@click.command()
@click.option("--images", default="24000,50000,100000", show_default=True, help="Numbers of them.")
@click.option(
    "--views", type=click.IntRange(1), default=25, show_default=True, help="Of a drawing."
)
@click.option("--all-pairs", type=int, default=24_000, show_default=True, help="Up to so many.")
@out_option("similar_search.csv")
def main(images: str, views: int, all_pairs: int, out: Path) -> None:
    """Measure the search for near-duplicates among random views of drawings."""
    counts = sorted(int(word) for word in images.split(","))
    found = list(looks(counts[-1], views))
    rows = []
    for count in counts:
        rows.append(measure(found[:count], all_pairs=count <= all_pairs))
        click.echo(str(rows[-1]))
    write_csv(
        out,
        rows,
        data=f"{counts[-1]} random views of {SIDE} pixels, {views} of each drawn monument",
    )


if __name__ == "__main__":
    run_study(main)
