"""`lmedge evaluate`: the float network of a run on labelled images."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from lmedge.commands.options import data_option, out_option, part_option
from lmedge.errors import DataError
from lmedge.evaluation import CROSS_VALIDATED
from lmedge.evaluation.folders import (
    LabelledImage,
    UnknownLandmark,
    parts,
    scan,
    split_known,
)
from lmedge.evaluation.metrics import confusions, weakest_classes
from lmedge.files import check_folder, write_json, write_text
from lmedge.harmless import echo, harmless
from lmedge.report.fonts import choose_fonts
from lmedge.report.per_class import LISTED, absent_notes, report_csv, report_text
from lmedge.report.terminal import (
    HarmlessConsole,
    count_images,
    first_names,
    plain_table,
    print_line,
)

if TYPE_CHECKING:
    from .data.store import ImageEntry
    from .reports.predictions import Predictions
    from .run import Run

SCHEMA = 1
WEAKEST = 5
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The images to score, and those left out. `part` is None for all images of `data`.

    `learned` counts those that the network has learned.
    """

    data: str
    part: str | None
    entries: list[ImageEntry]
    unknown: tuple[UnknownLandmark, ...] = ()
    unreadable: tuple[str, ...] = ()
    learned: int = 0


@click.command(short_help="Score the float network of a run on labelled photographs.")
@click.argument("run_folder", type=click.Path(path_type=Path), metavar="RUN")
@data_option(
    "Labelled photographs, in the folders that training reads  [default: the run's own test part]"
)
@part_option(
    "Part of the data  [default: test if there is one; otherwise all of DIR, or of the run val, or "
    "the images that it learned, each predicted by a network that had not]"
)
@out_option("Folder of the reports  [default: RUN/evaluation]")
def evaluate(run_folder: Path, data: Path | None, part: str | None, out: Path | None) -> None:
    """Score the float network of a training run, without quantization.

    Labels are matched by name. Landmarks that the run does not know are named and left out. With
    --data and --part, the run's own images are scored in the folder that they were moved to, if
    that has no parts itself.

    \b
    lmedge evaluate runs/photographs --data photographs-it-has-not-seen
    """  # noqa: D301  (click needs the control character)
    from .run import Run

    run = Run.open(run_folder)
    run.check_finished()
    if data is not None and part is None and "test" in parts(data):
        part = "test"
    folder = out or run_folder / "evaluation"
    check_folder(folder)
    if data is not None and part is not None and data.is_dir() and not parts(data):
        run, data = run.moved_to(data), None  # a part of the run, in the folder that it has now
    if data is None:
        chosen = _own(run, part)
        if chosen.part != CROSS_VALIDATED:
            run.check_images(chosen.entries)
    else:
        chosen = _given(run, data, part, scan(data, part))
    # Imported here: mistakes in the arguments come before the seconds of TensorFlow.
    from .network import load_network
    from .reports.predictions import out_of_fold_predictions, predict_labelled

    network = load_network(run)
    if chosen.part == CROSS_VALIDATED:
        predictions = out_of_fold_predictions(run)
    else:
        predictions = predict_labelled(
            network, run.input_store, chosen.entries, run.taxonomy, run.calibration()
        )
    _write(run, chosen, predictions, folder)
    from .reports import folder as reports

    title, fonts = _title(chosen), choose_fonts(run.taxonomy)
    reports.draw_predictions(predictions, run.input_store, title, folder, fonts)
    reports.draw_maps(network, predictions, run.input_store, title, folder, fonts)
    _show(chosen, predictions)
    echo(f"reports: {harmless(folder)}")


def _own(run: Run, part: str | None) -> Chosen:
    present = [name for name in ("test", "val", "train") if run.entries(name)]
    chosen = part or present[0]
    if part is None and chosen == "train":
        if run.plan is not None:
            return Chosen(run.data, CROSS_VALIDATED, list(run.entries("train")))
        raise DataError(
            f"{run.folder}: its network has learned all of its images; pass --data with others, or "
            "--part train"
        )
    if chosen not in present:
        raise DataError(f"{run.folder}: its {chosen} part is empty; pass --data or another --part")
    entries = list(run.entries(chosen))
    return Chosen(run.data, chosen, entries, learned=len(entries) if chosen == "train" else 0)


