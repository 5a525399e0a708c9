"""What is said of an exported file: the card inside it, and the report beside it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmedge import __version__
from lmedge.image import PIXEL_MEAN, PIXEL_SCALE

from ..train.run import Run, versions
from .gate import Verdict
from .metadata import Card
from .verify import Comparison

REPORT_SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an export produced: the file's bytes and what is known of them."""

    data: bytes
    comparisons: tuple[Comparison, ...]
    verdict: Verdict
    seconds: Mapping[str, float]
    temperatures: Mapping[str, float]


def describe(
    run: Run,
    temperatures: Mapping[str, float],
    path: Path,
    comparisons: Sequence[Comparison] = (),
    verdict: Verdict | None = None,
    golden: Mapping[str, Any] | None = None,
) -> Card:
    """Return the card of a run's int8 file; docs/formats.md describes it field by field."""
    return Card(
        name=path.stem,
        description="landmarks and their categories, both heads; made by lmedge",
        version=__version__,
        taxonomy=run.taxonomy,
        size=run.recipe.data.image_size,
        info={
            "format": "int8",
            "preprocessing": {
                "size": run.recipe.data.image_size,
                "resize": run.recipe.data.resize,
                "color": "RGB",
                "mean": PIXEL_MEAN,
                "scale": PIXEL_SCALE,
            },
            "temperatures": dict(temperatures),
            "smoothing": dataclasses.asdict(run.recipe.camera),
            "metrics": {
                comparison.part: {
                    "float": comparison.float_scores.brief(),
                    "int8": comparison.file_scores.brief(),
                    "agreement": dict(comparison.agreement),
                }
                for comparison in comparisons
            },
            "gate": None if verdict is None else dataclasses.asdict(verdict),
            "provenance": _provenance(run),
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
        "format": "int8",
        "gate": {**dataclasses.asdict(outcome.verdict), "passed": outcome.verdict.passed},
        "temperatures": dict(outcome.temperatures),
        "parts": [comparison.as_dict() for comparison in outcome.comparisons],
        "seconds": dict(outcome.seconds),
        "provenance": _provenance(run),
    }
