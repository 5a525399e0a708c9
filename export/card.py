"""The card of an exported file: all that stands in it beside the graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lmedge import __version__
from lmedge.image import PIXEL_MEAN, PIXEL_SCALE
from lmedge.metadata import Card
from lmedge.teach.memory import DESCRIPTION
from lmedge.train.description import versions
from lmedge.train.run import Run

from .formats import Graph
from .verification.comparison import FileComparison
from .verification.verify import Findings


def describe_file(
    run: Run,
    graph: Graph,
    findings: Findings,
    *,
    name: str,
    io: str,
    memory: tuple[Mapping[str, Any], Mapping[str, bytes]] = ({}, {}),
) -> Card:
    """Return the card of a run's file; docs/formats.md describes it field by field.

    memory: What the file remembers of its photographs: entries of lmedge.json, and files.
    """
    rejection = findings.rejection
    return Card(
        name=name,
        description="landmarks and their categories, both heads; made by lmedge",
        version=__version__,
        taxonomy=run.taxonomy,
        size=run.recipe.data.input_size,
        score_thresholds=None if rejection is None or io == "int8" else rejection.heads,
        info={
            "format": graph.format,
            "io": io,
            "preprocessing": {
                "size": run.recipe.data.input_size,
                "resize": run.recipe.data.resize,
                "color": "RGB",
                "mean": PIXEL_MEAN,
                "scale": PIXEL_SCALE,
            },
            "temperatures": dict(graph.temperatures),
            "decoding": dataclasses.asdict(findings.decoding),
            "smoothing": dataclasses.asdict(run.recipe.camera),
            "metrics": {one.part: _metrics(one) for one in findings.comparisons},
            "gate": dataclasses.asdict(findings.verdict),
            "provenance": provenance(run),
            **({} if rejection is None else {"rejection": rejection.as_dict()}),
            "golden": dict(findings.golden),
            **memory[0],
        },
        files={one: (content, DESCRIPTION) for one, content in memory[1].items()},
    )


def _metrics(comparison: FileComparison) -> dict[str, Any]:
    return {
        "float": comparison.float_scores.brief(),
        "file": comparison.file_scores.brief(),
        "agreement": dict(comparison.agreement),
        "calibration_error": {
            head: dataclasses.asdict(one) for head, one in comparison.calibration.items()
        },
    }


def provenance(run: Run) -> dict[str, Any]:
    """Return the data, the settings and the versions that a file comes from."""
    return {
        "recipe": run.recipe.as_dict(),
        "strategy": run.strategy,
        "seed": run.seed,
        "split_sha256": run.split.digest(),
        "pictures": {part: len(run.entries(part)) for part in ("train", "val", "test")},
        "networks": 0 if run.plan is None else run.plan.networks,
        "trained_with": dict(run.versions),
        "exported_with": versions(),
    }
