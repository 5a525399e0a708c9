"""Labelled folders of images: listing, checking, matching with the labels of a network.

`<category>/<landmark>/*.jpg`, or `taxonomy.csv` (landmark,category) beside flat `<landmark>/`
folders. Either may stand inside `train/`, `val/` and `test/`. Images are listed, not decoded.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import DataError
from ..formats import SUFFIXES
from ..taxonomy import Taxonomy, label_problem
from ..text_files import TableLine, nfc, read_user_text, table_lines
from . import PARTS

TAXONOMY_FILE = "taxonomy.csv"
_TAXONOMY_COLUMNS = ("landmark", "category")
LAYOUT = (
    "photographs belong in <category>/<landmark>/*.jpg (or .png, .heic and so on), or in flat "
    f"<landmark>/ folders beside a {TAXONOMY_FILE} with the columns landmark,category"
)

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
class _Listing:
    """The visible folders and images of one folder, in a fixed order."""

    folders: tuple[Path, ...]
    pictures: tuple[Path, ...]


def parts(data: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the parts in `data` out of train, val and test; none without train."""
    data = Path(data)
    found = tuple(name for name in PARTS if (data / name).is_dir())
    return found if "train" in found else ()


def scan(
    data: str | os.PathLike[str], part: str | None = None, *, check_labels: bool = True
) -> list[LabelledImage]:
    """List the labelled images of a folder, always in the same order.

    Suffixes may be in any case. Hidden files and folders are ignored, symbolic links are followed.

    Args:
        data: The folder, in one of the layouts above.
        part: One of `parts(data)`; None means all of them, or the plain layout.
        check_labels: Refuse names that cannot be labels, and a landmark that stands under two
            categories.

    Raises:
        DataError: The folder has another layout, or its labels contradict each other. The message
            names the folder or file.
    """
    data = Path(data)
    _check_folder(data)
    images = [
        image for root in _roots(data, part) for image in _scan_root(root, _taxonomy(data, root))
    ]
    if not images:
        raise DataError(f"{data if part is None else data / part}: no images found; {LAYOUT}")
    if part in {None, "train"}:  # once for all parts
        for message in unmatched_taxonomy_lines(data):
            _log.warning("%s", message)
    if check_labels:
        _check_names(images)
        _check_one_category_each(images)
    return images


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """List every image under `folder`, at any depth and in a fixed order, without labels.

    Hidden files and folders are ignored. Symbolic links are followed, each folder once.

    Raises:
        DataError: A folder cannot be read.
    """
    return list(_walk(Path(folder), set()))


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real in seen:  # a symbolic link to a folder that was listed before
        return
    seen.add(real)
    listing = _list(folder)
    yield from listing.pictures
    for inner in listing.folders:
        yield from _walk(inner, seen)


def _roots(data: Path, part: str | None) -> list[Path]:
    found = parts(data)
    if part is not None and part not in found:
        what = f"only {', '.join(found)}" if found else "no train, val or test folder"
        raise DataError(f"{data}: has no part {part!r}, {what}; add {data / part} or leave it out")
    if not found:
        return [data]
    for folder in _list(data).folders:
        if folder.name not in found and any(_walk(folder, set())):
            _log.warning("%s: left out, beside train/ only val/ and test/ are read", folder)
    return [data / name for name in (found if part is None else (part,))]


def _check_folder(data: Path) -> None:
    if not data.exists():
        raise DataError(f"{data}: no such folder; check the name")
    if not data.is_dir():
        raise DataError(f"{data}: a file, not a folder; pass the folder that holds the photographs")
    if not any(data.iterdir()):
        raise DataError(f"{data}: an empty folder; {LAYOUT}")


def _scan_root(root: Path, categories: Mapping[str, str] | None) -> Iterator[LabelledImage]:
    if categories is None:
        for category in _list(root, leaf=False).folders:
            for landmark in _list(category, leaf=False).folders:
                for path in _leaf(landmark):
                    yield LabelledImage(path, _label(landmark), _label(category))
        return
    for landmark in _list(root, leaf=False).folders:
        name = _label(landmark)
        if name not in categories:
            raise DataError(f"{landmark}: not listed in {TAXONOMY_FILE}; add a line for it")
        for path in _leaf(landmark):
            yield LabelledImage(path, name, categories[name])


