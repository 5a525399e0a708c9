"""`lmedge predict`: images in, one line each out."""

from __future__ import annotations

import contextlib
import csv
import filecmp
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from ..classifier import TOP, Classifier, Prediction
from ..decoder_noise import counting_decoder_noise
from ..errors import DataError
from ..evaluation.folders import list_images
from ..files import check_folder, copy_as
from ..formats import SUFFIXES
from ..harmless import echo, harmless, json_text, write_rows
from ..progress import Advance, progress
from ..reading import decode_all
from ..rejection import UNKNOWN
from .options import delegate_option, threads_option
from .predict_table import PredictionTable

MAX_NAME = 255  # bytes, of all usual file systems


def copy_sorted(image: Path, prediction: Prediction, folder: Path) -> Path:
    """Copy `image` to folder/<category>/<landmark>/ and return the path of the copy.

    An image of no known landmark goes to folder/not a landmark/. Nothing is overwritten: if
    another image has the name, -2, -3 and so on is appended.

    Raises:
        LmedgeError: The copy cannot be written.
        DataError: A label cannot be the name of a folder.
    """
    check_folder_names((prediction.category, prediction.landmark))
    inside = folder / prediction.category / prediction.landmark
    if not prediction.known:
        inside = folder / UNKNOWN
    for number in itertools.count(1):
        name = image.name if number == 1 else _numbered(image, number)
        target = inside / name
        while True:
            if target.exists() and filecmp.cmp(image, target, shallow=False):
                return target
            if os.path.lexists(target):
                break  # another image: the next number
            if copy_as(image, target):
                return target
    raise AssertionError("itertools.count ends")


def _numbered(image: Path, number: int) -> str:
    """Return NAME-2.jpg of NAME.jpg, cut in its middle if it is longer than a name may be."""
    end = os.fsencode(f"-{number}{image.suffix}")
    stem = os.fsencode(image.stem)[: MAX_NAME - len(end)]
    if image.stem.isprintable():  # no half of a letter at the cut
        stem = stem.decode("utf-8", "ignore").encode()
    return os.fsdecode(stem + end)


def check_folder_names(labels: Iterable[str]) -> None:
    """Raise DataError for a label that cannot be the name of a folder, or would hide in one."""
    for label in labels:
        outside = label in {"", ".", ".."} or "/" in label or os.sep in label
        if outside or harmless(label) != label:
            raise DataError(f"{label!r} cannot be the name of a folder; export with other names")


CSV_COLUMNS = (
    "path",
    "landmark",
    "landmark_probability",
    "category",
    "category_probability",
    "known",
    "milliseconds",
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@click.option(
    "--top",
    type=click.IntRange(1),
    help=f"Candidates listed for each image  [default: {TOP} in JSON, the best one in the table]",
)
@click.option("--json", "style", flag_value="json", help="Print one JSON object a line.")
@click.option("--csv", "style", flag_value="csv", help="Print CSV with a header.")
@click.option(
    "--copy-to",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Copy each image to DIR/<category>/<landmark>/; nothing is overwritten.",
)
@threads_option
@delegate_option
def predict(
    file: Path,
    paths: tuple[Path, ...],
    top: int | None,
    style: str | None,
    copy_to: Path | None,
    threads: int | None,
    delegate: Path | None,
) -> None:
    """Classify images, and all images in folders, with an exported file.

    An image that cannot be read is skipped with a line on standard error; the exit code is then 3.
    """
    classifier = Classifier(
        file, threads=threads, top=top or (TOP if style == "json" else 1), delegate=delegate
    )
    if copy_to is not None:  # before the first copy
        taxonomy = classifier.taxonomy
        check_folder_names((*taxonomy.categories, *taxonomy.landmarks))
        check_folder(copy_to)
    images = find_images(paths)
    write = _writer(style, images, classifier)
    unreadable = 0
    # A bar would stand between the lines of a terminal, which are progress enough.
    silent: contextlib.AbstractContextManager[Advance] = contextlib.nullcontext(lambda: None)
    bar = silent if sys.stdout.isatty() else progress("classify", len(images))
    with counting_decoder_noise(), bar as advance:
        for path, image in decode_all(images, classifier.model.size):
            advance()
            if isinstance(image, DataError):
                if len(images) == 1:
                    raise image
                unreadable += 1
                echo(f"skipped: {harmless(image)}", err=True)
                continue
            prediction = classifier.classify(image)
            write(path, prediction)
            if copy_to is not None:
                copy_sorted(path, prediction, copy_to)
    if unreadable:
        raise DataError(f"{unreadable} of {len(images)} images could not be read")


def _writer(
    style: str | None, images: Sequence[Path], classifier: Classifier
) -> Callable[[Path, Prediction], None]:
    """Return the function that prints one image, and a heading above the first."""
    if style == "json":
        return lambda path, prediction: echo(prediction_as_json(path, prediction))
    if style == "csv":
        lines = csv.writer(sys.stdout, lineterminator="\n")
        return _headed(
            lambda: lines.writerow(CSV_COLUMNS),
            lambda path, prediction: _write_csv(lines, path, prediction),
        )
    table = PredictionTable.fit(images, classifier)
    return _headed(
        lambda: click.echo(click.style(table.heading(), dim=True)),
        lambda path, prediction: click.echo("\n".join(table.lines(path, prediction))),
    )


def _headed(
    heading: Callable[[], object], line: Callable[[Path, Prediction], None]
) -> Callable[[Path, Prediction], None]:
    """Return a function that prints a line, and the heading before the first one."""
    first = iter([heading])

    def write(path: Path, prediction: Prediction) -> None:
        for print_heading in first:
            print_heading()
        line(path, prediction)

    return write


def _write_csv(lines: Any, path: Path, prediction: Prediction) -> None:
    values = {"path": str(path), **prediction.as_dict()}
    write_rows(lines, [[values[column] for column in CSV_COLUMNS]])


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return files as given and the images under folders.

    Raises DataError if a path does not exist or a folder holds no images.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists() and not path.is_symlink():
            raise DataError(f"{path}: no such file or folder; check the name")
        inside = list_images(path) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"{path}: holds no images ({', '.join(sorted(SUFFIXES))})")
        found += inside
    return found


def prediction_as_json(path: Path, prediction: Prediction) -> str:
    """Return the line of `--json`; docs/formats.md names its fields."""
    return json_text({"path": str(path), **prediction.as_dict()})
