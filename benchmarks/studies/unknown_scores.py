"""Comparison of scores that detect unknown images, on the float networks of finished runs.

    python -m benchmarks.studies.unknown_scores RUN... --unknown NAME=DIR --out scores.csv

A folder of unknown images may hold landmarks that the network knows. Folders of their names are
left out, and so are those that --ignore names. The AUROC is that of the test images against the
unknown images. The threshold keeps 95 % of the validation and test images, from which the networks
did not learn. With --file, the int8 file of each RUN, the table also has the files' own scores.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from lmedge.decoding import joint_probabilities, softmax
from lmedge.errors import DataError
from lmedge.evaluation.temperature import fit_temperature
from lmedge.evaluation.unknown import auroc, list_unknown_images
from lmedge.export.verification.comparison import run_file
from lmedge.export.verification.known import cosines, mean_directions
from lmedge.export.verification.rejection import LEAST_UNKNOWN
from lmedge.image import Resize, prepare, read_image
from lmedge.model_file import HEADS, KNOWN, ModelFile, read_model
from lmedge.rejection import agreement
from lmedge.report.csv_files import study_command, write_csv
from lmedge.train.network import FEATURES, load_network, predict_with_features
from lmedge.train.run import Run

from .common import PATH, out_option, run_study, unknown_option

Values = npt.NDArray[np.floating]
Images = npt.NDArray[np.uint8]
Scores = Mapping[str, Values]
COVERAGE = 0.95
CHUNK = 256  # images in memory at once


@dataclasses.dataclass(frozen=True)
class UnknownScore:
    """One score on one folder of unknown images, mean of the runs.

    `false_accepts_at_95` is the share of unknown images above the threshold that keeps 95 % of the
    known ones.
    """

    strangers: str
    score: str
    auroc: float
    false_accepts_at_95: float


class Scorer:
    """Every score of one run's float network, and of its file if there is one."""

    def __init__(self, run: Run, file: ModelFile | None) -> None:
        """Compute the features of the training part, class means and temperatures."""
        self._network, self._file = load_network(run), file
        self._parents = run.taxonomy.parent_index
        features = predict_with_features(self._network, run.images("train"))[FEATURES]
        truth = run.labels("train")["landmark"]
        directions = mean_directions(features, truth, len(self._parents))
        self._means = np.stack(
            [features[truth == n].mean(axis=0) for n in range(len(directions.T))]
        )
        covariance = np.cov((features - self._means[truth]).T)
        spread = np.trace(covariance) / len(covariance)
        self._precision = np.linalg.inv(0.5 * covariance + 0.5 * spread * np.eye(len(covariance)))
        judged, labels = predict_with_features(self._network, run.images("val")), run.labels("val")
        self._temperatures = {head: fit_temperature(judged[head], labels[head]) for head in HEADS}

    def __call__(self, images: Images) -> dict[str, Values]:
        """Return the scores of (N, S, S, 3) uint8 RGB, (N,) each, higher for more known."""
        given = predict_with_features(self._network, images)
        landmark, category = (softmax(given[h], self._temperatures[h]) for h in HEADS)
        features, above = given[FEATURES], category[:, self._parents]
        near = cosines(features, (self._means / _lengths(self._means)).T)
        white, centres = (x @ np.linalg.cholesky(self._precision) for x in (features, self._means))
        whitened = (white / _lengths(white)) @ (centres / _lengths(centres)).T
        agreed = agreement(landmark, category, self._parents)
        scores = {
            "largest joint probability": joint_probabilities(landmark, category, self._parents).max(
                axis=1
            ),
            "largest landmark probability": landmark.max(axis=1),
            "energy of the landmark logits": np.log(np.exp(given["landmark"]).sum(axis=1)),
            "entropy of both heads": sum(
                (p * np.log(np.maximum(p, 1e-12))).sum(axis=1) for p in (landmark, category)
            ),
            "agreement of both heads": agreed,
            "Mahalanobis distance of the features": -_squares(white, centres).min(axis=1),
            "cosine of features and class mean": near.max(axis=1),
            "the same, whitened": whitened.max(axis=1),
            "agreement x largest cosine": agreed * near.max(axis=1),
            "agreement, each landmark x its cosine": (landmark * above * near).sum(axis=1),
            "the same, whitened cosine": (landmark * above * whitened).sum(axis=1),
        }
        return {**scores, **self._of_file(images)}

    def _of_file(self, images: Images) -> dict[str, Values]:
        if self._file is None:
            return {}
        found = run_file(self._file, images)
        agreed = agreement(found["landmark"], found["category"], self._parents)
        third = {"int8 file: third output": found[KNOWN][:, 0]} if KNOWN in found else {}
        return {"int8 file: agreement of both heads": agreed, **third}


