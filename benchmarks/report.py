"""The report of a benchmark: figures and the conditions to repeat them, as JSON."""

from __future__ import annotations

import dataclasses
import os
import platform
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from lmedge import __version__, files, machine
from lmedge.model_file import ModelFile
from lmedge.runtime import load_runtime, runtime_label

from .accuracy import Accuracy
from .conditions import Conditions
from .latency import Latency
from .load import Load

SCHEMA = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class OperatorCount:
    """The number of operators of one kind in the graph; `dtype` is that of the result."""

    operator: str
    dtype: str
    count: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileFacts:
    """The measured file; `formats` are those that its export stored, if any.

    `input_size` is the side of its input in pixels.
    """

    name: str
    sha256: str
    bytes: int
    input_size: int
    formats: tuple[str, ...]
    operators: tuple[OperatorCount, ...]

    @classmethod
    def of(cls, model: ModelFile) -> FileFacts:
        """Read the facts off a checked file."""
        counts = sorted(model.operators.items(), key=lambda item: (-item[1], item[0]))
        return cls(
            name=click.format_filename(model.path.name),
            sha256=model.sha256,
            bytes=len(model.data),
            input_size=model.size,
            formats=(str(model.info["format"]),) if "format" in model.info else (),
            operators=tuple(
                OperatorCount(operator=name, dtype=dtype, count=count)
                for (name, dtype), count in counts
            ),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Environment:
    """The machine and its software; `load_average` is over 1, 5 and 15 minutes, before the run."""

    python: str
    platform: str
    processor: str
    cores: int
    runtime: str
    lmedge: str
    numpy: str
    opencv: str
    load_average: tuple[float, float, float] | None

    @classmethod
    def current(cls, runtime: str | None = None) -> Environment:
        """Describe this process. Raises MissingDependencyError without a (or that) runtime."""
        package, _ = load_runtime(runtime)
        return cls(
            python=platform.python_version(),
            platform=platform.platform(),
            processor=machine.processor_model(),
            cores=machine.cores(),
            runtime=runtime_label(package),
            lmedge=__version__,
            numpy=np.__version__,
            opencv=cv2.__version__,
            load_average=machine.load_average(),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The images of the accuracy; `part` is None for all of them."""

    path: Path
    part: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """One file on one machine; `data` and `accuracy` are None without images."""

    file: FileFacts
    environment: Environment
    conditions: Conditions
    latency: Latency
    load: Load
    data: DataFacts | None = None
    accuracy: Accuracy | None = None

    @property
    def doubts(self) -> list[str]:
        """Reasons to doubt the latency; empty on a quiet machine."""
        tail = self.latency.end_to_end_ms.tail
        return self.conditions.doubts(tail, self.environment.cores)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of report.json; docs/formats.md names its fields."""
        return {
            "schema": SCHEMA,
            "file": dataclasses.asdict(self.file),
            "environment": dataclasses.asdict(self.environment),
            "data": self.data
            and {"path": click.format_filename(self.data.path), "part": self.data.part},
            "accuracy": self.accuracy and self.accuracy.as_dict(),
            "latency": {
                **self.latency.as_dict(),
                **self.load.as_dict(),
                "conditions": self.conditions.as_dict(),
                "noisy": self.doubts,
            },
        }

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write report.json, whole or not at all. Raises LmedgeError when that fails."""
        files.write_json(path, self.as_dict())

    def write_samples(self, path: str | os.PathLike[str]) -> None:
        """Write every measured time, in the order it was taken, as CSV in milliseconds."""
        rows = [f"{a / 1e6:.6f},{b / 1e6:.6f}" for a, b in self.latency.samples.tolist()]
        files.write_text(path, "\n".join(["invoke_ms,end_to_end_ms", *rows, ""]))
