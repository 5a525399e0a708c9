"""Lessons of a running camera: F1 afterwards, frames that were lost, seconds, and kills.

    python -m benchmarks.studies.camera_lessons --data PHOTOGRAPHS

The photographs of each landmark are cut into a quarter to test on and the rest. A file is taught
the rest of all landmarks but some. A camera then shows the others: it moves over one photograph
of a landmark, at a fixed rate, as if it stood before it. A burst is taken, named and taught by
the code of `lmedge camera --teach`, in a child process, while the loop goes on. The file is
measured on test photographs after the first bursts of 1, 5 and all of these landmarks, and after
the second and third of all. For comparison, a file is taught the rest of all photographs at once.

Frames are counted as lost if the camera gave them and the loop did not take them: for some seconds
without a lesson, and during the lessons. Afterwards processes with the same loop are killed at
random moments of a lesson, and the file is compared with the one before and the one after. Only the
base installation is needed, so that a board can run this too; there, name a file with --base.
"""

from __future__ import annotations

import dataclasses
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import cv2
import numpy as np

from lmedge.camera import BgrImage, Choice, LiveSource, run_camera
from lmedge.camera.taught_place import PlainPlace
from lmedge.camera.teacher import LessonPhase, Teacher
from lmedge.classifier import Classifier
from lmedge.evaluation.folders import LabelledImage, scan
from lmedge.evaluation.metrics import HeadScore, score_head
from lmedge.image import read_image
from lmedge.model_file import read_model
from lmedge.processes import child_environment, python_command
from lmedge.report.csv_files import write_csv
from lmedge.teach.base import Base
from lmedge.teach.burst_lesson import BurstLesson, BurstPhotographs, ChildTeacher
from lmedge.teach.history import TaughtHistory
from lmedge.teach.photographs import read_photographs
from lmedge.teach.teaching import Lesson, teach_file, write_taught

from .closed_loop import copy_all, cut, smaller
from .common import out_option, run_study

