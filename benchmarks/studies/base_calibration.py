"""Quality of a base by the images that its ranges come from, by its features and its backbone.

    python -m benchmarks.studies.base_calibration ../shared/data/usc30 ../shared/data/landmarks35

Each backbone is quantized once for every kind of images; the base that comes along is measured as
it is. "photographs of NAME" are other images than a base may be made of, measured and never
shipped. A row is one file on one data set with all of its features, or with the average over the
last layer alone. What the features know is what heads in closed form know that were fitted without
the photograph.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from lmedge.base_file import FEATURES, BaseFile, bare_base, read_base
from lmedge.benchmarks.latency import Effort, take_turns
from lmedge.evaluation.folders import LabelledImage, scan
from lmedge.evaluation.intervals import paired_interval, ratio_interval
from lmedge.evaluation.metrics import macro_f1
from lmedge.export.base import float_backbone, int8_graph
from lmedge.image import Resize, prepare, read_image
from lmedge.report.csv_files import write_csv
from lmedge.runner import FeatureRunner
from lmedge.train.network import predict_outputs
from lmedge.trial import golden_image

from .closed_form import by_discriminant, by_ridge, unit
from .common import PATH, out_option, run_study
from .make_base import B0, CALIBRATION, KIND, LITE0, ORIGINS, WEIGHTS
from .synthetic_images import KINDS, SIZE

LAST = 1280  # features of the last layer, behind those of the widest
EFFORT = Effort(runs=300, seconds=1.0)
Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Photographs:
    """One data set: images and their mirror images in turn, (2 N, S, S, 3), and labels, (N,)."""

    name: str
    images: Images
    landmarks: Places
    categories: Places


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """The predictions that features allow: landmarks by both kinds of heads, categories, (N,)."""

    ridge: Places
    discriminant: Places
    categories: Places


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One file on one data set.

    `cosine_mean` and `cosine_least` are of its features with those of its float network;
    `difference` is landmark macro F1 of the ridge, less that of float EfficientNetB0 with all
    features, with its 95 % interval. `time_ratio` is over the base that comes along.
    """

    backbone: str
    calibration: str
    features: int
    data: str
    photographs: int
    cosine_mean: float
    cosine_least: float
    ridge_f1: float
    difference: float
    difference_low: float
    difference_high: float
    ridge_wrong: int
    discriminant_f1: float
    discriminant_wrong: int
    category_f1: float
    bytes: int | None
    time_ratio: float | None = None
    time_low: float | None = None
    time_high: float | None = None


def load(data: Path, most: int) -> Photographs:
    """Read at most so many photographs of each landmark, chosen by a fixed seed."""
    by_landmark: dict[str, list[LabelledImage]] = collections.defaultdict(list)
    for image in scan(data):
        by_landmark[image.landmark].append(image)
    rng = np.random.default_rng(0)
    chosen = [
        images[place]
        for _, images in sorted(by_landmark.items())
        for place in sorted(rng.permutation(len(images))[:most].tolist())
    ]
    images = np.stack([prepare(read_image(one.path), SIZE, Resize.SQUASH) for one in chosen])
    return Photographs(
        name=data.resolve().name,
        images=both_ways(images),
        landmarks=np.unique([one.landmark for one in chosen], return_inverse=True)[1],
        categories=np.unique([one.category for one in chosen], return_inverse=True)[1],
    )


def both_ways(images: Images) -> Images:
    """Return each image followed by its mirror image, (2 N, S, S, 3)."""
    return np.stack([images, images[:, :, ::-1]], axis=1).reshape(-1, *images.shape[1:])


def features_of(base: BaseFile, images: Images) -> Floats:
    """Return the features of (N, S, S, 3) images, (N, F), as the file computes them."""
    runner = FeatureRunner(base)
    found = np.stack([runner.run(np.ascontiguousarray(image)) for image in images])
    return (found.astype(np.float32) - base.zero_point) * np.float32(base.scale)


def known_of(features: Floats, data: Photographs) -> Known:
    """Return what features know of photographs that the heads were not given."""
    rows = unit(features)
    return Known(
        ridge=by_ridge(rows, data.landmarks),
        discriminant=by_discriminant(rows, data.landmarks),
        categories=by_ridge(rows, data.categories),
    )


class Table:
    """The rows, each compared with the first network that was measured on its data."""

    def __init__(self) -> None:
        """Begin without rows."""
        self.rows: list[Row] = []
        self._first: dict[str, Known] = {}

    def add(
        self,
        name: tuple[str, str],
        data: Photographs,
        features: Floats,
        exact: Floats,
        size: int | None,
    ) -> None:
        """Add the rows of a file on one data set, with all of its features and with the last.

        name: the backbone and its calibration. exact: features of its float network.
        """
        for width in (features.shape[1], LAST):
            own, other = features[:, -width:], exact[:, -width:]
            known = known_of(own, data)
            first = self._first.setdefault(data.name, known)
            row = _row(name, data, known, first, (unit(own) * unit(other)).sum(axis=1))
            self.rows.append(dataclasses.replace(row, features=width, bytes=size))
            click.echo(
                f"{', '.join(name)}, {data.name}, {width} features: landmark {row.ridge_f1:.3f} "
                f"({row.ridge_wrong} wrong), by the discriminant {row.discriminant_f1:.3f}"
            )


