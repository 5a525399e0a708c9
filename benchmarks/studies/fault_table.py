"""Commands whose disk is full from one write on or that are killed, and the files they leave.

A library that is loaded before all others (tests/faults/shim.c) counts the writes below the folder
of the results. It fails one and all later ones, or kills the process with half of that write done.

python -m benchmarks.studies.fault_table --out benchmarks/results/faults.csv
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import cv2
import numpy as np

from lmedge.report.csv_files import write_csv
from tests import faults, kept, small_run
from tests.locations import ROOT

from .common import out_option, run_study

# landmark of the kept file -> its category and the mean colour that it is told by
COLOURS = {
    "blue": ("domes", (0, 0, 255)),
    "green": ("towers", (0, 255, 0)),
    "grey stone": ("domes", (114, 114, 114)),
    "red": ("towers", (255, 0, 0)),
}
# `lmedge compare` with the tiny backbone, also in the processes that train
COMPARE = """
import sys
from tests import tiny_backbone
from lmedge.cli import main
from lmedge.train.compare import child, trial
with tiny_backbone.installed():
    if sys.argv[1] == "child":
        child.run_command(sys.argv[2:])
    else:
        trial.CHILD = ("-c", sys.orig_argv[2], "child")
        main()
"""
FULL, CUT, RANDOM = "full disk", "killed in a write", "killed at a moment"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A command whose results are in one folder. `again` is tried after a fault."""

    name: str
    words: Callable[[Path], list[str]]  # of the folder of the results
    again: Callable[[Path], list[str]] | None = None
    marker: str | None = None  # the file that is there only if all beside it belong to it
    slow: bool = False  # needs TensorFlow
    reports: str = ""  # beginning of the files that a full disk may leave out


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of fault of one command.

    Of `writes` in a whole run, `tried` were failed or killed in. `one_line` counts errors that are
    one line and name what cannot be written, `went_on` runs that ended with exit code 0 without
    that write. `half` counts files that are not whole under their name, `mixed`
    folders with files of two runs, and `repeated` calls after the fault that gave all results.
    """

    command: str
    fault: str
    writes: int
    tried: int
    one_line: int
    went_on: int
    tracebacks: int
    half: int
    mixed: int
    repeated: int


def cases(base: Path) -> list[Case]:
    """Return all commands; `base` has their inputs."""
    model, photographs, video = base / "tiny.tflite", base / "photographs", base / "video.mp4"
    run, weights, drawings = base / "run", base / "tiny.h5", base / "drawings"
    lmedge = [sys.executable, "-m", "lmedge"]

    def host(*words: object) -> list[str]:
        return small_run.command(*words)

    def training(out: Path, *more: str) -> list[str]:
        options = small_run.options("head.epochs=2", "second_head.epochs=2", "fine_tune.epochs=1")
        return host("train", drawings, "--weights", weights, *options, "--out", out / "run", *more)

    def resumed(out: Path) -> list[str]:
        run = out / "run"
        if (run / "weights.safetensors").exists() and not (run / "checkpoints").exists():
            return host("evaluate", run, "--data", drawings)  # finished: it can be used
        return training(out, *(["--resume"] if (run / "run.json").exists() else []))

    def compared(out: Path) -> list[str]:
        options = small_run.options("head.epochs=1", "second_head.epochs=1", "fine_tune.epochs=1")
        words = ["compare", drawings, "--weights", weights, *options, "--out", out / "results"]
        return [sys.executable, "-c", COMPARE, *map(str, words)]

    return [
        Case(
            name="predict --copy-to",
            words=lambda out: [
                *(*lmedge, "predict", str(model), str(photographs)),
                *("--copy-to", str(out / "sorted")),
            ],
        ),
        Case(
            name="camera --jsonl --record",
            words=lambda out: [
                *(*lmedge, "camera", str(model), "--source", str(video), "--headless"),
                *("--jsonl", str(out / "labels.jsonl"), "--record", str(out / "labels.mp4")),
            ],
        ),
        Case(
            name="benchmark",
            marker="report.json",
            words=lambda out: [
                *(*lmedge, "benchmark", str(model), "--data", str(photographs), "--runs", "5"),
                *("--out", str(out)),
            ],
        ),
        Case(
            name="data check --report",
            words=lambda out: [
                *(*lmedge, "data", "check", str(photographs), "--report", str(out / "report")),
                *("--exclude-file", str(out / "exclude.txt")),
            ],
        ),
        Case(
            name="data split",
            words=lambda out: [
                *(*lmedge, "data", "split", str(photographs), "--out", str(out / "split.csv")),
                *("--allow-leak", "--overwrite"),
            ],
        ),
        Case(
            name="evaluate",
            slow=True,
            words=lambda out: host("evaluate", run, "--data", drawings, "--out", out / "scores"),
        ),
        Case(
            name="export",
            slow=True,
            words=lambda out: host("export", run, "--int8", "-o", out / "landmarks.tflite"),
        ),
        Case(name="train", slow=True, words=training, again=resumed, reports="run/plots/"),
        Case(name="compare", slow=True, words=compared),  # adds to what is there
    ]


def prepare(base: Path, *, slow: bool) -> None:
    """Fill `base` with the inputs of the cases, with `slow` also of those that need a run."""
    shutil.copy(kept.folder("tiny") / "tiny.tflite", base)
    for landmark, (category, colour) in COLOURS.items():
        for number in range(2):
            image = np.full((48, 64, 3), colour, np.uint8)
            image[: 8 + number] = 90  # no two images are the same
            small_run.save(base / "photographs" / category / landmark / f"{number}.jpg", image)
    if slow:
        made = kept.folder("run")
        shutil.copytree(made / "photographs", base / "drawings")
        shutil.copytree(made / "run", base / "run")
        shutil.copy(made / "tiny.h5", base)
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(base / "video.mp4"), code, 10.0, (64, 48))
    for number in range(30):
        writer.write(np.full((48, 64, 3), list(COLOURS.values())[number // 8][1], np.uint8))
    writer.release()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """A command that was run whole, twice: the results of the first, the files that vary.

    `names` are the files of both: some names have a time in them.
    """

    results: Path
    files: dict[str, bytes]
    names: frozenset[str]
    varying: frozenset[str]
    writes: int
    seconds: float


@functools.cache
def undisturbed(case: Case, base: Path) -> Undisturbed:
    """Run a command whole, twice."""
    folder = Path(tempfile.mkdtemp(dir=base))
    old, new = folder / "old", folder / "new"
    for out in (old, new):
        out.mkdir()
        began = time.monotonic()
        done, writes = _run(case.words(out), out, base)
        seconds = time.monotonic() - began
        if done.returncode:
            raise click.ClickException(f"{case.name}: {done.stderr}")
    first, second = faults.files_of(old), faults.files_of(new)
    return Undisturbed(
        results=old,
        files=first,
        names=frozenset(first) & frozenset(second),
        varying=frozenset(name for name in first if first[name] != second.get(name)),
        writes=writes,
        seconds=seconds,
    )


def measure(case: Case, fault: str, base: Path, places: int, rng: random.Random) -> Row:
    """Run a command with faults at `places` of its writes."""
    folder, whole = Path(tempfile.mkdtemp(dir=base)), undisturbed(case, base)
    found: collections.Counter[str] = collections.Counter()
    for number, at in enumerate(_places(whole.writes, places)):
        out = folder / f"{number}"
        out.mkdir()
        if number % 2 and case.name != "train":  # every second one replaces an older result
            shutil.copytree(whole.results, out, dirs_exist_ok=True)
        if fault == RANDOM:
            done = _killed(case.words(out), rng.uniform(0.3, 1.0) * whole.seconds, base)
        else:
            done, _ = _run(case.words(out), out, base, at=at, kill=fault == CUT)
        now = faults.files_of(out)
        found["tried"] += 1
        found["half"] += len(faults.half_written(out, killed=fault != FULL))
        same = {name for name in whole.varying if now.get(name) == whole.files[name]}
        marked = case.marker is None or case.marker in now
        found["mixed"] += marked and case.marker is not None and same not in (set(), whole.varying)
        if fault == FULL:
            found[_end(done)] += 1
        again, _ = _run((case.again or case.words)(out), out, base)
        reports = fault == FULL and case.reports  # without them a command is finished
        wanted = {name for name in whole.names if not (reports and name.startswith(reports))}
        complete = not again.returncode and set(faults.files_of(out)) >= wanted
        found["repeated"] += complete and not faults.half_written(out)
        if again.returncode:
            click.echo(f"{case.name}, {fault} {at}: again: {again.stderr[-300:]}", err=True)
        shutil.rmtree(out)
    names = ("tried", "one_line", "went_on", "tracebacks", "half", "mixed", "repeated")
    counts = {name: found[name] for name in names}
    return Row(command=case.name, fault=fault, writes=whole.writes, **counts)


def _end(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines() or [""]
    if "Traceback" in done.stderr or done.returncode < 0:
        click.echo(done.stderr[-600:], err=True)
        return "tracebacks"
    if done.returncode == 0:
        return "went_on"
    named = lines[-1].startswith("lmedge: cannot write ")
    if not named:
        click.echo(f"not named: {done.returncode} {lines[-1]}", err=True)
    return "one_line" if named else "other"


def _places(writes: int, places: int) -> list[int]:
    """Return up to `places` numbers of writes, the first and the last among them."""
    if writes <= places:
        return list(range(1, writes + 1))
    return sorted({1 + round(n * (writes - 1) / (places - 1)) for n in range(places)})


def environment(base: Path) -> dict[str, str]:
    """Return the environment of the processes, which keep their cache below `base`."""
    return {"PYTHONPATH": str(ROOT), "LMEDGE_CACHE": str(base / "cache")}


def _run(
    words: Sequence[str], out: Path, base: Path, *, at: int = 0, kill: bool = False
) -> tuple[subprocess.CompletedProcess[str], int]:
    return faults.run(words, out, at=at, kill=kill, environment=environment(base))


def _killed(words: Sequence[str], seconds: float, base: Path) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        list(words),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment(base)},
        start_new_session=True,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(list(words), process.wait(), "", "")


def measure_all(
    chosen: Sequence[str], places: int, slow_places: int, seed: int, base: Path
) -> Iterator[Row]:
    """Yield the rows of the commands whose name begins with a word of `chosen`, or of all."""
    wanted = [case for case in cases(base) if not chosen or case.name.startswith(tuple(chosen))]
    prepare(base, slow=any(case.slow for case in wanted))
    rng = random.Random(seed)
    for case in wanted:
        for fault in (FULL, CUT, RANDOM):
            row = measure(case, fault, base, slow_places if case.slow else places, rng)
            click.echo(row)
            yield row


@click.command()
@click.option("--command", "chosen", multiple=True, help="Only commands that begin so. Repeatable.")
@click.option("--places", default=16, show_default=True, type=click.IntRange(2))
@click.option("--slow-places", default=5, show_default=True, type=click.IntRange(2))
@click.option("--seed", default=0, show_default=True)
@out_option()
def main(chosen: tuple[str, ...], places: int, slow_places: int, seed: int, out: Path) -> None:
    """Try faults and write a row for each command and kind; exit code 1 if a promise is broken.

    --places and --slow-places are the faults of a kind that are tried with each command, without
    and with TensorFlow.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure_all(chosen, places, slow_places, seed, Path(folder)))
    write_csv(out, rows, data="drawings, a tiny network; results on a disk of their own")
    broken = [
        row
        for row in rows
        if row.tracebacks or row.half or row.mixed or row.repeated < row.tried
        if row.fault != FULL or row.one_line + row.went_on < row.tried or row.half or row.mixed
    ]
    raise SystemExit(bool(broken))


if __name__ == "__main__":
    run_study(main)
