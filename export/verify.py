"""The file against the float network, and the gate: what is worse than promised is not shipped."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.decoding import softmax
from lmedge.interpreter import Interpreter
from lmedge.model_file import HEADS, ModelFile
from lmedge.progress import progress
from lmedge.scoring import Scores, score_probabilities
from lmedge.taxonomy import Taxonomy

Probabilities = Mapping[str, npt.NDArray[np.float32]]
ROUNDING = 1e-9  # 1.00 - 0.99 is more than 0.01 in binary
Truth = Mapping[str, npt.NDArray[np.int64]]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Float and file on the same pictures. `agreement` is the share, 0..1, of equal top classes."""

    part: str
    float_scores: Scores
    file_scores: Scores
    agreement: Mapping[str, float]

    def fall(self, head: str) -> float:
        """Macro F1 lost by the file, in 0..1; below zero where it gained."""
        before, after = getattr(self.float_scores, head), getattr(self.file_scores, head)
        return float(before.macro_f1 - after.macro_f1)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return {
            "part": self.part,
            "float": self.float_scores.as_dict(),
            "file": self.file_scores.as_dict(),
            "agreement": dict(self.agreement),
        }


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the gate found; `problems` is empty when the file may be shipped."""

    tolerance: float
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def run_file(model: ModelFile, pictures: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Run the exact file on (N, S, S, 3) uint8 RGB: probabilities by head, (N, L) and (N, C)."""
    interpreter = Interpreter(model)
    outputs = []
    with progress("Running the file", len(pictures)) as advance:
        for picture in pictures:
            outputs.append(interpreter.run(picture))
            advance()
    return {head: np.stack([pair[n] for pair in outputs]) for n, head in enumerate(HEADS)}


def compare(
    part: str,
    logits: Mapping[str, npt.NDArray[np.float32]],
    temperatures: Mapping[str, float],
    file: Probabilities,
    truth: Truth,
    taxonomy: Taxonomy,
) -> Comparison:
    """Score the float network's logits and the file's probabilities on the same pictures."""
    floats = {head: softmax(logits[head], temperatures[head]) for head in HEADS}
    agreement = {
        head: float((floats[head].argmax(axis=1) == file[head].argmax(axis=1)).mean())
        for head in HEADS
    }
    return Comparison(
        part,
        score_probabilities(floats, truth, taxonomy),
        score_probabilities(file, truth, taxonomy),
        agreement,
    )


def gate(comparison: Comparison | None, file: Probabilities | None, tolerance: float) -> Verdict:
    """Judge the file: `tolerance` is the macro F1 it may lose in either head, in 0..1."""
    problems = []
    if comparison is None or file is None:
        return Verdict(tolerance, ("there is no validation part to judge the file by",))
    for head in HEADS:
        values = file[head]
        if not np.isfinite(values).all():
            problems.append(f"the {head} output is not finite")
        elif min(values.shape) > 1 and np.ptp(values, axis=0).max() == 0:
            problems.append(f"the {head} output is the same for every picture")
        fall = comparison.fall(head)
        if fall > tolerance + ROUNDING:
            problems.append(
                f"{head} macro F1 fell by {100 * fall:.1f} points "
                f"({getattr(comparison.float_scores, head).macro_f1:.3f} -> "
                f"{getattr(comparison.file_scores, head).macro_f1:.3f}), "
                f"more than {100 * tolerance:g}"
            )
    return Verdict(tolerance, tuple(problems))
