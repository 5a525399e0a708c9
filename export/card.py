"""What is said of an exported file: the card inside it, and the report beside it."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmedge import __version__
from lmedge.decoding import Decoding
from lmedge.image import PIXEL_MEAN, PIXEL_SCALE
from lmedge.model_file import parse_model
from lmedge.train.run import Run, versions

from .formats import Graph
from .metadata import Card
from .quantization.explain import Noise
from .verification.gate import Verdict
from .verification.rejection import FittedThresholds
from .verification.verify import FileComparison

REPORT_SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an export produced: the file's bytes and what is known of them."""

    data: bytes
    comparisons: tuple[FileComparison, ...]
    verdict: Verdict
    seconds: Mapping[str, float]
    temperatures: Mapping[str, float]
    format: str = "int8"
    rejection: FittedThresholds | None = None
    decoding: Decoding = dataclasses.field(default_factory=Decoding)
    noise: tuple[Noise, ...] = ()

    def operators(self) -> dict[str, int]:
        """Return how many operators of the file give a result of each dtype, the most first."""
        counts: collections.Counter[str] = collections.Counter()
        for (_, dtype), count in parse_model(self.data, Path(self.format)).operators.items():
            counts[dtype] += count
        return dict(counts.most_common())


def describe(
    run: Run,
    graph: Graph,
    path: Path,
    io: str,
    outcome: Outcome | None = None,
    golden: Mapping[str, Any] | None = None,
) -> Card:
    """Return the card of a run's file; docs/formats.md describes it field by field."""
    rejection = None if outcome is None else outcome.rejection
    return Card(
        name=path.stem,
        description="landmarks and their categories, both heads; made by lmedge",
        version=__version__,
        taxonomy=run.taxonomy,
        size=run.recipe.data.image_size,
        score_thresholds=None if rejection is None or io == "int8" else rejection.heads,
        info={
            "format": graph.format,
            "io": io,
            "preprocessing": {
                "size": run.recipe.data.image_size,
                "resize": run.recipe.data.resize,
                "color": "RGB",
                "mean": PIXEL_MEAN,
                "scale": PIXEL_SCALE,
            },
            "temperatures": dict(graph.temperatures),
            **({} if outcome is None else {"decoding": dataclasses.asdict(outcome.decoding)}),
            "smoothing": dataclasses.asdict(run.recipe.camera),
            "metrics": {
                comparison.part: {
                    "float": comparison.float_scores.brief(),
                    "file": comparison.file_scores.brief(),
                    "agreement": dict(comparison.agreement),
                    "calibration_error": {
                        head: dataclasses.asdict(one)
                        for head, one in comparison.calibration.items()
                    },
                }
                for comparison in (() if outcome is None else outcome.comparisons)
            },
            "gate": None if outcome is None else dataclasses.asdict(outcome.verdict),
            "provenance": _provenance(run),
            **({} if rejection is None else {"rejection": rejection.as_dict()}),
            **({} if golden is None else {"golden": dict(golden)}),
        },
    )


def _provenance(run: Run) -> dict[str, Any]:
    return {
        "recipe": run.recipe.as_dict(),
        "strategy": run.strategy,
        "seed": run.seed,
        "split_sha256": run.split.digest(),
        "pictures": {part: len(run.entries(part)) for part in ("train", "val", "test")},
        **({} if run.refit_of is None else {"refit_of": dict(run.refit_of)}),
        "trained_with": dict(run.versions),
        "exported_with": versions(),
    }


def report(run: Run, path: Path, outcome: Outcome, *, written: bool) -> dict[str, Any]:
    """Return the export report, plain values for JSON."""
    return {
        "schema": REPORT_SCHEMA,
        "file": path.name,
        "written": written,
        "bytes": len(outcome.data),
        "sha256": hashlib.sha256(outcome.data).hexdigest(),
        "format": outcome.format,
        "gate": {**dataclasses.asdict(outcome.verdict), "passed": outcome.verdict.passed},
        "temperatures": dict(outcome.temperatures),
        "decoding": dataclasses.asdict(outcome.decoding),
        "rejection": outcome.rejection and outcome.rejection.as_dict(),
        "operators": outcome.operators(),
        "parts": [comparison.as_dict() for comparison in outcome.comparisons],
        "seconds": dict(outcome.seconds),
        "provenance": _provenance(run),
    }
