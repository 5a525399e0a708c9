"""The memory of a training by the number of its images.

python -m benchmarks.studies.memory_table --out benchmarks/results/train_memory.csv
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import click

from lmedge.commands.options import RenamedOption
from lmedge.report.csv_files import write_csv
from tests import tiny_backbone
from tests.train import memory

from .common import out_option, run_study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One training. MB are 10^6 bytes.

    `inputs_mb`: size of all images as inputs of the network. `grown_mb`: address space beyond
    that of a training of 600 images in the same process, of which `limit_mb` was allowed.
    `resident_mb`: the most that was in memory, TensorFlow included.
    """

    pictures: int
    inputs_mb: float
    limit_mb: float
    grown_mb: float
    resident_mb: float


@click.command()
@click.option(
    "--images",
    "counts",
    cls=RenamedOption,
    formerly=["--pictures"],
    type=int,
    multiple=True,
    default=(600, 2000, 20_000),
    show_default=True,
    help="Images of a training. Repeatable.",
)
@out_option("train_memory.csv")
def main(counts: tuple[int, ...], out: Path) -> None:
    """Train on more and more images, each number in a process of its own."""
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as place, tiny_backbone.installed():
            weights = tiny_backbone.save_stock_weights(Path(place) / "tiny.h5")
            taken, error = memory.train(count, weights, Path(place))
        if taken is None:
            raise click.ClickException(f"{count} images: {error}")
        inputs = count * memory.SIZE**2 * 3 * 4 / 1e6
        limit = memory.LIMIT_MB * 2**20 / 1e6
        rows.append(
            Row(
                pictures=count,
                inputs_mb=inputs,
                limit_mb=limit,
                grown_mb=taken.grown / 1e6,
                resident_mb=taken.resident / 1e6,
            )
        )
        click.echo(rows[-1])
    data = f"drawings, inputs of {memory.SIZE} x {memory.SIZE} pixels, a tiny network"
    write_csv(out, rows, data=data)
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
