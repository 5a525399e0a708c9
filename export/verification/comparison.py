"""The outputs of a file beside those of the float network, on the same images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lmedge.decoding import joint_probabilities, softmax
from lmedge.errors import RunError
from lmedge.evaluation.calibration_error import expected_calibration_error
from lmedge.evaluation.scoring import TINY, Scores, score_probabilities
from lmedge.image import RgbImage
from lmedge.interpreter import Interpreter
from lmedge.model_file import HEADS, KNOWN, ModelFile
from lmedge.progress import progress
from lmedge.taxonomy import Taxonomy
from lmedge.train.run import Run

# Another machine sums in another order: a few predictions between two classes may change.
FLIPPED, FLIPPED_SHARE = 1, 0.002
Probabilities = Mapping[str, npt.NDArray[np.float32]]
Logits = Mapping[str, npt.NDArray[np.float32]]
Labels = npt.NDArray[np.int64]
Truth = Mapping[str, npt.NDArray[np.int64]]


class SizedImages(Protocol):
    """Images of one size, (S, S, 3) uint8 RGB each, in memory or read when they are asked for."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __iter__(self) -> Iterator[RgbImage]:
        """Iterate over the images."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TemperatureEffect:
    """Expected calibration error of one head of the file, 0..1: without temperature, and with."""

    before: float
    after: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileComparison:
    """The float network and the file on the same images.

    `agreement` is the share, 0..1, of equal top classes. `swapped` is true if each of two heads of
    one size is far closer to float's other head. `predictions` holds by head the true class, that
    of float and that of the file, decoded together, (N,) each. `calibration` is that of the file,
    by head. `correlation` is Pearson's, of both logits less their mean over the classes. `losses`
    are -log p(true landmark) of the file, decoded together, (N,).
    """

    part: str
    float_scores: Scores
    file_scores: Scores
    agreement: Mapping[str, float]
    swapped: bool
    predictions: Mapping[str, tuple[Labels, Labels, Labels]]
    calibration: Mapping[str, TemperatureEffect]
    correlation: Mapping[str, float]
    losses: npt.NDArray[np.float64]

    def fall(self, head: str) -> float:
        """Return the macro F1 that the file lost, in 0..1; below zero if it gained."""
        before, after = self.float_scores[head], self.file_scores[head]
        return float(before.macro_f1 - after.macro_f1)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return {
            "part": self.part,
            "float": self.float_scores.as_dict(),
            "file": self.file_scores.as_dict(),
            "agreement": dict(self.agreement),
            "logit_correlation": dict(self.correlation),
            "calibration": {
                head: dataclasses.asdict(one) for head, one in self.calibration.items()
            },
        }


def check_reference(run: Run, logits: Logits) -> None:
    """Compare the float network with the figures that training wrote down for it.

    Args:
        run: The run, with the recipe that it was trained with.
        logits: Of its float network on the validation part, (N, L) and (N, C) by head.

    Raises:
        RunError: The network is right on another number of images than metrics.json has. Some
            part of the run folder is not that of its training, and no file can be judged by it.
    """
    truth, scores = run.labels("val"), run.metrics().get("val") or {}
    for head in HEADS if scores else ():
        try:
            alone = scores[f"{head}_marginal"]
            count, right = int(alone["n"]), round(alone["accuracy"] * alone["n"])
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            path = run.folder / "metrics.json"
            raise RunError(f"{path} is damaged ({error}); train anew") from error
        found = int((logits[head].argmax(axis=1) == truth[head]).sum())
        if count == len(truth[head]) and abs(found - right) > FLIPPED + FLIPPED_SHARE * count:
            raise RunError(
                f"{run.folder}: the {head} head is right on {found} of {count} validation images, "
                f"and metrics.json has {right}; put back the recipe.toml and the weights of the "
                "training, or train anew"
            )


def check_learned(run: Run, own: Logits, honest: Logits, truth: Truth) -> None:
    """Compare a cross-fitted network with its fold networks, on images that it has learned.

    Args:
        run: The run, with the recipe that it was trained with.
        own: Logits of its float network, (N, L) and (N, C) by head.
        honest: Out-of-fold logits for the same images.
        truth: True classes, (N,), by head.

    Raises:
        RunError: The network is right on fewer images than networks that had not seen them. Some
            part of the run folder is not that of its training, and no file can be judged by it.
    """
    for head in HEADS:
        count = len(truth[head])
        found, others = (
            int((logits[head].argmax(axis=1) == truth[head]).sum()) for logits in (own, honest)
        )
        if found < others - FLIPPED - FLIPPED_SHARE * count:
            raise RunError(
                f"{run.folder}: the {head} head is right on {found} of {count} images that it has "
                f"learned, and the fold networks on {others} that they had not; put back the "
                "recipe.toml and the weights of the training, or train anew"
            )


def run_file(model: ModelFile, images: SizedImages) -> dict[str, Any]:
    """Run the exact file on (N, S, S, 3) uint8 RGB images.

    Returns:
        Probabilities by head, (N, L) and (N, C); KNOWN, (N, 2), as well if the file has that
        output.
    """
    interpreter = Interpreter(model, trusted=True)
    outputs = []
    with progress("Running the file", len(images)) as advance:
        for image in images:
            outputs.append(interpreter.run(image)._asdict())
            advance()
    names = HEADS if model.known is None else (*HEADS, KNOWN)
    return {name: np.stack([found[name] for found in outputs]) for name in names}


def compare_outputs(
    part: str,
    logits: Logits,
    temperatures: Mapping[str, float],
    file: Probabilities,
    file_temperatures: Mapping[str, float],
    truth: Truth,
    taxonomy: Taxonomy,
    weights: tuple[float, float] = (1.0, 1.0),
) -> FileComparison:
    """Score the float network's logits and the file's probabilities on the same images.

    Args:
        part: The name of the images.
        logits: Those of the float network, (N, L) and (N, C), by head.
        temperatures: Those fitted for the float network, by head.
        file: Probabilities of the file, (N, L) and (N, C), by head.
        file_temperatures: Those inside the file, by head.
        truth: True classes, (N,), by head.
        taxonomy: The labels.
        weights: Of the category head in the joint decoding of the float network and of the file.
    """
    floats = {head: softmax(logits[head], temperatures[head]) for head in HEADS}
    agreement = {
        head: float((floats[head].argmax(axis=1) == file[head].argmax(axis=1)).mean())
        for head in HEADS
    }
    before, after = (
        decoded_classes(found, taxonomy, weight)
        for found, weight in zip((floats, file), weights, strict=True)
    )
    joint = joint_probabilities(
        file["landmark"], file["category"], taxonomy.parent_index, weights[1]
    )
    true = joint[np.arange(len(joint)), truth["landmark"]].astype(np.float64)
    given = {head: file_logits(file[head], file_temperatures[head]) for head in HEADS}
    return FileComparison(
        part=part,
        float_scores=score_probabilities(floats, truth, taxonomy, weights[0]),
        file_scores=score_probabilities(file, truth, taxonomy, weights[1]),
        agreement=agreement,
        swapped=heads_swapped(floats, file),
        predictions={head: (truth[head], before[head], after[head]) for head in HEADS},
        calibration={
            head: TemperatureEffect(
                before=expected_calibration_error(softmax(given[head]), truth[head]),
                after=expected_calibration_error(file[head], truth[head]),
            )
            for head in HEADS
        },
        correlation={head: _correlation(logits[head], given[head]) for head in HEADS},
        losses=-np.log(np.maximum(true, TINY)),
    )


def file_logits(
    probabilities: npt.NDArray[np.float32], temperature: float
) -> npt.NDArray[np.float32]:
    """Return the logits behind probabilities, up to a constant of each image."""
    logarithms = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return np.asarray(temperature * logarithms, np.float32)


def _correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    a, b = ((x - x.mean(axis=1, keepdims=True)).ravel() for x in (first, second))
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 1.0


def heads_swapped(floats: Probabilities, file: Probabilities) -> bool:
    """Return true if each of two heads of one size is far closer to float's other head."""
    first, second = HEADS
    if file[first].shape != file[second].shape:
        return False

    def distance(head: str, other: str) -> float:
        return float(np.abs(file[head] - floats[other]).mean())

    return all(
        distance(head, other) < 0.5 * distance(head, head)
        for head, other in ((first, second), (second, first))
    )


def decoded_classes(
    probabilities: Probabilities, taxonomy: Taxonomy, category_weight: float = 1.0
) -> dict[str, Labels]:
    """Return the top class of each head, decoded together, (N,) indices by head."""
    parents = taxonomy.parent_index
    both = probabilities["landmark"], probabilities["category"]
    together = joint_probabilities(*both, parents, category_weight)
    landmark = together.argmax(axis=1)
    return {"landmark": landmark, "category": parents[landmark].astype(np.int64)}
