"""`lmedge predict`: pictures in, one line each out."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from .classifier import Classifier, Prediction
from .dataset_folder import list_pictures
from .errors import DataError
from .image import Picture, read_picture
from .machine import cores
from .options import delegate_option, threads_option
from .predict_table import Table
from .progress import Advance, progress
from .sorting import copy_sorted

CSV_COLUMNS = (
    "path", "landmark", "landmark_probability", "category", "category_probability", "known",
    "milliseconds",
)  # fmt: skip


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@click.option(
    "--top",
    type=click.IntRange(1),
    help="Candidates listed for each picture  [default: 3 in JSON, the best one in the table]",
)
@click.option("--json", "style", flag_value="json", help="Print one JSON object a line.")
@click.option("--csv", "style", flag_value="csv", help="Print CSV with a header.")
@click.option(
    "--copy-to",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Copy each picture to DIR/<category>/<landmark>/; nothing is overwritten.",
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
    """Classify pictures, and all pictures in folders, with an exported file.

    A picture that cannot be read is named on standard error and skipped; the exit code is then 3.
    """
    classifier = Classifier(
        file, threads=threads, top=top or (3 if style == "json" else 1), delegate=delegate
    )
    pictures = find_pictures(paths)
    write = _writer(style, pictures, classifier)
    unreadable = 0
    # A bar would stand between the lines of a terminal, which are progress enough.
    silent: contextlib.AbstractContextManager[Advance] = contextlib.nullcontext(lambda: None)
    with silent if sys.stdout.isatty() else progress("classify", len(pictures)) as advance:
        for path, picture in decode_all(pictures, classifier.model.size):
            advance()
            if isinstance(picture, DataError):
                if len(pictures) == 1:
                    raise picture
                unreadable += 1
                click.echo(f"skipped: {picture}", err=True)
                continue
            prediction = classifier.classify(picture)
            write(path, prediction)
            if copy_to is not None:
                copy_sorted(path, prediction, copy_to)
    if unreadable:
        raise DataError(f"{unreadable} of {len(pictures)} pictures could not be read")


def decode_all(
    pictures: Sequence[Path], side: int, workers: int | None = None
) -> Iterator[tuple[Path, Picture | DataError]]:
    """Yield each picture decoded for `side`, or why it cannot be read, in the given order.

    Decoding runs ahead in `workers` threads, as many as there are cores unless given, by a few
    pictures only: memory does not grow with their number.
    """

    def decode(path: Path) -> Picture | DataError:
        try:
            return read_picture(path, side)
        except DataError as error:
            return error

    workers = workers or cores()
    with concurrent.futures.ThreadPoolExecutor(workers, "decode") as pool:
        ahead: collections.deque[tuple[Path, concurrent.futures.Future[Picture | DataError]]]
        ahead = collections.deque()
        try:
            for path in pictures:
                ahead.append((path, pool.submit(decode, path)))
                if len(ahead) > 2 * workers:
                    first, waiting = ahead.popleft()
                    yield first, waiting.result()
            while ahead:
                first, waiting = ahead.popleft()
                yield first, waiting.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _writer(
    style: str | None, pictures: Sequence[Path], classifier: Classifier
) -> Callable[[Path, Prediction], None]:
    """Return what prints one picture; headings are printed at once."""
    if style == "json":
        return lambda path, prediction: click.echo(to_json(path, prediction))
    if style == "csv":
        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow(CSV_COLUMNS)
        return lambda path, prediction: _write_csv(lines, path, prediction)
    table = Table.fit(pictures, classifier)
    click.echo(click.style(table.heading(), dim=True))
    return lambda path, prediction: click.echo("\n".join(table.lines(path, prediction)))


def _write_csv(lines: Any, path: Path, prediction: Prediction) -> None:
    values = {"path": click.format_filename(path), **prediction.as_dict()}
    lines.writerow(values[column] for column in CSV_COLUMNS)


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """Return files as given and the pictures under folders.

    Raises DataError for a path that does not exist and when there is nothing to classify.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists() and not path.is_symlink():
            raise DataError(f"{path}: no such file or folder; check the name")
        inside = list_pictures(path) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"{path}: holds no pictures (.jpg, .jpeg, .png, .webp, .bmp)")
        found += inside
    return found


def to_json(path: Path, prediction: Prediction) -> str:
    """Return the line of `--json`; docs/formats.md names its fields."""
    return json.dumps(
        {"path": str(path), **prediction.as_dict()},
        # A file name that is not UTF-8 can only be written escaped.
        ensure_ascii=not _is_text(str(path)),
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
