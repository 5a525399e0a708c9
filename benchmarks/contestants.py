"""The contestants of a comparison: files in this process, or in a process for each runtime."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import click
import numpy as np
import numpy.typing as npt

from lmedge.classifier import Classifier
from lmedge.errors import LmedgeError, MissingDependencyError
from lmedge.model_file import ModelFile, read_model
from lmedge.runtime import RUNTIMES, runtime_label

from .workers.parent import Worker, classifier


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """A runtime to measure with; `python` is that of another environment, None of this one."""

    name: str
    python: Path | None = None

    @classmethod
    def parse(cls, text: str) -> tuple[Runtime, ...]:
        """Parse "litert,tflite-runtime=PATH/TO/python". Raises LmedgeError for other names."""
        found = []
        for part in text.split(","):
            name, equals, python = part.strip().partition("=")
            if name not in RUNTIMES or (equals and not python):
                raise LmedgeError(
                    f"no runtime is called {part.strip() or 'nothing'}; choose from "
                    f"{', '.join(RUNTIMES)}, or NAME=PATH/TO/python"
                )
            found.append(cls(name=name, python=Path(python) if equals else None))
        return tuple(found)


class Contestant(Protocol):
    """A file in a runtime; `runtime` is its name and version."""

    name: str
    runtime: str
    model: ModelFile

    def show(self, frame: npt.NDArray[np.uint8]) -> None:
        """Set the frame, (H, W, 3) uint8 RGB, that `time` classifies."""

    def time(self) -> int:
        """Classify the frame and return the nanoseconds."""

    @property
    def helper_seconds(self) -> float:
        """Processor seconds of its own process, 0 without one."""

    def joint(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the joint probabilities of the landmarks, (L,)."""


class Here:
    """A file in this process, with the runtime that lmedge uses here."""

    def __init__(self, name: str, model: ModelFile, threads: int) -> None:
        """Load the file. Raises ModelFileError if it cannot be used."""
        self.name, self.model = name, model
        self._classifier = Classifier(model, threads=threads)
        self.runtime = runtime_label(self._classifier.interpreter.runtime)

    def show(self, frame: npt.NDArray[np.uint8]) -> None:
        """Set the frame."""
        self._frame = frame

    def time(self) -> int:
        """Classify the frame and return the nanoseconds."""
        start = time.perf_counter_ns()
        self._classifier.classify(self._frame)
        return time.perf_counter_ns() - start

    @property
    def helper_seconds(self) -> float:
        """Return 0, since it is in this process."""
        return 0.0

    def joint(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the joint probabilities of the landmarks, (L,)."""
        return self._classifier.classify(frame).joint


class There:
    """A file in its own process, which runs this lmedge with the runtime of its Python."""

    def __init__(self, name: str, model: ModelFile, worker: Worker) -> None:
        """Take a worker of `workers.parent.classifier`."""
        self.name, self.model, self._worker = name, model, worker
        self.runtime = worker.label

    def show(self, frame: npt.NDArray[np.uint8]) -> None:
        """Set the frame."""
        self._worker.show(frame)

    def time(self) -> int:
        """Classify the frame once to warm the caches, once more, and return the nanoseconds."""
        return self._worker.time(warm=1)

    @property
    def helper_seconds(self) -> float:
        """Processor seconds of the process up to its last answer."""
        return self._worker.processor_seconds

    def joint(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the joint probabilities of the landmarks, (L,)."""
        return self._worker.answer(frame)["joint"]


@contextlib.contextmanager
def contestants(
    paths: Sequence[Path], runtimes: Sequence[Runtime], threads: int
) -> Iterator[list[Contestant]]:
    """Load every file, with every runtime if any are given, each then in its own process.

    Either all run in processes or none, so that the cost of a process affects all alike. Two
    runtimes that register the same types are never in one process.

    Raises:
        ModelFileError: A file cannot be used.
        MissingDependencyError: A runtime or a Python is missing.
    """
    models = [read_model(path) for path in paths]
    names = [path.name for path in paths]
    if len(set(names)) < len(names):  # their folders distinguish them
        names = [click.format_filename(path) for path in paths]
    named = list(zip(names, models, strict=True))
    if not runtimes:
        yield [Here(name, model, threads) for name, model in named]
        return
    with contextlib.ExitStack() as stack:
        found: list[Contestant] = []
        for name, model in named:
            for runtime in runtimes:
                worker = stack.enter_context(_start(model, runtime, threads))
                found.append(There(name, model, worker))
        yield found


def _start(model: ModelFile, runtime: Runtime, threads: int) -> Worker:
    name, python = f"--runtime {runtime.name}", runtime.python or sys.executable
    try:
        return classifier(name, model.path, runtime.name, python, threads)
    except MissingDependencyError as error:
        if runtime.python is not None:
            raise
        raise MissingDependencyError(
            f"{error}, or name the Python of an environment that has it: "
            f"{runtime.name}=PATH/TO/python"
        ) from error