def _row(
    name: tuple[str, str], data: Photographs, known: Known, first: Known, cosines: Floats
) -> Row:
    truth, count = data.landmarks, int(data.landmarks.max()) + 1
    f1 = macro_f1(truth, known.ridge, count)
    low, high = paired_interval(truth, first.ridge, known.ridge, count)
    return Row(
        backbone=name[0],
        calibration=name[1],
        features=0,
        data=data.name,
        photographs=len(truth),
        cosine_mean=float(cosines.mean()),
        cosine_least=float(cosines.min()),
        ridge_f1=f1,
        difference=f1 - macro_f1(truth, first.ridge, count),
        difference_low=low,
        difference_high=high,
        ridge_wrong=int((known.ridge != truth).sum()),
        discriminant_f1=macro_f1(truth, known.discriminant, count),
        discriminant_wrong=int((known.discriminant != truth).sum()),
        category_f1=macro_f1(data.categories, known.categories, int(data.categories.max()) + 1),
        bytes=None,
    )


def calibrations(kinds: Sequence[str], sets: Sequence[Photographs]) -> dict[str, Images]:
    """Return the calibration images by their name in the table."""
    found = {kind: KINDS[kind](CALIBRATION) for kind in kinds}
    for one in sets:
        straight = one.images[::2]
        chosen = np.random.default_rng(1).permutation(len(straight))[:CALIBRATION]
        found[f"photographs of {one.name}"] = straight[chosen]
    return found


def measure(
    table: Table,
    backbone: str,
    weights: Path,
    sets: Sequence[Photographs],
    kinds: Mapping[str, Images],
) -> list[BaseFile]:
    """Add the rows of a backbone, float first, and return its files in the order of `kinds`."""
    ORIGINS[backbone].check(weights)
    network = float_backbone(backbone, weights, SIZE)
    exact = [predict_outputs(network, one.images)[FEATURES] for one in sets]
    for data, features in zip(sets, exact, strict=True):
        table.add((backbone, "float"), data, features, features, None)
    files = []
    for kind, images in kinds.items():
        if (backbone, kind) == (B0, KIND):
            base = read_base()  # as it comes along
        else:
            path = Path(f"{backbone}.tflite")
            base = bare_base(int8_graph(network, images), path, Resize.SQUASH)
        files.append(base)
        for data, features in zip(sets, exact, strict=True):
            found = features_of(base, data.images)
            table.add((backbone, kind), data, found, features, len(base.data))
    return files


def timed(first: BaseFile, other: BaseFile) -> tuple[float, float, float]:
    """Return the time of `other` over that of `first`, in turns on one thread, and its interval."""
    runners = [FeatureRunner(one) for one in (first, other)]
    for runner in runners:
        runner.run(golden_image(0, SIZE))
    times = take_turns([runner.invoke for runner in runners], EFFORT).astype(np.float64)
    ratio = float(np.median(times[:, 1]) / np.median(times[:, 0]))
    return ratio, *ratio_interval(times[:, 1], times[:, 0])


@click.command()
@click.argument("data", nargs=-1, required=True, type=PATH, metavar="DATA...")
@click.option("--b0", type=PATH, default=WEIGHTS / ORIGINS[B0].file, show_default=True)
@click.option("--lite0", type=PATH, default=WEIGHTS / ORIGINS[LITE0].file, show_default=True)
@click.option("--per-landmark", type=click.IntRange(2), default=20, show_default=True)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(tuple(KINDS)),
    multiple=True,
    default=(KIND, "drawings"),
    show_default=True,
    help="Images without a photographer. Repeatable; the first is also taken for Lite0.",
)
@out_option("base_calibration.csv")
def main(
    data: tuple[Path, ...],
    b0: Path,
    lite0: Path,
    per_landmark: int,
    kinds: tuple[str, ...],
    out: Path,
) -> None:
    """Quantize both backbones and write the table of their files."""
    sets, table = [load(one, per_landmark) for one in data], Table()
    measure(table, B0, b0, sets, calibrations(kinds, sets))
    (lite,) = measure(table, LITE0, lite0, sets, calibrations(kinds[:1], ()))
    ratio, low, high = timed(read_base(), lite)
    rows = [
        dataclasses.replace(row, time_ratio=ratio, time_low=low, time_high=high)
        if row.backbone == LITE0 and row.bytes is not None
        else row
        for row in table.rows
    ]
    text = ", ".join(f"{len(one.landmarks)} of {one.name}" for one in sets)
    write_csv(out, rows, data=f"{text}, {per_landmark} of each landmark at most")
    click.echo(f"{LITE0} takes {ratio:.2f} ({low:.2f} to {high:.2f}) of the time of {B0}")
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
