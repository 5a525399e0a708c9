"""Heads in closed form against what one would pick instead, on the same features of a file.

    python -m benchmarks.studies.teach DATA... --base FILE --unknown DIR --out teach.csv

For each draw, photographs of each landmark are dealt out. At most TESTED, and at most a third, are
tested; of the others, so many are learned as the row has. Every method learns the same features. A
fifth of the landmarks is left out of a second lesson, for the columns about unknown landmarks.
Features are kept in the cache, under the digest of the backbone.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lmedge.decoding import joint_probabilities
from lmedge.errors import DataError
from lmedge.evaluation.folders import list_images, scan
from lmedge.evaluation.metrics import macro_f1
from lmedge.files import cache_folder, replacing
from lmedge.image import prepare
from lmedge.model_file import KNOWN
from lmedge.reading import decode_all
from lmedge.report.csv_files import study_command, write_csv
from lmedge.teach.backbone import FeatureGraph, FeatureReader
from lmedge.teach.base import Base
from lmedge.teach.features import FeatureSet, feature_set, unit
from lmedge.teach.fitting import Teaching, teach_heads
from lmedge.train.fitting.discriminant import discriminant

from .common import PATH, out_option, run_study

TESTED = 20  # photographs of a landmark, at most
LEFT_OUT = 5  # every fifth landmark
NEIGHBOURS = 3
NORMAL = 1.96
Rows = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Method = Callable[[Rows, Labels, Rows], Labels]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeachRow:
    """One method with so many photographs a landmark; means over the draws.

    `low` and `high` are the 95 % interval of the mean landmark F1 over draws. `seconds` is the
    processor time of learning alone. Of 100 photographs of landmarks that were left out
    `unknown_landmarks` pass, and of other things `other_things`, at the threshold that the lesson
    itself fitted; `kept` of the tested ones do.
    """

    data: str
    base: str
    each: str
    method: str
    draws: int
    photographs: int
    landmark_f1: float
    low: float
    high: float
    category_f1: float | None
    seconds: float
    judged_f1: float | None
    kept: float | None
    unknown_landmarks: float | None
    other_things: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawScore:
    """The figures of one draw, named as in a TeachRow."""

    photographs: int
    landmark_f1: float
    seconds: float
    category_f1: float | None = None
    judged_f1: float | None = None
    kept: float | None = None
    unknown_landmarks: float | None = None
    other_things: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Photographs:
    """Features of a folder: (N, 2, F) int8 of each photograph and of its mirror image."""

    rows: npt.NDArray[np.int8]
    landmarks: npt.NDArray[np.str_]
    hierarchy: dict[str, str]
    zero: int

    def lesson(self, chosen: Sequence[int], others: npt.NDArray[np.int8], views: int) -> FeatureSet:
        """Return the set of chosen photographs, with `others` as images of anything else."""
        names = self.landmarks[list(chosen)]
        present = {name: self.hierarchy[name] for name in np.unique(names).tolist()}
        return feature_set(
            present,
            {
                name: [
                    self.rows[i, v]
                    for i in chosen
                    if self.landmarks[i] == name
                    for v in range(views)
                ]
                for name in present
            },
            others,
            zero=self.zero,
            width=self.rows.shape[2],
        )


def read_features(data: Path, backbone: FeatureGraph, *, labelled: bool) -> Photographs:
    """Return the features of the photographs of a folder, from the cache if they are there."""
    images = scan(data) if labelled else []
    paths = [image.path for image in images] or list_images(data)
    path = cache_folder() / "teach" / f"{backbone.sha256[:16]}-{data.resolve().name}.npz"
    if path.exists():
        rows = np.load(path)["rows"]
    else:
        rows = np.stack(list(_views(paths, backbone)))
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, rows=rows)
    if len(rows) != len(paths):
        raise DataError(f"{path}: of other photographs; remove it")
    return Photographs(
        rows=rows,
        landmarks=np.array([image.landmark for image in images] or ["" for _ in paths]),
        hierarchy={image.landmark: image.category for image in images},
        zero=backbone.zero,
    )


def _views(paths: Sequence[Path], backbone: FeatureGraph) -> Iterator[npt.NDArray[np.int8]]:
    reader = FeatureReader(backbone)
    for _, image in decode_all(paths, backbone.size):
        if isinstance(image, DataError):
            raise image
        plain = prepare(image, backbone.size, backbone.resize)
        mirrored = np.ascontiguousarray(plain[:, ::-1])
        yield np.stack([reader.read_prepared(plain), reader.read_prepared(mirrored)])


def class_means(rows: Rows, truth: Labels, asked: Rows) -> Labels:
    """Return the landmark whose mean features have the largest cosine: imprinted weights."""
    means = np.stack([rows[truth == number].mean(axis=0) for number in range(truth.max() + 1)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray((asked @ means.T).argmax(axis=1), np.int64)


def nearest(rows: Rows, truth: Labels, asked: Rows) -> Labels:
    """Return the landmark of the nearest photographs, by the sum of their cosines."""
    cosines = asked @ rows.T
    close = np.argsort(-cosines, axis=1, kind="stable")[:, :NEIGHBOURS]
    votes = np.zeros((len(asked), int(truth.max()) + 1))
    for column in close.T:
        votes[np.arange(len(asked)), truth[column]] += cosines[np.arange(len(asked)), column]
    return np.asarray(votes.argmax(axis=1), np.int64)


def regression(strength: float) -> Method:
    """Return scikit-learn's logistic regression on features of unit variance."""

    def learn(rows: Rows, truth: Labels, asked: Rows) -> Labels:
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=strength, max_iter=300, tol=1e-3)
        )
        return np.asarray(model.fit(rows, truth).predict(asked), np.int64)

    return learn


