"""Memory and time of listing and reading many photographs, by their number.

    python -m benchmarks.studies.many_files --files 10000,100000

The files are hard links to a few drawings, so that a million takes no space but names. Each stage
is a process of its own: the listing of the folder, what `lmedge data check` reads, and what the
start of a training reads, with an empty table of files that were read before and with a full one.
The search for near-duplicates is left out, since the files are copies of each other;
`benchmarks.studies.similar_search` measures it. The drawings are small, and decoding is cheap.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import click
import cv2
import numpy as np

from lmedge.evaluation.folders import scan
from lmedge.image import Resize
from lmedge.machine import peak_bytes
from lmedge.progress import show_progress
from lmedge.report.csv_files import write_csv
from lmedge.train.data import seen
from lmedge.train.data.inspection import inspect_images
from lmedge.train.data.store import ImageStore

from .common import out_option, run_study

DRAWINGS, SIDE = 64, 64
LANDMARKS = 50
LIST = "list"
STAGES = (LIST, "check", "check again", "train", "train again")
MB = 1e6


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilesCost:
    """One stage. Memory is the most that its process had, `bytes_per_file` what of it was added."""

    files: int
    stage: str
    seconds: float
    cpu_seconds: float
    peak_mb: float
    bytes_per_file: float


def link_drawings(folder: Path, count: int) -> Path:
    """Write drawings, and `count` links to them in <category>/<landmark>/."""
    rng = np.random.default_rng(0)
    drawings = []
    for number in range(DRAWINGS):
        small = rng.integers(0, 255, (6, 8, 3), np.uint8)
        encoded = cv2.imencode(".jpg", cv2.resize(small, (SIDE, SIDE * 3 // 4)))[1]
        drawings.append(folder / "drawings" / f"{number}.jpg")
        drawings[-1].parent.mkdir(parents=True, exist_ok=True)
        drawings[-1].write_bytes(encoded.tobytes())
    data = folder / "photographs"
    for number in range(LANDMARKS):
        (data / f"category {number % 5}" / f"landmark {number}").mkdir(parents=True)
    for number in range(count):
        landmark = number % LANDMARKS
        name = f"photograph {number:07d}.jpg"
        place = data / f"category {landmark % 5}" / f"landmark {landmark}" / name
        os.link(drawings[number % DRAWINGS], place)
    return data


def measure(stage: str, data: Path, cache: Path) -> FilesCost:
    """Run a stage in this process, which has done nothing else."""
    os.environ["LMEDGE_CACHE"] = str(cache)
    show_progress(False)
    before = peak_bytes() or 0
    clock, processor = time.perf_counter(), time.process_time()
    images = scan(data)
    found: object = None  # kept until the peak was read
    if stage.startswith("check"):
        found = inspect_images([(None, image) for image in images], data)
    elif stage.startswith("train"):
        found = ImageStore(224, Resize.SQUASH).admit(images)
    seconds, used = time.perf_counter() - clock, time.process_time() - processor
    peak = peak_bytes() or 0
    del found
    return FilesCost(
        files=len(images),
        stage=stage,
        seconds=seconds,
        cpu_seconds=used,
        peak_mb=peak / MB,
        bytes_per_file=(peak - before) / len(images),
    )


def measure_all(count: int) -> list[FilesCost]:
    """Measure every stage on so many files, each in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = link_drawings(folder, count)
        time.sleep(seen.RACY + 1)  # what was linked just now is not remembered
        spawn = multiprocessing.get_context("spawn")
        rows = []
        for stage in STAGES:
            with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
                rows.append(pool.submit(measure, stage, data, folder / "cache").result())
            click.echo(str(rows[-1]))
        return rows


@click.command()
@click.option(
    "--files",
    default="10000,100000",
    show_default=True,
    help="Numbers of files; 1000000 takes some minutes and GB.",
)
@out_option("many_files.csv")
def main(files: str, out: Path) -> None:
    """Measure listing and reading of many files."""
    rows = [row for word in files.split(",") for row in measure_all(int(word))]
    write_csv(
        out,
        rows,
        data=f"hard links to {DRAWINGS} drawings of {SIDE} x {SIDE * 3 // 4} pixels, "
        f"{LANDMARKS} landmarks",
    )


if __name__ == "__main__":
    run_study(main)
