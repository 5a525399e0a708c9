"""Golden images, which a formula makes, and the outputs for them that the exporter stores.

A device that computes the same outputs runs the file as it was verified, on its own kernels.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .base_file import FEATURES, BaseFile
from .errors import ModelFileError
from .exact import is_exact, known_steps
from .info import is_numbers
from .interpreter import FeatureInterpreter, Interpreter
from .model_file import HEADS, KNOWN, ModelFile
from .trial import GOLDEN, golden_image

DIGITS = 6  # of the probabilities that are stored
LEAST_COSINE = 0.99  # of features that other kernels may make
LARGEST = 0.05  # difference of a probability that other kernels may make


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """The outputs of this machine beside the stored ones.

    `largest` is the largest difference of a probability. `same_top` is true if every output has the
    same top class for every golden image.
    """

    pictures: int
    largest: float
    same_top: bool

    @property
    def identical(self) -> bool:
        """True if nothing differs beyond the digits that are stored."""
        return self.same_top and self.largest <= 10.0**-DIGITS

    @property
    def passed(self) -> bool:
        """True if the file runs here as it was verified, but for the rounding of other kernels."""
        return self.same_top and self.largest <= LARGEST


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureVerification:
    """The features of this machine beside those stored in a base.

    `largest` is the largest difference of a feature, in steps. `least_cosine` is the least cosine
    between the stored features of an image and those of this machine.
    """

    pictures: int
    largest: int
    least_cosine: float

    @property
    def identical(self) -> bool:
        """True if every feature is the same."""
        return self.largest == 0

    @property
    def passed(self) -> bool:
        """True if the base runs here as it was made, but for the rounding of other kernels."""
        return self.least_cosine >= LEAST_COSINE


def golden_features(base: BaseFile, *, trusted: bool = False) -> list[list[int]]:
    """Return the int8 features of every golden image, as they are in a base.

    Args:
        base: The file, or a graph that becomes one.
        trusted: As of an Interpreter.
    """
    interpreter = FeatureInterpreter(base, trusted=trusted)
    images = (golden_image(number, base.size) for number in range(GOLDEN))
    return [interpreter.run(image).tolist() for image in images]


def verify_base(base: BaseFile, *, trusted: bool = False) -> FeatureVerification:
    """Run the golden images and compare the features with those that the base holds.

    Raises:
        ModelFileError: The base holds no features of the golden images, or damaged ones.
    """
    golden: Any = base.info.get("golden")
    stored = golden.get(FEATURES) if isinstance(golden, dict) else None
    if not is_numbers(stored, GOLDEN, base.features.shape[1]):
        raise ModelFileError(f"{base.path}: its golden answers are damaged; copy it again")
    a = np.asarray(stored, np.float64) - base.zero_point
    b = np.asarray(golden_features(base, trusted=trusted), np.float64) - base.zero_point
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return FeatureVerification(
        pictures=GOLDEN,
        largest=int(np.ceil(np.abs(a - b).max())),
        least_cosine=float(((a * b).sum(axis=1) / np.maximum(lengths, 1e-9)).min()),
    )


def golden_answers(
    model: ModelFile, threads: int = 1, *, trusted: bool = False
) -> dict[str, list[list[float]]]:
    """Return the rounded probabilities of each output for every golden image, as in the file.

    Args:
        model: The file, or a graph that becomes one.
        threads: Threads of the runtime.
        trusted: As of an Interpreter.
    """
    interpreter = Interpreter(model, threads, trusted=trusted)
    answers: dict[str, list[list[float]]] = {name: [] for name in _sizes(model)}
    for number in range(GOLDEN):
        outputs = interpreter.run(golden_image(number, model.size))._asdict()
        for name, found in answers.items():
            found.append([round(value, DIGITS) for value in outputs[name].tolist()])
    return answers


def verify(model: ModelFile, *, trusted: bool = False) -> Verification:
    """Run the golden images and compare the outputs with those that the file holds.

    Args:
        model: The file.
        trusted: As of an Interpreter.

    Raises:
        ModelFileError: The file holds no outputs for the golden images, or damaged ones.
    """
    stored = _stored(model)
    found = golden_answers(model, trusted=trusted)
    pairs = [
        (np.asarray(stored[name][number]), np.asarray(found[name][number]))
        for name in stored
        for number in range(GOLDEN)
    ]
    return Verification(
        pictures=GOLDEN,
        largest=max(float(np.abs(a - b).max()) for a, b in pairs),
        same_top=all(int(a.argmax()) == int(b.argmax()) for a, b in pairs),
    )


def _stored(model: ModelFile) -> dict[str, list[list[float]]]:
    golden: Any = model.info.get("golden")
    if golden is None:
        raise ModelFileError(f"{model.path}: holds no golden answers; export it again to verify it")
    sizes = _sizes(model)
    fits = isinstance(golden, dict) and all(
        is_numbers(golden.get(name), GOLDEN, size) for name, size in sizes.items()
    )
    if not fits:
        raise ModelFileError(f"{model.path}: its golden answers are damaged; export it again")
    if KNOWN in sizes and is_exact(model.heads):  # former versions stored it as the kernel gave it
        pairs = [known_steps(min(1.0, max(0.0, first))) for first, _ in golden[KNOWN]]
        golden = {**golden, KNOWN: [[first, 1.0 - first] for first in pairs]}
    return {name: golden[name] for name in sizes}


def _sizes(model: ModelFile) -> dict[str, int]:
    """Return the length of each output, by name."""
    known = {} if model.known is None else {KNOWN: model.known.shape[1]}
    return {head: model.heads[head].shape[1] for head in HEADS} | known
