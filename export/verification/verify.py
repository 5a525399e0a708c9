"""The verification of a converted graph on the images of its run, before it becomes a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lmedge.decoding import Decoding, softmax
from lmedge.errors import GateError
from lmedge.evaluation.scoring import fit_category_weight
from lmedge.evaluation.thresholds import FittedThresholds, fit_rejection
from lmedge.golden import golden_answers
from lmedge.model_file import ModelFile
from lmedge.train.calibration import Calibration
from lmedge.train.run import Run

from .comparison import (
    FileComparison,
    Logits,
    Probabilities,
    Truth,
    compare_outputs,
    decoded_classes,
    heads_swapped,
    run_file,
)
from .gate import Limits, Verdict, gate
from .judge import Judge, judged_images
from .rejection import not_learned, run_unknown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """All that is measured on a graph, and all that is fitted to its outputs.

    `comparisons` are of the judge's images and of the test part, if there are any. `golden` holds
    the outputs for the golden images, see lmedge/golden.py.
    """

    comparisons: tuple[FileComparison, ...]
    verdict: Verdict
    decoding: Decoding
    rejection: FittedThresholds | None
    golden: Mapping[str, list[list[float]]]


def _check_finite(model: ModelFile, outputs: Probabilities) -> None:
    """Raise GateError for outputs that are not finite: nothing can be fitted to them."""
    for name, values in outputs.items():
        bad = int((~np.isfinite(values).all(axis=1)).sum())
        if bad:
            raise GateError(
                f"{model.path} was not written: its {name} output is not finite for {bad} of "
                f"{len(values)} images; train anew, or leave the format out"
            )


def verify_graph(
    run: Run,
    model: ModelFile,
    *,
    judge: Judge,
    test: Logits | None,
    calibration: Calibration,
    temperatures: Mapping[str, float],
    limits: Limits,
    coverage: float | None,
    unknown: Sequence[Path] = (),
) -> Findings:
    """Run a graph on the images of its run and judge it against the float network.

    Args:
        run: The run that the graph was made of.
        model: The graph.
        judge: The images to judge by, and the answers of the float network for them.
        test: Logits of the float network for the test part, if there is one.
        calibration: Temperatures and decoding of the float network.
        temperatures: Those of the graph, by head.
        limits: The loss that the gate lets pass.
        coverage: The share of known images, 0..1, that the thresholds keep; None to choose it.
        unknown: Images of anything but the landmarks.

    Raises:
        DataError: One of the unknown images cannot be read.
        GateError: An output of the graph is not finite.
    """
    taxonomy = run.taxonomy
    tested = None if test is None else run_file(model, run.images("test"))
    decoding, rejection, verdict = Decoding(), None, gate(None, None, limits)

    def compared(part: str, logits: Logits, found: Probabilities, truth: Truth) -> FileComparison:
        weights = (calibration.decoding.category_weight, decoding.category_weight)
        own = calibration.temperatures
        return compare_outputs(part, logits, own, found, temperatures, truth, taxonomy, weights)

    comparisons = []
    if judge.judges:
        outputs = run_file(model, judged_images(run, judge.places))
        _check_finite(model, outputs)
        honest = judge.shifted_file(outputs, temperatures)
        decoding = Decoding(category_weight=fit_category_weight(honest, judge.truth, taxonomy))
        others = run_unknown(model, not_learned(unknown, run)) if unknown else None
        known = judge.with_known(honest, taxonomy.parent_index)
        measured = {"val": (known, judge.truth)}
        if tested is not None:
            measured["test"] = (tested, run.labels("test"))
        right = {
            part: decoded_classes(found, taxonomy, decoding.category_weight)["landmark"]
            == truth["landmark"]
            for part, (found, truth) in measured.items()
        }
        rejection = fit_rejection(taxonomy.parent_index, known, tested, others, coverage, right)
        judged = compared(judge.part, judge.honest, honest, judge.truth)
        if judge.own is not None:  # of the outputs themselves: the shifted are of two networks
            floats = {head: softmax(values) for head, values in judge.own.items()}
            judged = dataclasses.replace(judged, swapped=heads_swapped(floats, outputs))
        verdict = gate(judged, outputs, limits)
        comparisons.append(judged)
    if test is not None and tested is not None:
        comparisons.append(compared("test", test, tested, run.labels("test")))
    return Findings(
        comparisons=tuple(comparisons),
        verdict=verdict,
        decoding=decoding,
        rejection=rejection,
        golden=golden_answers(model, trusted=True),
    )
