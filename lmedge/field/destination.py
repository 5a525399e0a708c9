"""The photographs that labelled images are added to: their layout, labels and folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..commands.predict import check_folder_names
from ..errors import DataError
from ..evaluation import PARTS
from ..evaluation.layout import TAXONOMY_FILE, UNKNOWN_FOLDER, categories_of, part_folder, parts
from ..evaluation.listing import LeftOut, list_folder
from ..files import writing
from ..taxonomy import label_problem
from ..text_files import nfc
from .collected import CollectedImage

_LONGEST = 200  # bytes of a name


class Destination:
    """Photographs as `<category>/<landmark>/`, or `<landmark>/` beside a taxonomy.csv.

    If there are parts, images go to the training part. Images of anything else go to `unknown/`.

    Attributes:
        categories: Landmark -> category, of the photographs and of the predictions.
    """

    def __init__(self, data: Path, images: Iterable[CollectedImage]) -> None:
        """Read the layout of `data`, which is made if it is missing.

        Raises:
            LmedgeError: The folder cannot be made.
        """
        with writing(data):
            data.mkdir(parents=True, exist_ok=True)
        self._data = data
        self._root = part_folder(data, "train") if parts(data) else data
        self._flat = categories_of(data, self._root)
        self.categories = dict(self._flat or {})
        if self._flat is None:
            self._add_folders()
            self._add_predicted(images)

    def check_label(self, landmark: str, category: str) -> str:
        """Return the category of a landmark, which may be new.

        Raises:
            DataError: The landmark has another category, or a name cannot be that of a folder.
        """
        known = self.categories.get(landmark)
        if known is not None:
            if category and category != known:
                raise DataError(f"{landmark!r} is in category {known!r}; choose another name")
            return known
        if self._flat is not None:
            raise DataError(
                f"{landmark!r} is not in {TAXONOMY_FILE} of {self._data}; add a line to it first"
            )
        if not category:
            raise DataError(f"{landmark!r} is new: name its category too")
        if problem := unfit_names(landmark, category):
            raise DataError(problem)
        return category

    def folder_of(self, landmark: str, category: str) -> Path:
        """Return the folder of a landmark, or of images of anything else without one."""
        if not landmark:
            return self._data / UNKNOWN_FOLDER
        return self._root / landmark if self._flat is not None else self._root / category / landmark

    def _add_folders(self) -> None:
        for above in list_folder(self._root, LeftOut()).folders:
            if nfc(above.name) in {UNKNOWN_FOLDER, *PARTS}:
                continue
            for inside in list_folder(above, LeftOut()).folders:
                self.categories.setdefault(nfc(inside.name), nfc(above.name))

    def _add_predicted(self, images: Iterable[CollectedImage]) -> None:
        for image in images:
            for one in image.prediction["top"]:
                landmark, category = nfc(one["landmark"]), nfc(one["category"])
                if not unfit_names(landmark, category):
                    self.categories.setdefault(landmark, category)


def unfit_names(landmark: str, category: str) -> str | None:
    """Return why two names cannot be those of folders, None if they can."""
    try:
        check_folder_names((landmark, category))
    except DataError:
        return f"{landmark!r} in {category!r}: cannot be names of folders; choose others"
    if landmark.startswith(".") or category.startswith(".") or len(landmark.encode()) > _LONGEST:
        return f"{landmark!r} in {category!r}: hidden or too long; choose others"
    if (
        category in {UNKNOWN_FOLDER, *PARTS, "valid", "validation"}
        or len(category.encode()) > _LONGEST
    ):
        return f"{category!r} has another meaning beside the categories; choose another name"
    return None


def checked_names(landmark: str, category: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Return both names as they are taught; `known` has the category of each known landmark.

    Raises:
        DataError: A name cannot be used, or the category of a new landmark is missing.
    """
    landmark, category = nfc(landmark.strip()), nfc(category.strip())
    if landmark in known:
        if category and category != known[landmark]:
            raise DataError(
                f"{landmark!r} is in the category {known[landmark]!r}; choose another name"
            )
        return landmark, known[landmark]
    for kind, name, others in (
        ("landmark", landmark, set(known)),
        ("category", category, set(known.values())),
    ):
        if kind == "category" and not name:
            raise DataError(f"{landmark!r} is new: name its category too")
        problem = label_problem(name)
        if problem is not None:
            raise DataError(f"{name!r} cannot be the name of a {kind}, {problem}; choose another")
        twin = next((other for other in sorted(others) if other.casefold() == name.casefold()), "")
        if twin and twin != name:
            raise DataError(f"there is a {kind} {twin!r} already; choose that, or another name")
    unfit = unfit_names(landmark, category)
    if unfit is not None:
        raise DataError(unfit)
    return landmark, category
