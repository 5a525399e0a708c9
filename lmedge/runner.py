"""One checked file in the runtime, and its outputs as numbers that are probabilities."""

from __future__ import annotations

import dataclasses
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .decoding import softmax
from .errors import LmedgeError, ModelFileError
from .exact import is_exact, known_steps, softmax_of
from .graph import TensorSpec
from .image import RgbImage
from .model_file import KNOWN, ModelFile
from .progress import quiet_stderr
from .runtime import load_delegate, load_runtime

Output = npt.NDArray[np.float32]
Write = Callable[[RgbImage], None]  # fills an array with an image
SUM_ROOM = 1e-3  # by which probabilities may miss a sum of one, beside the steps of integers
LARGEST_STEP = 1 / 255  # of probabilities that were computed in integers
KNOWN_ROOM = 0.25  # by which the output `known` may leave 0..1


class Outputs(NamedTuple):
    """The outputs of the graph for one image, float32.

    Attributes:
        landmark: (L,) probabilities.
        category: (C,) probabilities.
        known: (2,) probability that the image shows one of the landmarks, and its complement; of
            an int8 file in steps of 1 / 1024; None from a file without that output.
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


def brief(error: Exception) -> str:
    """Return the first line of an error of the runtime, which may repeat names in the file."""
    lines = str(error).splitlines() or [type(error).__name__]
    return "".join(letter for letter in lines[0] if letter.isprintable())[:200].rstrip(".")


class Loadable(Protocol):
    """A checked graph: the bytes of a .tflite, a name for errors, and its input."""

    @property
    def path(self) -> Path:
        """The name of the file, used in errors."""

    @property
    def data(self) -> bytes:
        """The bytes."""

    @property
    def image(self) -> TensorSpec:
        """The input."""


class LoadableFeatures(Loadable, Protocol):
    """A checked graph whose output are features, (1, F)."""

    @property
    def features(self) -> TensorSpec:
        """The output."""


class LoadedGraph:
    """A checked graph in the runtime, on one image at a time.

    Attributes:
        runtime: Import name of the runtime.
        threads: Threads of the runtime.
    """

    def __init__(
        self,
        model: Loadable,
        threads: int = 1,
        *,
        delegate: str | os.PathLike[str] | None = None,
        runtime: str | None = None,
    ) -> None:
        """Load the graph in this process; arguments and errors are those of an Interpreter."""
        if threads < 1:
            raise LmedgeError(f"threads must be at least 1, not {threads}")
        self.runtime, interpreter_class = load_runtime(runtime)
        self.threads = threads
        self._path = model.path
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
        except (ValueError, RuntimeError, MemoryError) as error:
            raise ModelFileError(
                f"{model.path}: this {self.runtime} cannot run it ({brief(error)}); update the "
                "runtime"
            ) from error
        self._image = model.image.index
        self._signed = model.image.dtype == "int8"

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
            if self._signed:
                np.bitwise_xor(inside, 0x80, out=inside)  # as int8: the byte less 128
            return
        if self._signed:
            image = (image ^ 0x80).view(np.int8)
        self._runner.set_tensor(self._image, image[None])  # refuses another shape or dtype

    def invoke(self) -> None:
        """Run the graph on the image that was set. Raises ModelFileError if it stops."""
        try:
            self._runner.invoke()
        except (ValueError, RuntimeError, MemoryError) as error:
            raise ModelFileError(
                f"{self._path}: the runtime stopped in the middle of an image ({brief(error)}); "
                "export it again"
            ) from error


class FeatureRunner(LoadedGraph):
    """Run a graph that ends with features on one image at a time.

    Several threads may call `run`, which then runs one image after the other.
    """

    def __init__(
        self,
        base: LoadableFeatures,
        threads: int = 1,
        *,
        runtime: str | None = None,
    ) -> None:
        """Load the graph in this process; arguments and errors are those of an Interpreter."""
        super().__init__(base, threads, runtime=runtime)
        self._features = base.features.index

    def run(self, image: RgbImage | Write) -> npt.NDArray[Any]:
        """Set an image as `set_image` does, run the graph and return its features, (F,).

        Those of a base are int8.
        """
        with self._lock:
            self.set_image(image)
            self.invoke()
            found: npt.NDArray[Any] = self._runner.get_tensor(self._features)[0]
            return found


class GraphRunner(LoadedGraph):
    """Run a checked file on one image at a time, with the heads bound by name.

    Several threads may call `run`, which then runs one image after the other. To run more at a
    time, give each thread its own.
    """

    def __init__(
        self,
        model: ModelFile,
        threads: int = 1,
        *,
        delegate: str | os.PathLike[str] | None = None,
        runtime: str | None = None,
    ) -> None:
        """Load the graph in this process; arguments and errors are those of an Interpreter."""
        super().__init__(model, threads, delegate=delegate, runtime=runtime)
        self._landmark = model.heads["landmark"]
        self._category = model.heads["category"]
        self._known = model.known
        self._exact = {name: softmax_of(one.logit_step) for name, one in model.heads.items()}
        self._stepped = is_exact(model.heads)
        self._logits = _logits_of(model, self._runner) if self._signed else None

    def outputs(self) -> Outputs:
        """Return the outputs of the last `invoke`.

        Raises:
            ModelFileError: They are no probabilities.
        """
        landmark = self._output(self._landmark)
        category = self._output(self._category)
        if self._logits is not None:
            landmark = self._logits["landmark"].probabilities(landmark)
            category = self._logits["category"].probabilities(category)
        else:
            landmark = self._probabilities(self._landmark, landmark)
            category = self._probabilities(self._category, category)
        if self._known is None:
            return Outputs(landmark, category)
        return Outputs(landmark, category, self._probability(self._output(self._known)))

    def _output(self, spec: TensorSpec) -> npt.NDArray[Any]:
        """Return an output, of which the runtime may have computed another shape."""
        found: npt.NDArray[Any] = self._runner.get_tensor(spec.index)
        if found.shape != spec.shape:
            raise ModelFileError(
                f"{self._path}: its {spec.name} output comes as {found.shape}, not {spec.shape}; "
                "export it again"
            )
        values: npt.NDArray[Any] = found[0]
        return values

    def _probabilities(self, spec: TensorSpec, output: Output) -> Output:
        """Check that an output is not negative and sums to one; return it, computed exactly."""
        values: list[float] = output.tolist()  # an array of NumPy takes longer for as few
        room = SUM_ROOM + min(spec.step, LARGEST_STEP) * len(values) / 2
        # The sum comes first: no NaN passes it, and the order of a NaN is not defined.
        fits = abs(sum(values) - 1.0) <= room and min(values) >= 0.0 and max(values) <= 1 + SUM_ROOM
        if not fits:
            raise ModelFileError(self._no_probabilities(spec.name, values))
        softmax = self._exact[spec.name]
        exact = None if softmax is None else softmax.again(values)
        return output if exact is None else exact

    def _probability(self, known: Output) -> Output:
        """Return a probability and its complement, within 0..1; in steps if the heads are exact."""
        first, second = known.tolist()
        if not self._stepped and 0.0 <= first <= 1.0 and abs(first + second - 1.0) <= SUM_ROOM:
            return known
        # Integers round the cosine in it, which may so pass 1 or 0 by little.
        if not (-KNOWN_ROOM <= first <= 1.0 + KNOWN_ROOM and abs(first + second - 1.0) <= SUM_ROOM):
            raise ModelFileError(self._no_probabilities(KNOWN, [first, second]))
        inside = min(1.0, max(0.0, first))
        if self._stepped:
            inside = known_steps(inside)
        return np.array([inside, 1.0 - inside], np.float32)

    def _no_probabilities(self, name: str, values: list[float]) -> str:
        worst = next((value for value in values if not math.isfinite(value)), None)
        worst = worst or max(values, key=lambda value: abs(value - 0.5))
        return (
            f"{self._path}: its {name} output holds no probabilities (a value of {worst:.6g}, a "
            f"sum of {sum(values):.6g}); export it again"
        )

    def run(self, image: RgbImage | Write) -> Outputs:
        """Set an image as `set_image` does, run the graph and return its outputs."""
        with self._lock:
            self.set_image(image)
            self.invoke()
            return self.outputs()
