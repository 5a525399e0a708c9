"""Frames a second of two `lmedge camera` on one machine, alone and together.

    python -m benchmarks.studies.shared_cores FILE.tflite

Each process reads a video as fast as it can classify it and writes JSON lines into a pipe; lines
that come while both run are counted. "measured" is the command's own choice of threads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import cv2
import numpy as np

from lmedge.errors import LmedgeError
from lmedge.report.csv_files import write_csv

from .common import PATH, out_option, run_study

SETTINGS = ("measured", "1", "2")
_START = 60.0  # seconds until a process must have written its first line
_FRAMES = 300  # of the video, which is written again and again
_REPEATS = 12  # at least: the first process must still run when the second has started


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """`processes` at a time with a setting of --threads, medians over the rounds.

    `first_per_second` and `second_per_second` are frames a second of each, `share` that of the
    slower over that of the faster, `share_low` the least of the rounds; `total_per_second` of both,
    `total_ratio` over that of one process alone with measured threads.
    """

    threads: str
    processes: int
    rounds: int
    seconds: float
    first_per_second: float
    second_per_second: float | None
    share: float | None
    share_low: float | None
    total_per_second: float
    total_ratio: float


class Counted:
    """A process whose lines are counted as they come."""

    def __init__(self, file: Path, video: Path, setting: str, cache: Path) -> None:
        """Start it."""
        threads = [] if setting == "measured" else ["--threads", setting]
        command = [
            sys.executable,
            "-m",
            "lmedge",
            "-q",
            "camera",
            str(file),
            "--source",
            str(video),
            "--headless",
            "--jsonl",
            "-",
            *threads,
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, "LMEDGE_CACHE": str(cache)}
        )
        self.lines = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for _ in self._process.stdout:
            self.lines += 1

    def wait(self) -> None:
        """Wait for the first line. Raises LmedgeError when none comes."""
        end = time.monotonic() + _START
        while not self.lines:
            if self._process.poll() is not None or time.monotonic() > end:
                raise LmedgeError("`lmedge camera` wrote no line; see its message above")
            time.sleep(0.05)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()


def rates(
    file: Path, video: Path, setting: str, processes: int, seconds: float, cache: Path
) -> list[float]:
    """Return the frames a second of each of so many processes at a time.

    Each starts when the one before runs: it measures its threads on a machine that is in use.
    """
    with contextlib.ExitStack() as stack:
        running = []
        for _ in range(processes):
            one = Counted(file, video, setting, cache)
            stack.callback(one.close)
            one.wait()
            running.append(one)
        time.sleep(seconds / 4)  # let the first find out that it is not alone
        began, before = time.monotonic(), [one.lines for one in running]
        time.sleep(seconds)
        passed = time.monotonic() - began
        counts = [one.lines - lines for one, lines in zip(running, before, strict=True)]
    if not all(counts):
        raise LmedgeError("the video ended too soon; use a shorter --seconds")
    return [count / passed for count in counts]


def write_video(path: Path, repeats: int) -> None:
    """Write 640 x 480 frames with a bright bar that moves."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (640, 480))
    ground = cv2.resize(
        np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8), (640, 480)
    )
    for number in range(_FRAMES * repeats):
        frame = ground.copy()
        left = 2 * (number % _FRAMES)
        frame[:, left : left + 40] = 255
        writer.write(frame)
    writer.release()


@contextlib.contextmanager
def video_of(seconds: float) -> Iterator[tuple[Path, Path]]:
    """Give a video that lasts long enough, and an empty folder for the measured threads."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "bar.mp4"
        write_video(video, max(_REPEATS, round(3 * seconds)))
        yield video, Path(folder) / "cache"


def summarise(
    setting: str, processes: int, seconds: float, found: Sequence[list[float]], alone: float
) -> Share:
    """Return the row of (rounds) x (processes) rates."""
    shares = [min(each) / max(each) for each in found]
    total = statistics.median(sum(each) for each in found)
    both = processes > 1
    return Share(
        threads=setting,
        processes=processes,
        rounds=len(found),
        seconds=seconds,
        first_per_second=statistics.median(each[0] for each in found),
        second_per_second=statistics.median(each[1] for each in found) if both else None,
        share=statistics.median(shares) if both else None,
        share_low=min(shares) if both else None,
        total_per_second=total,
        total_ratio=total / alone,
    )


@click.command()
@click.argument("file", type=PATH, metavar="FILE.tflite")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.2), default=6.0, show_default=True)
@out_option("shared_cores.csv")
def main(file: Path, rounds: int, seconds: float, out: Path) -> None:
    """Run one and two processes at a time, with each setting in turn."""
    cases = [(setting, processes) for setting in SETTINGS for processes in (1, 2)]
    found: dict[tuple[str, int], list[list[float]]] = {case: [] for case in cases}
    with video_of(seconds) as (video, cache):
        for _ in range(rounds):
            for setting, processes in cases:
                case = rates(file, video, setting, processes, seconds, cache)
                found[setting, processes].append(case)
    alone = statistics.median(each[0] for each in found["measured", 1])
    rows = [summarise(*case, seconds, found[case], alone) for case in cases]
    for row in rows:
        second = "" if row.second_per_second is None else f" and {row.second_per_second:.1f}"
        share = "" if row.share is None else f", share {row.share:.2f} (least {row.share_low:.2f})"
        click.echo(
            f"threads {row.threads:8} x {row.processes}: {row.first_per_second:.1f}{second} frames "
            f"a second, {row.total_ratio:.2f} of one alone{share}"
        )
    write_csv(out, rows, data=f"{file.name}; a video of 640 x 480")
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
