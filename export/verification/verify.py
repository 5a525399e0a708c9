"""The verification of a converted graph on the images of its run, before it becomes a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from lmedge.decoding import Decoding
from lmedge.evaluation.scoring import fit_category_weight
from lmedge.golden import golden_answers
from lmedge.model_file import ModelFile
from lmedge.train.calibration import Calibration
from lmedge.train.run import Run

from .comparison import FileComparison, Logits, compare_outputs, decoded_classes, run_file
from .gate import Limits, Verdict, gate
from .rejection import FittedThresholds, fit_rejection, not_learned, run_unknown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """All that is measured on a graph, and all that is fitted to its outputs.

    `comparisons` are of the validation and the test part, those that have images. `golden` holds
    the outputs for the golden images, see lmedge/golden.py.
    """

    comparisons: tuple[FileComparison, ...]
    verdict: Verdict
    decoding: Decoding
    rejection: FittedThresholds | None
    golden: Mapping[str, list[list[float]]]


def verify_graph(
    run: Run,
    model: ModelFile,
    *,
    floats: Mapping[str, Logits],
    calibration: Calibration,
    temperatures: Mapping[str, float],
    limits: Limits,
    coverage: float | None,
    unknown: Sequence[Path] = (),
) -> Findings:
    """Run a graph on the parts of its run and judge it against the float network.

    Args:
        run: The run that the graph was made of.
        model: The graph.
        floats: Logits of the float network, (N, L) and (N, C) by head, of each part to judge by.
        calibration: Temperatures and decoding of the float network.
        temperatures: Those of the graph, by head.
        limits: The loss that the gate lets pass.
        coverage: The share of known images, 0..1, that the thresholds keep; None to choose it.
        unknown: Images of anything but the landmarks.

    Raises:
        DataError: One of the unknown images cannot be read.
    """
    outputs = {part: run_file(model, run.images(part)) for part in floats}
    judging, taxonomy = outputs.get("val"), run.taxonomy
    decoding, rejection = Decoding(), None
    if judging is not None:
        decoding = Decoding(
            category_weight=fit_category_weight(judging, run.labels("val"), taxonomy)
        )
        others = run_unknown(model, not_learned(unknown, run)) if unknown else None
        right = {
            part: decoded_classes(found, taxonomy, decoding.category_weight)["landmark"]
            == run.labels(part)["landmark"]
            for part, found in outputs.items()
        }
        rejection = fit_rejection(
            taxonomy.parent_index, judging, outputs.get("test"), others, coverage, right
        )
    comparisons = {
        part: compare_outputs(
            part,
            floats[part],
            calibration.temperatures,
            found,
            temperatures,
            run.labels(part),
            taxonomy,
            (calibration.decoding.category_weight, decoding.category_weight),
        )
        for part, found in outputs.items()
    }
    return Findings(
        comparisons=tuple(comparisons.values()),
        verdict=gate(comparisons.get("val"), judging, limits),
        decoding=decoding,
        rejection=rejection,
        golden=golden_answers(model, trusted=True),
    )
