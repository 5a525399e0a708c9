"""Labelled folders of images: listing, checking, matching with the labels of a network.

`<category>/<landmark>/*.jpg`, or `taxonomy.csv` (landmark,category) beside flat `<landmark>/`
folders. Either may stand inside `train/`, `val/` (or `valid/`, `validation/`) and `test/`. The
folder `unknown/` beside them is no category and no landmark. Images are listed, not decoded.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import DataError
from ..progress import progress
from ..taxonomy import Taxonomy, counted, label_problem
from ..text_files import nfc
from .layout import (
    PART_NAMES,
    TAXONOMY_FILE,
    UNKNOWN_FOLDER,
    categories_of,
    part_folder,
    parts,
    unmatched_taxonomy_lines,
)
from .listing import LeftOut, list_folder, list_images, walk

LAYOUT = (
    "photographs belong in <category>/<landmark>/*.jpg (or .png, .heic and so on), or in flat "
    f"<landmark>/ folders beside a {TAXONOMY_FILE} with the columns landmark,category"
)

__all__ = [
    "LAYOUT",
    "TAXONOMY_FILE",
    "LabelledImage",
    "UnknownLandmark",
    "list_images",
    "part_folder",
    "parts",
    "scan",
    "split_known",
    "unmatched_taxonomy_lines",
]
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image file and its two labels, in Unicode NFC on every file system."""

    path: Path
    landmark: str
    category: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnknownLandmark:
    """A landmark of the data that is not among the labels, and its number of images."""

    landmark: str
    pictures: int


def scan(
    data: str | os.PathLike[str],
    part: str | None = None,
    *,
    check_labels: bool = True,
    left: LeftOut | None = None,
) -> list[LabelledImage]:
    """List the labelled images of a folder, always in the same order.

    Suffixes may be in any case. Hidden files and folders are ignored, symbolic links are followed.
    UNKNOWN_FOLDER in `data` is not read.

    Args:
        data: The folder, in one of the layouts above.
        part: One of `parts(data)`; None means all of them, or the plain layout.
        check_labels: Refuse names that cannot be labels, and a landmark that stands under two
            categories.
        left: Takes the files and folders that are not read; by default they are logged.

    Raises:
        DataError: The folder has another layout, or its labels contradict each other. The message
            names the folder or file.
    """
    data = Path(data)
    _check_folder(data)
    collected = LeftOut() if left is None else left
    images: list[LabelledImage] = []
    with progress("Listing images", None) as advance:
        for root in _roots(data, part, collected):
            for image in _Scan(data, root, collected).images():
                images.append(image)
                advance()
    if left is None:
        collected.report()
    if not images:
        where = data if part is None else part_folder(data, part)
        raise DataError(f"{where}: no images found; {LAYOUT}")
    if part in {None, "train"}:  # once for all parts
        for message in unmatched_taxonomy_lines(data):
            _log.warning("%s", message)
    if check_labels:
        _check_names(images)
        _check_one_category_each(images)
    return images


def _roots(data: Path, part: str | None, left: LeftOut) -> list[Path]:
    found = parts(data)
    if part is not None and part not in found:
        what = f"only {', '.join(found)}" if found else "no train, val or test folder"
        raise DataError(f"{data}: has no part {part!r}, {what}; add {data / part} or leave it out")
    if not found:
        return [data]
    folders = [part_folder(data, name) for name in found]
    if part in {None, "train"}:  # once for all parts
        for folder in list_folder(data, left).folders:
            if folder in folders or _label(folder) == UNKNOWN_FOLDER:
                continue
            if not any(walk(folder, set(), LeftOut())):
                continue
            if folder.name in PART_NAMES["val"]:
                raise DataError(
                    f"{folder}: a second validation part beside {part_folder(data, 'val')}; keep "
                    "one of them"
                )
            left.add(folder, "beside train/ only val/ (or valid/, validation/) and test/ are read")
    return folders if part is None else [part_folder(data, part)]


def _check_folder(data: Path) -> None:
    if not data.exists():
        raise DataError(f"{data}: no such folder; check the name")
    if not data.is_dir():
        raise DataError(f"{data}: a file, not a folder; pass the folder that holds the photographs")
    if not any(data.iterdir()):
        raise DataError(f"{data}: an empty folder; {LAYOUT}")


