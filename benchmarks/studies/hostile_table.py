"""Counts of what the commands do with hostile files, by kind.

python -m benchmarks.studies.hostile_table GOOD.tflite IMAGE --count 3016 --out hostile_files.csv
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from lmedge.report.csv_files import write_csv
from tests.hostile.corpus import KINDS, corpus
from tests.hostile.runner import run_all

from .common import out_option, run_study

BATCH = 50
BENCHMARKED = 10  # one file of so many is benchmarked too, which reads it as the others do
LONGEST = 2000  # characters of a line that still is one
DOCUMENTED = (3, 4)  # exit codes that a damaged file may end with


@dataclasses.dataclass
class Row:
    """Counts of what the commands did with the files of one kind.

    `wrong`: another exit code, a traceback, more than one line, or a file written elsewhere.
    """

    kind: str
    files: int = 0
    worked: int = 0
    refused: int = 0
    crashed: int = 0
    hung: int = 0
    wrong: int = 0
    slowest_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Table:
    """A row a kind, and a sentence for each fault."""

    rows: tuple[Row, ...]
    faults: tuple[str, ...]


def measure(good: bytes, count: int, folder: Path, image: Path, seed: int) -> Table:
    """Run `inspect` and `predict` on `count` mutations below an empty `folder`.

    One file of BENCHMARKED goes through `benchmark` too.
    """
    inside = folder / "work"
    inside.mkdir()
    before = {path.name for path in folder.iterdir()}
    rows = {kind: Row(kind) for kind in KINDS}
    faults: list[str] = []
    files = corpus(good, count, seed)
    while batch := list(itertools.islice(files, BATCH)):
        lines = []
        for one in batch:
            path = inside / f"{one.number}.tflite"
            path.write_bytes(one.data)
            rows[one.kind].files += 1
            lines += [(one, words) for words in _commands(path, image, inside, one.number)]
        results = run_all([words for _, words in lines], inside)
        for (one, words), found in zip(lines, results, strict=True):
            verdict = judge(found["code"], found["error"])
            row = rows[one.kind]
            setattr(row, verdict, getattr(row, verdict) + 1)
            row.slowest_seconds = max(row.slowest_seconds, round(found["seconds"], 2))
            if verdict not in ("worked", "refused"):
                ending = f"{found['code']} {found['error'][-300:]!r}"
                faults.append(f"{one.kind}, number {one.number}, {words[0]}: {verdict}, {ending}")
        for path in inside.glob("*.tflite"):
            path.unlink()
        left = {path.name for path in inside.iterdir()} - {"report"}
        if left or {path.name for path in folder.iterdir()} != before:
            rows[batch[0].kind].wrong += 1
            faults.append(f"files were written elsewhere: {sorted(left)}")
    return Table(tuple(rows.values()), tuple(faults))


def _commands(path: Path, image: Path, inside: Path, number: int) -> Iterator[list[str]]:
    yield ["inspect", str(path), "--verify"]
    yield ["predict", str(path), str(image)]
    if number % BENCHMARKED == 0:
        yield ["benchmark", str(path), "--runs", "1", "--out", str(inside / "report")]


def judge(code: int | None, error: str) -> str:
    """Return the verdict on an exit code (None: it hung) and the text on standard error."""
    if code is None:
        return "hung"
    if code < 0:
        return "crashed"
    lines = error.strip().splitlines()
    if "Traceback" in error or any(len(line) > LONGEST for line in lines):
        return "wrong"
    if code == 0:
        return "worked"
    refusals = sum(line.startswith("lmedge: ") for line in lines)
    return "refused" if code in DOCUMENTED and refusals == 1 else "wrong"


@click.command()
@click.argument("good", type=click.Path(exists=True, path_type=Path))
@click.argument("image", type=click.Path(exists=True, path_type=Path))
@click.option("--count", default=3016, show_default=True, help="Number of files.")
@click.option("--seed", default=0, show_default=True)
@out_option()
def main(good: Path, image: Path, count: int, seed: int, out: Path) -> None:
    """Mutate GOOD and write what became of each kind; exit code 1 when anything went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(good.read_bytes(), count, Path(folder), image.resolve(), seed)
    data = f"mutations of a file of {good.stat().st_size} bytes; two commands each, or three"
    write_csv(out, found.rows, data=data)
    for fault in found.faults:
        click.echo(fault)
    raise SystemExit(bool(found.faults))


if __name__ == "__main__":
    run_study(main)
