"""All reports of one part of the data; a report that fails is logged, and the others follow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lmedge.evaluation import CROSS_VALIDATED
from lmedge.files import write_text
from lmedge.report.confusion import plot_confusion
from lmedge.report.failures import logging_failure
from lmedge.report.fonts import Fonts, choose_fonts
from lmedge.report.per_class import report_csv, report_text

from ..backend import keras
from ..data.store import ImageStore
from ..out_of_fold import fold_history
from ..run import Run
from .cam import plot_activation_maps
from .curves import plot_curves, unfrozen
from .predictions import Predictions, labels_csv
from .tiles import plot_mistakes

# Title of the reports and of the activation maps, by part.
TITLES = {
    "test": ("test part, float network", "test part, float network"),
    CROSS_VALIDATED: (
        "cross-validated, float networks",
        "cross-validated predictions, maps of the network that ships",
    ),
    "val": ("validation part, float network", "validation part, float network"),
}


def report_run(run: Run, network: keras.Model, found: Mapping[str, Predictions]) -> None:
    """Write the reports of a finished run: reports at the top of its folder, PNG in plots/.

    The reports show the test part, otherwise the out-of-fold answers or the validation part. The
    activation maps show images that did not give the reports, if there are any.

    Args:
        run: The finished run.
        network: Its float network.
        found: Predictions by part.
    """
    plots = run.folder / "plots"
    history = fold_history(run)
    if history:
        with logging_failure(plots / "curves.png") as path:
            plot_curves(history, unfrozen(run), path, folds=run.plan is not None)
    for part, (title, _) in TITLES.items():
        if part in found:
            _report_part(run, found[part], title)
            break
    fonts = choose_fonts(run.taxonomy)
    for part in ("val", *TITLES):
        if part in found:
            title = TITLES[part][1]
            draw_maps(network, found[part], run.input_store, title, plots, fonts)
            break
    if CROSS_VALIDATED in found:
        report_labels(found[CROSS_VALIDATED], run.input_store, run.folder, fonts)


def _report_part(run: Run, predictions: Predictions, title: str) -> None:
    with logging_failure(run.folder / "report.txt") as path:
        write_text(path, report_text(predictions.scores, title))
    with logging_failure(run.folder / "report.csv") as path:
        write_text(path, report_csv(predictions.scores))
    fonts = choose_fonts(run.taxonomy)
    draw_predictions(predictions, run.input_store, title, run.folder / "plots", fonts)


def report_labels(predictions: Predictions, store: ImageStore, folder: Path, fonts: Fonts) -> None:
    """Write check_labels.csv, and plots/check_labels.png, of the labels most in doubt."""
    with logging_failure(folder / "check_labels.csv") as path:
        write_text(path, labels_csv(predictions))
    with logging_failure(folder / "plots" / "check_labels.png") as path:
        plot_mistakes(predictions, store, "check these labels, cross-validated", path, fonts)


def draw_predictions(
    predictions: Predictions, store: ImageStore, title: str, folder: Path, fonts: Fonts
) -> None:
    """Draw confusion_landmark.png, confusion_category.png and mistakes.png."""
    taxonomy, scores = predictions.taxonomy, predictions.scores
    groups = {"landmark": [taxonomy.categories[i] for i in taxonomy.parents], "category": None}
    for head, score in scores.items():
        with logging_failure(folder / f"confusion_{head}.png") as path:
            plot_confusion(score, f"{head}, {title}", path, fonts, groups[head])
    with logging_failure(folder / "mistakes.png") as path:
        plot_mistakes(predictions, store, title, path, fonts)


def draw_maps(
    network: keras.Model,
    predictions: Predictions,
    store: ImageStore,
    title: str,
    folder: Path,
    fonts: Fonts,
) -> None:
    """Draw activation_maps.png."""
    with logging_failure(folder / "activation_maps.png") as path:
        plot_activation_maps(network, predictions, store, title, path, fonts)