class _Scan:
    """The scan of one part, or of the whole, in one of the two layouts."""

    def __init__(self, data: Path, root: Path, left: LeftOut) -> None:
        self._data, self._root, self._left = data, root, left
        self._categories = categories_of(data, root)
        self._above = {root.resolve()}

    def images(self) -> Iterator[LabelledImage]:
        """Yield the labelled images."""
        if self._categories is None:
            for category in self._labelled():
                for landmark in self._folders(category):
                    yield from self._leaf(landmark, _label(landmark), _label(category))
            return
        for landmark in self._labelled():
            name = _label(landmark)
            if name not in self._categories:
                raise DataError(f"{landmark}: not listed in {TAXONOMY_FILE}; add a line for it")
            yield from self._leaf(landmark, name, self._categories[name])

    def _labelled(self) -> Iterator[Path]:
        """Yield the folders of the root, without that of images of anything else."""
        for folder in self._folders(self._root):
            if _label(folder) != UNKNOWN_FOLDER:
                yield folder
            elif self._root != self._data:
                self._left.add(
                    folder, f"images of anything else belong in {self._data / folder.name}"
                )

    def _folders(self, folder: Path) -> tuple[Path, ...]:
        """Return the folders in one that must not hold images itself."""
        listing = list_folder(folder, self._left, self._above)
        if listing.images:
            raise DataError(f"{listing.images[0]}: too high in the folder tree; {LAYOUT}")
        return listing.folders

    def _leaf(self, folder: Path, landmark: str, category: str) -> Iterator[LabelledImage]:
        above = {*self._above, folder.resolve(), folder.parent.resolve()}
        listing = list_folder(folder, self._left, above)
        for inner in listing.folders:
            for path in walk(inner, set(above), self._left):
                raise DataError(f"{path}: too deep in the folder tree; {LAYOUT}")
        if not listing.images:
            _log.warning("%s: holds no images, left out", folder)
        for path in listing.images:
            yield LabelledImage(path, landmark, category)


def _label(folder: Path) -> str:
    name = nfc(folder.name)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{folder}: its name is not valid UTF-8; rename it") from None
    return name


def _check_names(images: list[LabelledImage]) -> None:
    for image in {(image.landmark, image.category): image for image in images}.values():
        for kind, name in (("landmark", image.landmark), ("category", image.category)):
            problem = label_problem(name)
            if problem is not None:
                raise DataError(
                    f"{str(image.path.parent)!r}: {name!r} cannot be the name of a {kind}, "
                    f"{problem}; rename the folder"
                )


def _check_one_category_each(images: list[LabelledImage]) -> None:
    first: dict[str, LabelledImage] = {}
    for image in images:
        known = first.setdefault(image.landmark, image)
        if known.category != image.category:
            raise DataError(
                f"landmark {image.landmark!r} stands under two categories, {known.path.parent} "
                f"and {image.path.parent}; keep one of them or rename it"
            )


def split_known(
    taxonomy: Taxonomy, images: Iterable[LabelledImage], owner: str = "the file"
) -> tuple[list[LabelledImage], tuple[UnknownLandmark, ...]]:
    """Return the images whose landmark is in a taxonomy, and the landmarks that are not.

    Args:
        taxonomy: The labels of a network.
        images: Images with their true labels.
        owner: Name of the taxonomy's owner in messages.

    Raises:
        DataError: No image is left, or a landmark stands in another category.
    """
    known: list[LabelledImage] = []
    unknown: collections.Counter[str] = collections.Counter()
    hierarchy = taxonomy.hierarchy()
    for image in images:
        category = hierarchy.get(image.landmark)
        if category is None:
            unknown[image.landmark] += 1
        elif category != image.category:
            raise DataError(
                f"{image.path}: {image.landmark!r} is in category {image.category!r} here "
                f"and in {category!r} in {owner}; use the folders it was trained on"
            )
        else:
            known.append(image)
    if not known:
        raise DataError(
            f"none of the {counted(len(unknown), 'landmark', 'landmarks')} here "
            f"({_few(sorted(unknown))}) is a label of "
            f"{owner}, which has {_few(taxonomy.landmarks)}; use the folders it was trained on"
        )
    return known, tuple(
        UnknownLandmark(landmark=name, pictures=count) for name, count in sorted(unknown.items())
    )


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
