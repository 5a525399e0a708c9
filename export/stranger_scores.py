"""Ways to tell what is no landmark, held against each other on the float networks of runs.

    python -m lmedge.export.stranger_scores RUN... --strangers DIR --out stranger_scores.csv

All but the two distances need nothing but the two outputs of a file. Strangers are also the test
pictures' opponents in the AUROC; the threshold keeps 95 % of the validation and test pictures.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from lmedge.decoding import joint_probabilities, softmax
from lmedge.files import write_text
from lmedge.image import Resize, prepare, read_picture
from lmedge.machine import processor_model
from lmedge.model_file import HEADS
from lmedge.rejection import agreement, auroc

from ..train.backend import keras
from ..train.network import FEATURES, Pictures, normalise
from ..train.run import Run
from .rejection import read_strangers
from .temperature import fit_temperature

Values = npt.NDArray[np.floating]
BATCH = 32


def outputs(network: keras.Model, pictures: Pictures) -> dict[str, Values]:
    """Return the logits of both heads, and `features`, (N, F)."""
    probe = keras.Model(network.input, [*network.outputs, network.get_layer(FEATURES).output])
    found = [
        [np.asarray(value) for value in probe(normalise(pictures[at : at + BATCH]))]
        for at in range(0, len(pictures), BATCH)
    ]
    names = (*network.output_names, "features")
    return {name: np.concatenate([part[n] for part in found]) for n, name in enumerate(names)}


def scores(
    given: Mapping[str, Values],
    temperatures: Mapping[str, float],
    parents: npt.NDArray[np.intp],
    means: Values,
    precision: Values,
) -> dict[str, Values]:
    """Return every score, (N,) each, higher for a picture that looks more known.

    means: of the features of each landmark's training pictures, (L, F); precision: the inverse of
    their shrunken covariance, (F, F).
    """
    landmark, category = (softmax(given[head], temperatures[head]) for head in HEADS)
    features = given["features"]
    units, directions = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (features, means))
    apart = features[:, None] - means
    distance = np.einsum("nlf,fg,nlg->nl", apart, precision, apart, optimize=True)
    return {
        "largest joint probability": joint_probabilities(landmark, category, parents).max(axis=1),
        "largest landmark probability": landmark.max(axis=1),
        "entropy of both heads": sum(
            (p * np.log(np.maximum(p, 1e-12))).sum(axis=1) for p in (landmark, category)
        ),
        "energy of the landmark logits": np.log(np.exp(given["landmark"]).sum(axis=1)),
        "agreement of both heads": agreement(landmark, category, parents),
        "Mahalanobis distance of the features": -distance.min(axis=1),
        "cosine of features and class mean": (units @ directions.T).max(axis=1),
    }


def measure(run: Run, strangers: Sequence[Path]) -> dict[str, tuple[float, float]]:
    """Return AUROC and the share of strangers accepted at 95 % coverage, by score."""
    network = run.network()
    resize, size = Resize(run.recipe.data.resize), run.recipe.data.image_size
    others = np.stack([prepare(read_picture(path), size, resize) for path in strangers])
    found: dict[str, Any] = {
        part: outputs(network, run.pictures(part)) for part in ("train", "val", "test")
    }
    found["strangers"] = outputs(network, others)
    truth = run.labels("train")["landmark"]
    features = found["train"]["features"]
    means = np.stack([features[truth == n].mean(axis=0) for n in range(truth.max() + 1)])
    covariance = np.cov((features - means[truth]).T)
    shrunken = 0.5 * covariance + 0.5 * np.trace(covariance) / len(covariance) * np.eye(
        len(covariance)
    )
    temperatures = {
        head: fit_temperature(found["val"][head], run.labels("val")[head]) for head in HEADS
    }
    every = {
        part: scores(
            values, temperatures, run.taxonomy.parent_index, means, np.linalg.inv(shrunken)
        )
        for part, values in found.items()
        if part != "train"
    }
    table = {}
    for name in every["test"]:
        known = np.concatenate([every["val"][name], every["test"][name]])
        accepted = every["strangers"][name] >= np.quantile(known, 0.05)
        table[name] = (
            auroc(every["test"][name], every["strangers"][name]), float(accepted.mean())
        )  # fmt: skip
    return table


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--strangers", required=True, type=click.Path(path_type=Path), metavar="DIR")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The CSV file.")
def main(runs: tuple[Path, ...], strangers: Path, out: Path) -> None:
    """Hold ways to tell strangers against each other, mean of the RUNs."""
    paths = read_strangers(strangers)
    tables = [measure(Run.open(run), paths) for run in runs]
    stream = io.StringIO()
    stream.write(
        f"# command: python -m lmedge.export.stranger_scores RUN... --strangers {strangers}\n"
        f"# machine: {processor_model()}\n# data: {len(runs)} runs, {len(paths)} strangers\n"
    )
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("score", "auroc", "false_accepts_at_95"))
    for name in tables[0]:
        values = np.array([table[name] for table in tables]).mean(axis=0)
        writer.writerow((name, *(f"{value:.4f}" for value in values)))
    write_text(out, stream.getvalue())
    click.echo(stream.getvalue())


if __name__ == "__main__":
    main()