def shrunk(rows: Rows, truth: Labels, asked: Rows) -> Labels:
    """Return what the discriminant of `lmedge train` predicts, at the shrinkage of its recipe."""
    kernel, bias = discriminant(
        rows, truth, None, int(truth.max()) + 1, shrinkage=0.3, smoothing=0.1
    )
    return np.asarray((asked @ kernel + bias).argmax(axis=1), np.int64)


OTHERS: dict[str, Method] = {
    "class means": class_means,
    f"{NEIGHBOURS} nearest neighbours": nearest,
    "logistic regression, C 0.01": regression(0.01),
    "logistic regression, C 1": regression(1.0),
    "shrunk discriminant": shrunk,
}


class Draw:
    """One way to deal the photographs out."""

    def __init__(self, found: Photographs, other: Photographs, each: int | None, seed: int) -> None:
        """Deal; `each` photographs of a landmark are learned, None for all."""
        rng = np.random.default_rng(seed)
        self._found, self._other = found, other
        self._names = sorted(found.hierarchy)
        self.learned: list[int] = []
        self.tested: list[int] = []
        for name in self._names:
            order = rng.permutation(np.flatnonzero(found.landmarks == name)).tolist()
            test = min(TESTED, len(order) // 3)
            self.tested += order[:test]
            self.learned += order[test : None if each is None else test + each]
        self._truth = np.array([self._names.index(n) for n in found.landmarks[self.tested]])
        self._left = set(rng.permutation(self._names)[: len(self._names) // LEFT_OUT].tolist())

    def compare(self, method: Method) -> DrawScore:
        """Score a method on the features alone."""
        rows = unit(self._found.rows[self.learned, 0], self._found.zero)
        truth = np.array([self._names.index(n) for n in self._found.landmarks[self.learned]])
        began = time.process_time()
        guess = method(rows, truth, unit(self._found.rows[self.tested, 0], self._found.zero))
        return DrawScore(
            photographs=len(rows),
            landmark_f1=macro_f1(self._truth, guess, len(self._names)),
            seconds=time.process_time() - began,
        )

    def teach(self, *, views: int = 1, unknown: bool = False, coarse: bool = False) -> DrawScore:
        """Score a lesson, and another one without some landmarks if `unknown`."""
        lesson = self._found.lesson(self.learned, self._other.rows[0::2, 0], views)
        began = time.process_time()
        found = teach_heads(lesson.coarsened() if coarse else lesson)
        seconds = time.process_time() - began
        guess = self._guess(found, self.tested)
        parents = found.taxonomy.parent_index
        more: dict[str, float] = self._unknown(views) if unknown else {}
        return DrawScore(
            photographs=len(self.learned),
            landmark_f1=macro_f1(self._truth, guess, len(self._names)),
            category_f1=macro_f1(
                parents[self._truth].astype(np.int64),
                parents[guess].astype(np.int64),
                len(found.taxonomy.categories),
            ),
            seconds=seconds,
            judged_f1=found.scores["landmark"].macro_f1,
            **more,
        )

    def _guess(self, found: Teaching, places: Sequence[int]) -> Labels:
        outputs = found.heads.outputs(unit(self._found.rows[list(places), 0], self._found.zero))
        joint = joint_probabilities(
            outputs["landmark"],
            outputs["category"],
            found.taxonomy.parent_index,
            found.decoding.category_weight,
        )
        return np.asarray(joint.argmax(axis=1), np.int64)

    def _unknown(self, views: int) -> dict[str, float]:
        """Return the shares that pass, of a lesson without some of the landmarks."""
        inside = [i for i in self.learned if self._found.landmarks[i] not in self._left]
        found = teach_heads(self._found.lesson(inside, self._other.rows[0::2, 0], views))

        def passing(rows: npt.NDArray[np.int8]) -> float:
            score = found.heads.outputs(unit(rows, self._found.zero))[KNOWN][:, 0]
            return 100 * float((score >= found.rejection.threshold).mean())

        left = np.isin(self._found.landmarks, list(self._left))
        kept = [i for i in self.tested if not left[i]]
        return {
            "kept": passing(self._found.rows[kept, 0]),
            "unknown_landmarks": passing(self._found.rows[left, 0]),
            "other_things": passing(self._other.rows[1::2, 0]),
        }


def measure(
    found: Photographs,
    other: Photographs,
    each: int | None,
    draws: int,
    *,
    mirror: bool = True,
    coarse: bool = False,
) -> Iterator[tuple[str, list[DrawScore]]]:
    """Yield the scores of each method, one a draw."""
    dealt = [Draw(found, other, each, seed) for seed in range(draws)]
    yield "teach", [draw.teach(unknown=not coarse) for draw in dealt]
    if coarse:
        yield "teach, with 4 bits", [draw.teach(coarse=True) for draw in dealt]
        return
    if mirror:
        yield "teach, with mirror images", [draw.teach(views=2) for draw in dealt]
    for name, method in OTHERS.items():
        yield name, [draw.compare(method) for draw in dealt]


def _row(data: str, base: str, each: int | None, method: str, scores: list[DrawScore]) -> TeachRow:
    def mean(name: str, digits: int) -> float | None:
        values = [getattr(one, name) for one in scores]
        return None if None in values else round(float(np.mean(values)), digits)

    f1 = np.array([one.landmark_f1 for one in scores])
    half = NORMAL * float(f1.std(ddof=1)) / math.sqrt(len(f1)) if len(f1) > 1 else 0.0
    return TeachRow(
        data=data,
        base=base,
        each="all" if each is None else str(each),
        method=method,
        draws=len(scores),
        photographs=round(float(np.mean([one.photographs for one in scores]))),
        landmark_f1=round(float(f1.mean()), 4),
        low=round(float(f1.mean()) - half, 4),
        high=round(float(f1.mean()) + half, 4),
        category_f1=mean("category_f1", 4),
        seconds=round(float(np.mean([one.seconds for one in scores])), 2),
        judged_f1=mean("judged_f1", 4),
        kept=mean("kept", 1),
        unknown_landmarks=mean("unknown_landmarks", 1),
        other_things=mean("other_things", 1),
    )


@click.command()
@click.argument("data", nargs=-1, required=True, type=PATH)
@click.option("--base", "bases", multiple=True, type=PATH, help="A base. Repeatable.")
@click.option("--unknown", type=PATH, required=True, help="Images of anything else.")
@click.option("--draws", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--each",
    "counts",
    multiple=True,
    type=click.IntRange(0),
    default=(2, 5, 10, 20, 0),
    show_default=True,
    help="Photographs a landmark, 0 for all. Repeatable.",
)
@click.option("--mirror/--no-mirror", default=True, help="Also learn mirror images, for a row.")
@click.option("--coarse", is_flag=True, help="Compare stored features of 8 and of 4 bits alone.")
@out_option("teach.csv")
def main(
    data: tuple[Path, ...],
    bases: tuple[Path, ...],
    unknown: Path,
    draws: int,
    counts: tuple[int, ...],
    mirror: bool,
    coarse: bool,
    out: Path,
) -> None:
    """Compare the heads of `lmedge teach` with others, on photographs that none has learned."""
    rows = []
    words = {path: f"DATA/{path.name}" for path in data} | {unknown: "DIR"}
    command = study_command(sys.argv, words | dict.fromkeys(bases, "FILE"))
    about = f"{', '.join(path.name for path in data)}; {draws} draws of each row"
    for path in bases or (None,):
        base = Base.open(path)
        other = read_features(unknown, base.backbone, labelled=False)
        for folder in data:
            found = read_features(folder, base.backbone, labelled=True)
            largest = max(np.unique(found.landmarks, return_counts=True)[1])
            for each in counts:
                if each >= largest * 2 / 3:
                    continue
                for method, scores in measure(
                    found, other, each or None, draws, mirror=mirror, coarse=coarse
                ):
                    rows.append(_row(folder.name, base.path.stem, each or None, method, scores))
                    click.echo(rows[-1])
                write_csv(out, rows, data=about, command=command)


if __name__ == "__main__":
    run_study(main)