RATE = 15.0  # frames a second of the camera
SIZE = (640, 480)
QUIET = 8.0  # seconds without a lesson, in which lost frames are counted
LONGEST = 600.0  # seconds of a lesson
BURSTS = 3  # of each landmark
DATA = click.Path(path_type=Path, file_okay=False, exists=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LessonRow:
    """A file after some lessons; columns of the table."""

    taught: str
    bursts: int | None
    photographs: int
    landmarks: int
    macro_f1: float
    taught_f1: float | None
    others_f1: float
    refused: int | None = None
    seconds: float | None = None
    slowest: float | None = None
    frames: int | None = None
    lost: int | None = None
    quiet_frames: int | None = None
    quiet_lost: int | None = None
    child_mb: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class KillRow:
    """Processes that were killed at one step of a lesson; columns of the table."""

    step: str
    kills: int
    old: int
    new: int
    neither: int
    start_again: int
    way_back: int


class PhotographCamera:
    """A capture that moves over a photograph, with the noise of a sensor."""

    def __init__(self, seed: int, rate: float = RATE) -> None:
        """Begin before nothing, a grey wall."""
        self._image: BgrImage = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
        self._rng, self._step, self._rate = np.random.default_rng(seed), 0, rate
        self._next = time.monotonic()

    def aim(self, path: Path) -> None:
        """Stand before a photograph from the next frame on."""
        image = smaller(read_image(path))
        self._image = np.ascontiguousarray(image[..., ::-1])

    def read(self) -> tuple[bool, BgrImage]:
        """Return the next frame at its time."""
        self._next = max(self._next + 1 / self._rate, time.monotonic() - 1)
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._step += 1
        return True, self.view(self._step / 30)

    def view(self, at: float) -> BgrImage:
        """Return what is seen: between 72 and 96 % of the photograph, somewhere in it."""
        image = self._image
        height, width = image.shape[:2]
        share = 0.84 + 0.12 * np.sin(0.7 * at)
        y = int((1 - share) * height * (0.5 + 0.5 * np.sin(1.3 * at)))
        x = int((1 - share) * width * (0.5 + 0.5 * np.cos(at)))
        part = image[y : y + int(share * height), x : x + int(share * width)]
        seen = cv2.resize(part, SIZE, interpolation=cv2.INTER_AREA).astype(np.int16)
        noisy = seen + self._rng.integers(-4, 5, seen.shape)
        return np.asarray(np.clip(noisy, 0, 255), np.uint8)

    def release(self) -> None:
        """Do nothing."""


class TaughtCamera:
    """The loop of `lmedge camera --teach`, in a thread; a context manager."""

    def __init__(self, file: Path, seed: int = 0, teaching: object = None) -> None:
        """Start it on a file."""
        self.capture = PhotographCamera(seed)
        self.source = LiveSource("photographs", lambda: self.capture)
        self.choice = Choice([file], 1)
        given = {} if teaching is None else {"teaching": teaching}
        self.teacher = Teacher(self.choice, PlainPlace(file), camera="photographs", **given)  # type: ignore[arg-type]
        self._frames = 0
        self._thread = threading.Thread(
            target=run_camera, args=(self.choice, self.source, [self.teacher])
        )

    def __enter__(self) -> TaughtCamera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.stop()
        self._thread.join()
        self.source.close()

    def counts(self) -> tuple[int, int]:
        """Return how many frames the camera has given, and how many were lost."""
        return self.capture._step, self.source.dropped

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition. Raises TimeoutError."""
        end = time.monotonic() + LONGEST
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(self.teacher.state.message)
            time.sleep(0.02)

    def take_burst(self, path: Path) -> None:
        """Stand before a photograph and take a burst of it."""
        self.capture.aim(path)
        time.sleep(2 / RATE)
        self.teacher.begin()
        self.wait(lambda: self.teacher.state.phase is not LessonPhase.TAKING)

    def teach(self, landmark: str, category: str) -> bool:
        """Name the burst, and wait for the end; return False if it was refused."""
        self.teacher.teach(landmark, category)
        self.wait(lambda: self.teacher.state.phase is not LessonPhase.TEACHING)
        if self.teacher.state.failed:
            click.echo(f"{landmark}: {self.teacher.state.message}", err=True)
            self.teacher.cancel()
            return False
        return True


def measure(file: Path, test: Sequence[LabelledImage]) -> HeadScore:
    """Classify the test photographs of all landmarks that the file knows."""
    classifier = Classifier(file)
    names = classifier.taxonomy.landmarks
    own = [image for image in test if image.landmark in names]
    guesses = [classifier.classify_file(image.path).landmark for image in own]
    place = {name: number for number, name in enumerate(names)}
    truth = np.array([place[image.landmark] for image in own])
    return score_head(truth, np.array([place[guess] for guess in guesses]), names)


def row(
    file: Path, test: Sequence[LabelledImage], taught: Sequence[str], **values: object
) -> LessonRow:
    """Return a row of the table."""
    score = measure(file, test)
    f1 = {one.name: one.f1 for one in score.classes}
    own = [f1[name] for name in taught if name in f1]
    others = [value for name, value in f1.items() if name not in taught]
    counts = read_model(file).info["taught"]["photographs"]
    return LessonRow(
        taught=str(len(taught)),
        photographs=sum(counts.get(name, 0) for name in taught),
        landmarks=len(f1),
        macro_f1=score.macro_f1,
        taught_f1=statistics.fmean(own) if own else None,
        others_f1=statistics.fmean(others),
        **{"bursts": None, **values},  # type: ignore[arg-type]
    )


def child_megabytes() -> int | None:
    """Return the most memory that a child process has had, None if the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10


def give_lessons(
    file: Path,
    test: Sequence[LabelledImage],
    shown: dict[str, list[LabelledImage]],
) -> list[LessonRow]:
    """Teach the landmarks one after the other, burst by burst, and measure at some points."""
    rows, names = [], sorted(shown)
    points = {(1, 1), (1, min(5, len(names)))} | {(n, len(names)) for n in range(1, BURSTS + 1)}
    with TaughtCamera(file) as camera:
        camera.capture.aim(shown[names[0]][0].path)
        time.sleep(1.0)
        begin = camera.counts()
        time.sleep(QUIET)
        quiet = [after - before for before, after in zip(begin, camera.counts(), strict=True)]
        for burst in range(1, BURSTS + 1):
            seconds, frames, lost, refused = [], 0, 0, 0
            for number, name in enumerate(names, 1):
                one = shown[name][(burst - 1) % len(shown[name])]
                camera.take_burst(one.path)
                before, start = camera.counts(), time.monotonic()
                refused += not camera.teach(name, one.category)
                seconds.append(time.monotonic() - start)
                after = camera.counts()
                frames, lost = frames + after[0] - before[0], lost + after[1] - before[1]
                if (burst, number) in points:
                    found = row(
                        file,
                        test,
                        names[:number],
                        bursts=burst,
                        refused=refused,
                        seconds=statistics.median(seconds),
                        slowest=max(seconds),
                        frames=frames,
                        lost=lost,
                        quiet_frames=quiet[0],
                        quiet_lost=quiet[1],
                        child_mb=child_megabytes(),
                    )
                    rows.append(found)
                    click.echo(str(found), err=True)
    return rows


def work(file: Path, photograph: Path, landmark: str, category: str) -> None:
    """Be killed: run the camera, give one lesson, and print each step."""
    child = ChildTeacher()

    def teaching(model: object, burst: BurstPhotographs) -> BurstLesson:
        lesson = child(model, burst)  # type: ignore[arg-type]
        click.echo("replacing")
        return lesson

    with TaughtCamera(file, teaching=teaching) as camera:
        click.echo("burst")
        camera.take_burst(photograph)
        click.echo("teaching")
        camera.teach(landmark, category)
        click.echo("after")
        time.sleep(LONGEST)


def kill_lessons(start: Path, one: LabelledImage, kills: int, seed: int) -> list[KillRow]:
    """Kill processes at random moments of each step, and look at the file that is left."""
    chance, old = random.Random(seed), start.read_bytes()
    # Longest wait after a step has begun; the writes of a replacement take some ten milliseconds.
    waits = {"burst": 4.0, "teaching": 4.0, "replacing": 0.4}
    rows = []
    for step, longest in waits.items():
        found = {"old": 0, "new": 0, "neither": 0, "start_again": 0, "way_back": 0}
        for _ in range(kills):
            with tempfile.TemporaryDirectory() as folder:
                file = Path(shutil.copy(start, Path(folder) / "file.tflite"))
                words = [str(file), str(one.path), one.landmark, one.category]
                command = python_command(
                    "-m", "benchmarks.studies.camera_lessons", "--work", *words
                )
                _kill(command, step, chance.uniform(0.0, longest))
                _look(file, old, one.landmark, found)
        rows.append(KillRow(step=step, kills=kills, **found))
        click.echo(str(rows[-1]), err=True)
    return rows


def _kill(command: list[str], step: str, wait: float) -> None:
    environment = {**child_environment(), "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == step:
                time.sleep(wait)
                break
        process.kill()


def _look(file: Path, old: bytes, landmark: str, found: dict[str, int]) -> None:
    data = file.read_bytes()
    model = read_model(file)
    new = data != old and landmark in model.taxonomy.landmarks
    found["old" if data == old else "new" if new else "neither"] += 1
    Classifier(model)
    found["start_again"] += 1
    before = TaughtHistory(file).previous(model)
    found["way_back"] += new and before is not None and before.data == old


@click.command()
@click.option("--data", type=DATA, help="Photographs, <category>/<landmark>/.")
@click.option(
    "--base", type=click.Path(path_type=Path), help="[default: the base that comes along]"
)
@click.option("--landmarks", type=click.IntRange(1), default=10, show_default=True)
@click.option(
    "--kills", type=click.IntRange(0), default=20, show_default=True, help="Of each step."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--work", "words", nargs=4, hidden=True)
@out_option("camera_lessons.csv")
def main(
    data: Path | None,
    base: Path | None,
    landmarks: int,
    kills: int,
    seed: int,
    words: tuple[str, str, str, str] | None,
    out: Path,
) -> None:
    """Teach landmarks by bursts of a running camera; kill it meanwhile."""
    if words:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        work(Path(words[0]), Path(words[1]), words[2], words[3])
        return
    if data is None:
        raise click.UsageError("--data is missing: a folder of photographs")
    images = scan(data)
    test, first, second = cut(images, seed)
    names = sorted({image.landmark for image in images})
    chosen = set(random.Random(seed).sample(names, min(landmarks, len(names) - 2)))
    rest = [*first, *second]
    opened = Base.open(base)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        copy_all([one for one in rest if one.landmark not in chosen], place / "known")
        copy_all(rest, place / "all")
        file, whole = place / "file.tflite", place / "whole.tflite"
        for photographs, path in ((place / "known", file), (place / "all", whole)):
            read = read_photographs(photographs, opened.backbone)
            lesson = Lesson(force=True)
            write_taught(teach_file(opened, read, lesson, path), lesson)
        start = Path(shutil.copy(file, place / "start.tflite"))
        at_once = row(whole, test, sorted(chosen))
        shown = {name: [one for one in rest if one.landmark == name] for name in sorted(chosen)}
        rows = [row(start, test, []), *give_lessons(file, test, shown)]
        rows.append(dataclasses.replace(at_once, taught=f"{at_once.taught} at once"))
        about = f"{data.name}: {len(images)} photographs, {len(test)} to test on"
        write_csv(out, rows, data=about)
        if kills:
            found = kill_lessons(start, shown[min(shown)][0], kills, seed)
            write_csv(out.with_name(f"{out.stem}_kills.csv"), found, data=about)


if __name__ == "__main__":
    run_study(main)
