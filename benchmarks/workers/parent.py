"""A runtime in its own process, which may be of another virtual environment."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

import lmedge
from lmedge.errors import LmedgeError, MissingDependencyError, error_class
from lmedge.flatbuffer import Table
from lmedge.model_file import ModelFile
from lmedge.processes import child_environment

CHILD = Path(__file__).with_name("child.py")
PACKAGE = Path(lmedge.__file__).parent
SECONDS = 120.0  # for one answer, loading included; the slowest format takes seconds on a board

Answer = dict[str, npt.NDArray[np.float32]]


class Worker:
    """One file in one runtime; a context manager that ends the process.

    Nothing runs without a request.

    Attributes:
        name: Name used in errors.
        python: The Python of the process.
        label: Name and version of the runtime.
        processor_seconds: Processor time of the process up to its last answer.
    """

    def __init__(self, name: str, python: str | os.PathLike[str], spec: Mapping[str, Any]) -> None:
        """Start `python` and load a file there.

        Args:
            name: Name used in errors.
            python: Path of the Python.
            spec: The request `open` of child.py.

        Raises:
            MissingDependencyError: There is no such Python, or it lacks a package.
            ModelFileError: The file cannot be used there.
            LmedgeError: The process fails.
        """
        self.name = name
        self.python = os.path.abspath(python)  # noqa: PTH100  (a link may be what makes a venv)
        if not (os.access(self.python, os.X_OK) and Path(self.python).is_file()):
            raise MissingDependencyError(f"{name}: {self.python} is no Python; check the path")
        self.processor_seconds = 0.0
        self._talk = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        self._connection, other = multiprocessing.Pipe()
        try:
            self._process = subprocess.Popen(
                [self.python, str(CHILD), str(other.fileno())],
                env=child_environment(),
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._talk,
            )
        except OSError as error:
            raise MissingDependencyError(
                f"{name}: {self.python} is no Python ({error.strerror}); check the path"
            ) from error
        finally:
            other.close()
        try:
            self.label = str(self._ask({**spec, "do": "open"})["label"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, frame: npt.NDArray[np.uint8]) -> None:
        """Set a frame, (H, W, 3) uint8 RGB, and run once; `time` repeats it."""
        self._ask({"do": "time"}, frame)

    def time(self, warm: int = 0) -> int:
        """Run once more and return its nanoseconds, by the worker's clock.

        `warm` runs before it are not timed. They bring code and weights back into the caches that
        other workers have filled meanwhile.
        """
        return int(self._ask({"do": "time", "warm": warm})["ns"])

    def answer(self, frame: npt.NDArray[np.uint8]) -> Answer:
        """Run on a frame and return the probabilities of each head, float32 by its name.

        The answer of `classifier` holds `joint` too. A score that a client does not report is NaN.
        """
        found = self._ask({"do": "answer"}, frame)["answer"]
        return {head: np.array(values, np.float32) for head, values in found.items()}

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._talk.close()

    def _ask(
        self, request: Mapping[str, Any], frame: npt.NDArray[np.uint8] | None = None
    ) -> dict[str, Any]:
        try:
            if frame is None:
                self._connection.send_bytes(json.dumps(request).encode())
            else:
                shaped = {**request, "shape": frame.shape}
                self._connection.send_bytes(json.dumps(shaped).encode())
                self._connection.send_bytes(np.ascontiguousarray(frame).data.cast("B"))
            if not self._connection.poll(SECONDS):
                self._process.kill()
                raise LmedgeError(f"{self.name}: no answer within {SECONDS:g} s from {self.python}")
            reply = json.loads(self._connection.recv_bytes())
        except (OSError, EOFError) as error:
            raise LmedgeError(f"{self.name}: {self.python} {self._end()}") from error
        if "error" in reply:
            raise self._error(reply)
        self.processor_seconds = float(reply.get("processor_s", 0.0))
        return dict(reply)

    def _error(self, reply: Mapping[str, Any]) -> LmedgeError:
        if reply.get("missing"):
            return MissingDependencyError(
                f"{self.name}: {self.python} cannot import {reply['missing']} ({reply['error']}); "
                "install it there, or name another Python"
            )
        kind = error_class(reply["code"]) or LmedgeError
        return kind(f"{self.name}: {reply['error']}")

    def _end(self) -> str:
        """Return the reason for the end of the process, with the last line it wrote."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        reason = f"ended with exit code {code}"
        if code is None:
            reason = "does not answer"
        elif code < 0:
            with contextlib.suppress(ValueError):
                reason = f"was ended by {signal.Signals(-code).name}"
        self._talk.seek(0)
        lines = self._talk.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{reason} ({last})" if last else reason


def classifier(
    name: str,
    file: Path,
    runtime: str,
    python: str | os.PathLike[str] = sys.executable,
    threads: int = 1,
    *,
    bgr: bool = False,
    jpeg: bool = False,
) -> Worker:
    """Start `lmedge.Classifier` on a file; that Python needs numpy, OpenCV and the runtime.

    With `bgr` the timed part begins with a frame in OpenCV's order of colours, with `jpeg` with a
    file. Images are passed as RGB frames in both cases. Errors are those of Worker.
    """
    return Worker(
        name,
        python,
        {
            "kind": "classifier",
            "file": str(file.absolute()),
            "threads": threads,
            "runtime": runtime,
            "package": str(PACKAGE),
            "bgr": bgr,
            "jpeg": jpeg,
        },
    )


def bare(
    kind: str,
    model: ModelFile,
    python: str | os.PathLike[str],
    *,
    name: str,
    file: Path | None = None,
    **options: Any,
) -> Worker:
    """Start one of the other kinds of child.py on a file, on one thread.

    `file` is run in place of `model`: the same network in another format. Errors are those of
    Worker.
    """
    labels = {"landmark": model.taxonomy.landmarks, "category": model.taxonomy.categories}
    (graph,) = Table.root(model.data).tables(2)
    tensors = graph.tables(0)
    heads = {
        head: {
            "index": spec.index,
            "tensor": tensors[spec.index].string(3),
            "labels": labels[head],
        }
        for head, spec in model.heads.items()
    }
    path = str((file or model.path).absolute())
    return Worker(
        name,
        python,
        {
            "kind": kind,
            "file": path,
            "threads": 1,
            "image": model.image.index,
            "heads": heads,
            **options,
        },
    )