def _leaf(landmark: Path) -> tuple[Path, ...]:
    listing = _list(landmark)
    for folder in listing.folders:
        for path in _walk(folder, set()):
            raise DataError(f"{path}: too deep in the folder tree; {LAYOUT}")
    if not listing.pictures:
        _log.warning("%s: holds no images, left out", landmark)
    return listing.pictures


def _list(folder: Path, leaf: bool = True) -> _Listing:
    """List one folder; a folder that is no `leaf` must not hold images."""
    try:
        with os.scandir(folder) as entries:
            visible = sorted(
                (entry for entry in entries if not entry.name.startswith(".")),
                key=lambda entry: (nfc(entry.name), entry.name),
            )
            folders = {entry.name for entry in visible if entry.is_dir()}
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    listing = _Listing(
        tuple(folder / entry.name for entry in visible if entry.name in folders),
        tuple(
            folder / entry.name
            for entry in visible
            if entry.name not in folders and Path(entry.name).suffix.lower() in SUFFIXES
        ),
    )
    if listing.pictures and not leaf:
        raise DataError(f"{listing.pictures[0]}: too high in the folder tree; {LAYOUT}")
    return listing


def _label(folder: Path) -> str:
    name = nfc(folder.name)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{folder}: its name is not valid UTF-8; rename it") from None
    return name


def _taxonomy(data: Path, root: Path) -> dict[str, str] | None:
    """Return landmark -> category from the taxonomy.csv of the part, or of the whole."""
    path = _taxonomy_file(data, root)
    if path is None:
        return None
    return {name: category for name, category, _ in _read_taxonomy(path)}


def _taxonomy_file(data: Path, root: Path) -> Path | None:
    paths = (folder / TAXONOMY_FILE for folder in (root, data))
    return next((path for path in paths if path.is_file()), None)


def unmatched_taxonomy_lines(data: Path) -> list[str]:
    """Return a message for each line of a taxonomy.csv whose landmark has no folder."""
    roots = [data / name for name in parts(data)] or [data]
    folders: dict[Path, set[str]] = collections.defaultdict(set)
    for root in roots:
        path = _taxonomy_file(data, root)
        if path is not None:
            folders[path] |= {nfc(folder.name) for folder in _list(root, leaf=False).folders}
    return [
        f"{path}: line {line}: there is no folder {name!r}; correct the name or remove the line"
        for path, found in folders.items()
        for name, _, line in _read_taxonomy(path)
        if name not in found
    ]


def _read_taxonomy(path: Path) -> list[tuple[str, str, int]]:
    """Return (landmark, category, line) of each line."""
    try:
        header, *lines = list(table_lines(read_user_text(path), _TAXONOMY_COLUMNS)) or [
            TableLine(1, ())
        ]
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be read as CSV ({why}); save it again") from error
    titles = [nfc(cell.strip()) for cell in header.cells]
    missing = [column for column in _TAXONOMY_COLUMNS if column not in titles]
    if missing:
        raise DataError(
            f"{path}: no column {missing[0]!r}; its first line must be landmark,category"
        )
    at = [titles.index(column) for column in _TAXONOMY_COLUMNS]
    rows = []
    categories: dict[str, str] = {}
    for line in lines:
        cells = [nfc(cell.strip()) for cell in line.cells]
        landmark, category = (cells[i] if i < len(cells) else "" for i in at)
        if not landmark or not category:
            raise DataError(
                f"{path}: line {line.number}: {','.join(cells)!r} lacks its landmark or category; "
                "complete it"
            )
        if categories.setdefault(landmark, category) != category:
            raise DataError(
                f"{path}: landmark {landmark!r} has two categories, {categories[landmark]!r} and "
                f"{category!r}; keep one"
            )
        rows.append((landmark, category, line.number))
    return rows


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
            f"none of the {len(unknown)} landmarks here ({_few(sorted(unknown))}) is a label of "
            f"{owner}, which has {_few(taxonomy.landmarks)}; use the folders it was trained on"
        )
    return known, tuple(
        UnknownLandmark(landmark=name, pictures=count) for name, count in sorted(unknown.items())
    )


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
