"""Photographs to features: a folder read once, one image at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..decoder_noise import counting_decoder_noise
from ..errors import DataError
from ..evaluation.folders import LabelledImage, scan
from ..evaluation.names import relative_name
from ..evaluation.unknown import list_unknown_images, unknown_folder_of
from ..exclude import (
    check_matched,
    exclude_file_of,
    leave_out,
    match_exclusions,
    read_exclusions,
)
from ..field.origin import bursts_of
from ..image import read_encoded
from ..progress import progress
from ..reading import decode_all
from ..taxonomy import counted
from .backbone import FeatureGraph, FeatureReader, Stored
from .features import LEAST, FeatureSet, feature_set

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadPhotographs:
    """The features of a folder.

    Attributes:
        found: The features.
        names: The photograph, relative to the folder, that each row of a landmark is of.
        skipped: Number of photographs that cannot be read.
    """

    found: FeatureSet
    names: Mapping[tuple[str, bytes], str]
    skipped: int


def read_photographs(
    data: Path,
    backbone: FeatureGraph,
    *,
    exclude: Path | None = None,
    unknown: Path | None = None,
    threads: int = 1,
) -> ReadPhotographs:
    """Read the photographs of a folder and the features of each.

    Photographs of one burst by origin.csv in the folder are one group, as those that are alike.

    Args:
        data: `<category>/<landmark>/`, as for training; all its parts are read.
        backbone: Computes the features.
        exclude: A list of photographs to leave out; None for exclude.txt in the folder.
        unknown: A folder of images of anything else; None for `unknown/` in the folder.
        threads: Threads of the runtime.

    Raises:
        DataError: The folder cannot be used, or a landmark has fewer than LEAST photographs.
    """
    images = _listed(data, exclude)
    folder = unknown_folder_of(data, unknown)
    others = [] if folder is None else list_unknown_images(folder)
    check_counts(Counter(image.landmark for image in images))
    labels = {image.path: image for image in images}
    read = _Reader(backbone, data, threads)
    read.all([*labels, *others], labels, _burst_names(data, images))
    if not read.rows:
        raise DataError(f"{data}: none of the {len(images)} photographs could be read")
    check_counts({name: len(read.rows.get(name, ())) for name in {i.landmark for i in images}})
    return ReadPhotographs(
        found=feature_set(
            {image.landmark: image.category for image in images},
            read.rows,
            read.unknown,
            zero=backbone.zero,
            width=backbone.width,
            bursts={name: list(known.values()) for name, known in read.bursts.items()},
        ),
        names=read.names,
        skipped=read.skipped,
    )


def check_counts(counts: Mapping[str, int]) -> None:
    """Raise DataError if a landmark has fewer than LEAST photographs."""
    few = sorted(name for name, count in counts.items() if count < LEAST)
    if few:
        others = counted(len(few) - 1, "more landmark", "more landmarks")
        more = f" (and {others})" if len(few) > 1 else ""
        found = counted(counts[few[0]], "photograph", "photographs")
        raise DataError(
            f"landmark {few[0]!r} has {found}{more}; teaching needs {LEAST} at least, and about "
            "ten are a start"
        )


def _listed(data: Path, exclude: Path | None) -> Sequence[LabelledImage]:
    images = scan(data)
    path = exclude_file_of(data, exclude)
    if path is None:
        return images
    exclusions = match_exclusions(read_exclusions(path), images, data)
    check_matched(path, exclusions)
    _log.info("%s lists %d images to leave out", path, len(exclusions.found))
    kept = leave_out(images, exclusions.found, data)
    if not kept:
        raise DataError(f"{data}: all {len(images)} images are excluded; exclude fewer")
    return kept


def _burst_names(data: Path, images: Sequence[LabelledImage]) -> Mapping[Path, str]:
    """Return the burst of each photograph that has one in origin.csv."""
    known = bursts_of(data)
    found: dict[Path, str] = {}
    for image in images if known else ():
        with contextlib.suppress(DataError):  # reported when it is decoded
            digest = hashlib.sha256(read_encoded(image.path)).hexdigest()
            if digest in known:
                found[image.path] = known[digest]
    return found


class _Reader:
    """The rows that were read so far, by landmark, and those of unknown images."""

    def __init__(self, backbone: FeatureGraph, data: Path, threads: int) -> None:
        self._reader, self._size = FeatureReader(backbone, threads), backbone.size
        self._data = data
        self.rows: dict[str, list[Stored]] = {}
        self.unknown: list[Stored] = []
        self.names: dict[tuple[str, bytes], str] = {}
        self.bursts: dict[str, dict[str, list[int]]] = {}  # places of rows, by landmark and burst
        self.skipped = 0

    def all(
        self,
        paths: Sequence[Path],
        labels: Mapping[Path, LabelledImage],
        bursts: Mapping[Path, str],
    ) -> None:
        """Read images in their order; those without labels are unknown ones."""
        with counting_decoder_noise(), progress("Reading photographs", len(paths)) as advance:
            for path, image in decode_all(paths, self._size):
                advance()
                if isinstance(image, DataError):
                    _log.warning("skipped %s", image)
                    self.skipped += 1
                    continue
                self._take(self._reader.read(image), path, labels.get(path), bursts.get(path))

    def _take(
        self, row: Stored, path: Path, image: LabelledImage | None, burst: str | None
    ) -> None:
        if image is None:
            self.unknown.append(row)
            return
        rows = self.rows.setdefault(image.landmark, [])
        rows.append(row)
        if burst is not None:
            known = self.bursts.setdefault(image.landmark, {})
            known.setdefault(burst, []).append(len(rows) - 1)
        name = relative_name(path, self._data)
        self.names.setdefault((image.landmark, row.tobytes()), name)
