"""The features of the photographs that a run has learned, for later lessons of `lmedge teach`."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmedge.errors import ModelFileError
from lmedge.field.origin import bursts_of
from lmedge.image import Resize
from lmedge.teach.backbone import FeatureGraph, FeatureReader, Stored, cut
from lmedge.teach.features import feature_set
from lmedge.teach.memory import TAUGHT, remembered, storable
from lmedge.train.run import Run

LEARNED = ("train", "val")  # parts; the photographs of `test` stay unknown to any file


def learned_features(
    run: Run, graph: bytes, *, forget: bool
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return entries of lmedge.json for what a file remembers, and the associated files.

    The features are those that `lmedge teach` would read from the same photographs, with the graph
    as its base. A graph without pooled features, or with int8 pixels, remembers nothing.
    """
    try:
        backbone = FeatureGraph.of_graph(cut(graph), Resize(run.recipe.data.resize))
    except ModelFileError:
        return {}, {}
    reader, known = FeatureReader(backbone), bursts_of(Path(run.data))
    rows: Mapping[str, list[Stored]] = collections.defaultdict(list)
    bursts: Mapping[str, dict[str, list[int]]] = collections.defaultdict(dict)
    for part in LEARNED:
        for entry, image in zip(run.entries(part), run.images(part), strict=True):
            name = entry.image.landmark
            if entry.sha256 in known:
                bursts[name].setdefault(known[entry.sha256], []).append(len(rows[name]))
            rows[name].append(reader.read_prepared(image))
    unknown = [reader.read_prepared(image) for image in run.unknown_images()]
    found = feature_set(
        run.taxonomy.hierarchy(),
        rows,
        unknown,
        zero=backbone.zero,
        width=backbone.width,
        bursts={name: list(one.values()) for name, one in bursts.items()},
    )
    taught, files = remembered(found if forget else storable(found), forget=forget)
    return {TAUGHT: taught}, files
