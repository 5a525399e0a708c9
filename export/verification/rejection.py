"""Thresholds fitted on the file's own outputs: when to say "not a landmark"."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.evaluation.unknown import auroc, threshold_for
from lmedge.image import prepare, read_image
from lmedge.model_file import HEADS, KNOWN, ModelFile
from lmedge.rejection import AGREEMENT, agreement

from .comparison import Probabilities, run_file

DIGITS = 6  # of a threshold; rounded down, so that the image it comes from still passes
CHUNK = 256  # unknown images in memory at once
LEAST_UNKNOWN = 2  # one to fit with, one to test


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedThresholds:
    """Thresholds, and how they do on images that did not choose them.

    `threshold` is of `score`: KNOWN, the probability of the file's third output, or AGREEMENT of
    both heads where there is none. `heads` is by output, for clients that know only that: of each
    head's largest probability, and of KNOWN. All in 0..1. `known` and `strangers` count the
    images that chose them, `coverage` is the share of known images they were to keep. `kept` is
    the share of the test part that passes; `auroc` and `false_accepts` (a share) are of the test
    part against the other half of the strangers, None without.
    """

    threshold: float
    heads: Mapping[str, float]
    coverage: float
    known: int
    strangers: int
    kept: float | None = None
    auroc: float | None = None
    false_accepts: float | None = None
    score: str = AGREEMENT

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnknownOutputs:
    """What the file says of photographs of anything else, by head: to fit with, and to test."""

    fit: Probabilities
    test: Probabilities


def run_unknown(model: ModelFile, paths: Sequence[Path]) -> UnknownOutputs:
    """Run the file on strangers. Every second image by name fits, the others test.

    Raises DataError, naming the image, for one that cannot be read.
    """
    parts = []
    for start in range(0, len(paths), CHUNK):
        read = [read_image(path, model.size) for path in paths[start : start + CHUNK]]
        images = np.stack([prepare(image, model.size, model.resize) for image in read])
        parts.append(run_file(model, images))
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return UnknownOutputs(
        fit={name: values[0::2] for name, values in found.items()},
        test={name: values[1::2] for name, values in found.items()},
    )


def fit_rejection(
    parents: npt.NDArray[np.intp],
    known: Probabilities,
    test: Probabilities | None,
    strangers: UnknownOutputs | None,
    coverage: float,
) -> FittedThresholds:
    """Fit on the validation part's probabilities, (N, L) and (N, C), and measure on the test part.

    With KNOWN, (N, 2), of a file that has it. parents: the category of each landmark, (L,).
    """

    def scored(found: Probabilities) -> npt.NDArray[np.floating]:
        if KNOWN in found:
            return found[KNOWN][:, 0]
        return agreement(found["landmark"], found["category"], parents)

    threshold = _floor(
        threshold_for(scored(known), coverage, None if strangers is None else scored(strangers.fit))
    )
    passed = None if test is None else scored(test)
    others = None if strangers is None else scored(strangers.test)
    heads = {head: _floor(threshold_for(known[head].max(axis=1), coverage)) for head in HEADS}
    return FittedThresholds(
        threshold=threshold,
        heads={**heads, KNOWN: threshold} if KNOWN in known else heads,
        coverage=coverage,
        known=len(known["landmark"]),
        strangers=0 if strangers is None else len(strangers.fit["landmark"]),
        kept=None if passed is None else float((passed >= threshold).mean()),
        auroc=None if passed is None or others is None else auroc(passed, others),
        false_accepts=None if others is None else float((others >= threshold).mean()),
        score=KNOWN if KNOWN in known else AGREEMENT,
    )


def _floor(value: float) -> float:
    return float(math.floor(value * 10**DIGITS) / 10**DIGITS)
