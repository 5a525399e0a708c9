"""A file as the base of a lesson."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..base_file import BaseFile, parse_any, read_base
from ..errors import ModelFileError
from ..evaluation import CROSS_VALIDATED
from ..model_file import ModelFile, read_bytes
from .backbone import FeatureGraph
from .features import FeatureSet
from .memory import recall

STRATEGY = "closed form"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    """What a lesson begins with: a backbone, and what its file remembers.

    Attributes:
        path: The file.
        sha256: The digest of the file that was not taught itself; of this one if it was not.
        backbone: Its backbone.
        format: The format of the file, as in lmedge.json.
        smoothing: The steadiness of its labels on a stream, None if it has none of its own.
        learned: The landmarks that the backbone was trained on.
        remembered: The photographs' features inside, None if there are none.
        trained_f1: Landmark macro F1 of the file's own heads if they were trained, by its card.
    """

    path: Path
    sha256: str
    backbone: FeatureGraph
    format: str
    smoothing: Mapping[str, Any] | None
    learned: Sequence[str]
    remembered: FeatureSet | None
    trained_f1: float | None = None

    @classmethod
    def open(cls, path: Path | None) -> Base:
        """Read a file, run it in a child process, and cut its backbone off.

        path: A file with heads or a base; None is the base that comes with lmedge.

        Raises:
            ModelFileError: The file cannot be used as a base.
        """
        return cls.of(read_base() if path is None else parse_any(read_bytes(path), path))

    @classmethod
    def of(cls, model: ModelFile | BaseFile) -> Base:
        """Do as `open` with a file that was read. Raises ModelFileError likewise."""
        own = () if isinstance(model, BaseFile) else model.taxonomy.landmarks
        info = model.info
        provenance = info.get("provenance")
        before = provenance if isinstance(provenance, dict) else {}
        inherited, learned = before.get("base_sha256"), before.get("base_landmarks")
        smoothing = info.get("smoothing")
        return cls(
            path=model.path,
            sha256=inherited if isinstance(inherited, str) else model.sha256,
            backbone=FeatureGraph.of(model),
            format=str(info.get("format", "int8")),
            smoothing=smoothing if isinstance(smoothing, dict) else None,
            learned=tuple(map(str, learned)) if isinstance(learned, list) else own,
            remembered=None if isinstance(model, BaseFile) else recall(model),
            trained_f1=None if before.get("strategy") == STRATEGY else trained_f1(info),
        )

    def recalled(self) -> FeatureSet:
        """Return what the file remembers. Raises ModelFileError if that is nothing."""
        if self.remembered is None:
            raise ModelFileError(
                f"{self.path}: holds no features of photographs to add to or to change; teach it "
                "from the photographs of all landmarks, without --add, --remove and --rename"
            )
        return self.remembered


def trained_f1(info: Mapping[str, Any]) -> float | None:
    """Return landmark macro F1 of a file by its card, on images that it had not learned.

    None if the card has no such figure.
    """
    metrics = info.get("metrics")
    for part in ("test", CROSS_VALIDATED, "val"):
        try:
            return float(metrics[part]["file"]["landmark"]["macro_f1"])  # type: ignore[index]
        except (LookupError, TypeError, ValueError):
            continue
    return None
