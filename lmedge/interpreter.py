"""The runtime behind one small class."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .decoding import softmax
from .errors import LmedgeError, ModelFileError
from .image import RgbImage
from .model_file import ModelFile
from .progress import quiet_stderr
from .runtime import load_delegate, load_runtime
from .trial import survive

Output = npt.NDArray[np.float32]
Write = Callable[[RgbImage], None]  # fills an array with an image
_log = logging.getLogger(__name__)


class Outputs(NamedTuple):
    """The outputs of the graph for one image, float32.

    Attributes:
        landmark: (L,) probabilities.
        category: (C,) probabilities.
        known: (2,) probability that the image shows one of the landmarks, and its complement;
            None from a file without that output.
    """

    landmark: Output
    category: Output
    known: Output | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizedLogits:
    """The quantization of a head's int8 logits; probabilities are softmax((q - zero) factor).

    `factor` is the scale of the output over the temperature in the file.
    """

    zero: int
    factor: float

    def probabilities(self, values: npt.NDArray[np.int8]) -> Output:
        """Return (K,) float32 probabilities of (K,) int8 logits."""
        return softmax((values.astype(np.float64) - self.zero) * self.factor)


def _logits_of(model: ModelFile, runner: Any) -> dict[str, QuantizedLogits]:
    """Return the quantization of each head. Raises ModelFileError without scale or temperature."""
    scales = {one["index"]: one["quantization"] for one in runner.get_output_details()}
    found = {}
    for head, spec in model.heads.items():
        try:
            scale, zero = scales[spec.index]
            factor = float(scale) / float(model.info["temperatures"][head])
        except (LookupError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ModelFileError(
                f"{model.path}: its {head} logits have no scale or temperature; export it again"
            ) from error
        if not (0 < factor < float("inf")):
            raise ModelFileError(f"{model.path}: its {head} logits have no scale; export it again")
        found[head] = QuantizedLogits(zero=int(zero), factor=factor)
    return found


@functools.cache
def _warn_once() -> None:
    _log.warning(
        "tflite-runtime runs int8 files many times slower than LiteRT; if there is a wheel for "
        "this machine, run `pip install ai-edge-litert`"
    )


class Interpreter:
    """Run a checked file on one image at a time, with the heads bound by name.

    Several threads may call `run`, which then runs one image after the other. To run more at a
    time, give each thread its own interpreter.

    Attributes:
        runtime: Import name of the runtime.
        threads: Threads of the runtime.
    """

    def __init__(
        self,
        model: ModelFile,
        threads: int = 1,
        *,
        delegate: str | os.PathLike[str] | None = None,
        trusted: bool = False,
        runtime: str | None = None,
    ) -> None:
        """Load the graph.

        Args:
            model: The checked file.
            threads: Threads of the runtime, at least 1.
            delegate: Path of a TFLite delegate, a shared library for an accelerator.
            trusted: False runs the file in a child process first, see trial.py.
            runtime: One of RUNTIMES; None takes the first one installed.

        Raises:
            ModelFileError: This runtime cannot run the file.
            LmedgeError: The delegate cannot be loaded, or `threads` is below 1.
            MissingDependencyError: The runtime is not installed.
        """
        if threads < 1:
            raise LmedgeError(f"threads must be at least 1, not {threads}")
        self.runtime, interpreter_class = load_runtime(runtime)
        if self.runtime == "tflite_runtime":
            _warn_once()
        if not trusted:
            survive(model, runtime)
        self.threads = threads
        self._lock = threading.Lock()
        delegates = None if delegate is None else [load_delegate(self.runtime, delegate)]
        # The runtime reads the bytes in place: they must live as long as it does.
        self._data = model.data
        try:
            with quiet_stderr():
                self._runner = interpreter_class(
                    model_content=self._data,
                    num_threads=threads,
                    experimental_delegates=delegates,
                )
                self._runner.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelFileError(
                f"{model.path}: this {self.runtime} cannot run it ({error}); update the runtime"
            ) from error
        self._image = model.image.index
        self._landmark = model.heads["landmark"].index
        self._category = model.heads["category"].index
        self._known = None if model.known is None else model.known.index
        self._logits = _logits_of(model, self._runner) if model.image.dtype == "int8" else None

    def set_image(self, image: RgbImage | Write) -> None:
        """Set the input of the graph.

        Args:
            image: (S, S, 3) uint8 RGB, which is copied; or a function that writes one into the
                (S, S, 3) uint8 array it is called with. That array is the input itself, and the
                function must not keep it.
        """
        if callable(image):
            inside = self._runner.tensor(self._image)()[0].view(np.uint8)
            image(inside)
            if self._logits is not None:
                np.bitwise_xor(inside, 0x80, out=inside)  # as int8: the byte less 128
            return
        if self._logits is not None:
            image = (image ^ 0x80).view(np.int8)
        self._runner.set_tensor(self._image, image[None])  # refuses another shape or dtype

    def invoke(self) -> None:
        """Run the graph on the image that was set."""
        self._runner.invoke()

    def outputs(self) -> Outputs:
        """Return the outputs of the last `invoke`."""
        landmark = self._runner.get_tensor(self._landmark)[0]
        category = self._runner.get_tensor(self._category)[0]
        if self._logits is not None:
            landmark = self._logits["landmark"].probabilities(landmark)
            category = self._logits["category"].probabilities(category)
        if self._known is None:
            return Outputs(landmark, category)
        return Outputs(landmark, category, self._runner.get_tensor(self._known)[0])

    def run(self, image: RgbImage | Write) -> Outputs:
        """Set an image as `set_image` does, run the graph and return its outputs."""
        with self._lock:
            self.set_image(image)
            self.invoke()
            return self.outputs()
