"""Copies of classified pictures, sorted into folders by their label."""

from __future__ import annotations

import filecmp
import itertools
import os
import shutil
from pathlib import Path

from .classifier import Prediction
from .errors import DataError, LmedgeError
from .files import replacing
from .rejection import UNKNOWN


def copy_sorted(picture: Path, prediction: Prediction, folder: Path) -> Path:
    """Copy `picture` to folder/<category>/<landmark>/ and return the copy's path.

    A picture of no landmark that the file knows goes to folder/not a landmark/.

    Nothing is overwritten: a name that is taken by another picture gets -2, -3 and so on; the same
    picture under its name is left as it is. Raises LmedgeError when the copy cannot be written,
    DataError for a label that is no name of a folder.
    """
    for label in (prediction.category, prediction.landmark):
        if label in {"", ".", ".."} or "/" in label or os.sep in label:
            raise DataError(f"{label!r} cannot be the name of a folder; export with other names")
    inside = folder / prediction.category / prediction.landmark
    if not prediction.known:
        inside = folder / UNKNOWN
    for number in itertools.count(1):
        name = picture.name if number == 1 else f"{picture.stem}-{number}{picture.suffix}"
        target = inside / name
        if target.exists() and filecmp.cmp(picture, target, shallow=False):
            return target
        if not os.path.lexists(target) and _copied(picture, target):
            return target
    raise AssertionError("itertools.count ends")


def _copied(picture: Path, target: Path) -> bool:
    """Copy; False when another process took the name meanwhile."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.open("xb").close()  # the name is ours from here on
    except FileExistsError:
        return False
    except OSError as error:
        raise LmedgeError(f"cannot write {target}: {error.strerror}") from error
    try:
        with replacing(target) as temporary:
            shutil.copyfile(picture, temporary)
            shutil.copystat(picture, temporary)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return True