def _lengths(x: Values) -> Values:
    return np.asarray(np.linalg.norm(x, axis=1, keepdims=True))


def _squares(x: Values, centres: Values) -> Values:
    """Return (N, L) squared distances of (N, F) and (L, F)."""
    return np.asarray(_lengths(x) ** 2 - 2 * x @ centres.T + _lengths(centres).T ** 2)


def measure(
    run: Run, file: ModelFile | None, unknown: Mapping[str, Sequence[Path]]
) -> dict[tuple[str, str], tuple[float, float]]:
    """Return AUROC and the share of unknown images accepted at COVERAGE, by folder and score."""
    scorer = Scorer(run, file)
    size, resize = run.recipe.data.input_size, Resize(run.recipe.data.resize)
    val, test = (scorer(run.images(part)[:]) for part in ("val", "test"))
    table = {}
    for name, paths in unknown.items():
        parts = [
            scorer(np.stack([prepare(read_image(path, size), size, resize) for path in chunk]))
            for chunk in (paths[at : at + CHUNK] for at in range(0, len(paths), CHUNK))
        ]
        for score, known in test.items():
            found = np.concatenate([part[score] for part in parts])
            least = np.quantile(np.concatenate([val[score], known]), 1 - COVERAGE)
            table[name, score] = (auroc(known, found), float((found >= least).mean()))
    return table


def images_of(words: Sequence[str], ignored: Sequence[str], most: int) -> dict[str, list[Path]]:
    """Return the images of each NAME=DIR, evenly thinned to `most`, without ignored folders.

    Raises DataError for a word without a name and when hardly an image is left.
    """
    found = {}
    for word in words:
        name, _, folder = word.partition("=")
        if not folder:
            raise DataError(f"--unknown takes NAME=DIR, not {word!r}")
        paths = [
            path
            for path in list_unknown_images(Path(folder), LEAST_UNKNOWN)
            if path.parent.name not in ignored
        ]
        if len(paths) < 2:
            raise DataError(f"{folder}: no images are left when --ignore is done")
        found[name] = paths[:: -(-len(paths) // most)]
    return found


@click.command()
@click.argument("runs", nargs=-1, required=True, type=PATH)
@unknown_option(
    multiple=True,
    required=True,
    metavar="NAME=DIR",
    help="Images of no landmark that a run knows. Repeatable.",
)
@click.option("--ignore", multiple=True, metavar="FOLDER", help="A landmark under another name.")
@click.option(
    "--file",
    "files",
    multiple=True,
    type=PATH,
    help="The file of each RUN, in the same order.",
)
@click.option("--most", default=1000, show_default=True, help="Images of each NAME=DIR.")
@out_option()
def main(
    runs: tuple[Path, ...],
    unknown: tuple[str, ...],
    ignore: tuple[str, ...],
    files: tuple[Path, ...],
    most: int,
    out: Path,
) -> None:
    """Compare scores that detect unknown images, by their mean over the RUNs."""
    opened = [Run.open(run) for run in runs]
    if files and len(files) != len(runs):
        raise click.UsageError("--file is to be given for each RUN, or for none")
    models: list[ModelFile | None] = [read_model(file) for file in files] or [None] * len(runs)
    known = {name for run in opened for name in run.taxonomy.landmarks}
    images = images_of(unknown, [*ignore, *known], most)
    tables = [measure(run, file, images) for run, file in zip(opened, models, strict=True)]
    counts = ", ".join(f"{len(paths)} {name}" for name, paths in images.items())
    data = f"{len(runs)} runs, unknown images: {counts}"
    stand_ins = dict.fromkeys(runs, "RUN") | dict.fromkeys(files, "FILE")
    rows = []
    for key in tables[0]:
        values = np.array([table[key] for table in tables]).mean(axis=0).round(4).tolist()
        rows.append(UnknownScore(*key, *values))
    write_csv(out, rows, data=data, command=study_command(sys.argv, stand_ins))
    click.echo(out.read_text("utf-8"), nl=False)


if __name__ == "__main__":
    run_study(main)