def _given(run: Run, data: Path, part: str | None, images: Sequence[LabelledImage]) -> Chosen:
    known, unknown = split_known(run.taxonomy, images, "the run")
    for entry in unknown:
        left_out = count_images(entry.pictures)
        logger.warning("%s: not known to the run, %s left out", entry.landmark, left_out)
    entries, unreadable = run.input_store.admit(known)
    if not entries:
        raise DataError(f"none of the {len(known)} images could be read; {unreadable[0]}")
    trained = {entry.sha256 for entry in run.entries("train")}
    seen = sum(entry.sha256 in trained for entry in entries)
    if seen and part != "train":
        logger.warning("%s: the run was trained on %d of these images", data, seen)
    return Chosen(str(data), part, entries, unknown, tuple(unreadable), seen)


def _write(run: Run, chosen: Chosen, predictions: Predictions, folder: Path) -> None:
    scores = predictions.scores
    skipped = {
        "pictures": sum(entry.pictures for entry in chosen.unknown) + len(chosen.unreadable),
        "unknown_landmarks": [dataclasses.asdict(entry) for entry in chosen.unknown],
        "unreadable": list(chosen.unreadable),
    }
    write_json(
        folder / "evaluation.json",
        {
            "schema": SCHEMA,
            "run": {"path": click.format_filename(run.folder), "split_sha256": run.split.digest()},
            "data": {"path": click.format_filename(chosen.data), "part": chosen.part},
            "accuracy": {**predictions.as_dict(), "skipped": skipped},
            "confusions": [dataclasses.asdict(p) for p in confusions(scores["landmark"], LISTED)],
        },
    )
    write_text(folder / "report.txt", report_text(scores, _title(chosen)))
    write_text(folder / "report.csv", report_csv(scores))


def _title(chosen: Chosen) -> str:
    name = Path(chosen.data).resolve().name
    if chosen.part == CROSS_VALIDATED:
        return f"{name}, cross-validated, float networks"
    return f"{name}, {f'{chosen.part} part, ' if chosen.part else ''}float network"


def _show(chosen: Chosen, predictions: Predictions) -> None:
    """Print the table; names are never read as markup."""
    scores, console = predictions.scores, HarmlessConsole()
    title = f"{count_images(scores['landmark'].n)}, float"
    if chosen.learned:
        title += f", {chosen.learned} of them learned"
    table = plain_table(title, "macro F1", "accuracy", "head alone")
    for head, score in scores.items():
        figures = (score.macro_f1, score.accuracy, scores.alone[head].macro_f1)
        table.add_row(head, *(f"{value:.3f}" for value in figures))
    console.print(table)
    worst = weakest_classes(scores["landmark"], WEAKEST)
    if worst:
        table = plain_table("weakest landmarks", "F1", "precision", "recall", "images")
        for entry in worst:
            shares = (f"{value:.2f}" for value in (entry.f1, entry.precision, entry.recall))
            table.add_row(Text(harmless(entry.name)), *shares, str(entry.support))
        console.print()
        console.print(table)
    for line in (*absent_notes(scores), *_notes(chosen)):
        print_line(console, line)


def _notes(chosen: Chosen) -> list[str]:
    lines = []
    if chosen.learned:
        count = count_images(chosen.learned)
        lines.append(f"{count} that the network has learned: not a measure of new ones")
    if chosen.part == CROSS_VALIDATED:
        lines.append("cross-validated: each predicted by a network that had not seen it")
    if chosen.unknown:
        names = [entry.landmark for entry in chosen.unknown]
        count = count_images(sum(entry.pictures for entry in chosen.unknown))
        lines.append(f"skipped, not known to the run: {count} of {first_names(names)}")
    if chosen.unreadable:
        lines.append(f"skipped, not readable: {count_images(len(chosen.unreadable))}")
    return lines
