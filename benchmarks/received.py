"""The report of a remote host as objects of this machine.

Its facts about the file, the labels and the images are those of what was sent. Every other value is
read with its type and range, and figures that follow from others are computed again. The result
must agree with what was received, field by field.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.decoding import HEAVIEST
from lmedge.evaluation.calibration_error import BINS, ReliabilityBin, ReliabilityDiagram
from lmedge.evaluation.folders import UnknownLandmark
from lmedge.evaluation.metrics import HeadScore, score_confusion
from lmedge.evaluation.scoring import Scores
from lmedge.evaluation.unknown import UnknownImages
from lmedge.model_file import ModelFile
from lmedge.remote.payload import Payload
from lmedge.taxonomy import Taxonomy

from .accuracy import Accuracy, UnreadableImage
from .conditions import Conditions, Moment
from .details import LEVELS, LISTED, CoveragePoint, Details, Mistake, of_scores
from .latency import Latency, Spread
from .load import STAGES, Load, ThreadTime
from .report import DataFacts, Environment, FileFacts, Report
from .untrusted import Field, agree, odd, samples_of

_CORES = 1 << 16


def report_of(text: str, samples: str, payload: Payload, model: ModelFile) -> Report:
    """Return the report of one file from the texts of report.json and samples.csv.

    Raises:
        HostError: A value is not what the same benchmark writes here.
    """
    found = Field.parse(text, "report.json")
    latency = found["latency"]
    data = accuracy = None
    if payload.data is not None:
        data = DataFacts(path=Path(payload.data_there), part=payload.part)
        accuracy = _accuracy(found["accuracy"], payload, model.taxonomy)
    report = Report(
        file=FileFacts.of(model),
        environment=_environment(found["environment"]),
        conditions=_conditions(latency["conditions"]),
        latency=_latency(latency, samples),
        load=_load(latency),
        data=data,
        accuracy=accuracy,
    )
    agree(found.value, report.as_dict(), found.where)
    return report


def _environment(found: Field) -> Environment:
    names = ("python", "platform", "processor", "runtime", "lmedge", "numpy", "opencv")
    return Environment(
        **{name: found[name].text() for name in names},
        cores=found["cores"].whole(1, _CORES),
        load_average=found["load_average"].maybe(_load_average),
    )


def _load_average(found: Field) -> tuple[float, float, float]:
    one, five, fifteen = (each.number() for each in found.items(3, 3))
    return one, five, fifteen


def _conditions(found: Field) -> Conditions:
    """Return the conditions, their clocks such that the cores of others are those found."""
    busy = found["others_cores"].maybe(lambda one: one.number(0, _CORES))
    return Conditions(
        before=_moment(found["before"], None if busy is None else 0.0, 0.0),
        after=_moment(found["after"], busy, 1.0),
    )


def _moment(found: Field, busy: float | None, seconds: float) -> Moment:
    return Moment(
        governor=found["governor"].maybe(Field.text),
        frequency_mhz=found["frequency_mhz"].maybe(Field.number),
        temperature_c=found["temperature_c"].maybe(lambda one: one.number(-300.0)),
        throttled=found["throttled"].maybe(Field.whole),
        busy_seconds=busy,
        own_seconds=0.0,
        seconds=seconds,
    )


def _latency(found: Field, text: str) -> Latency:
    samples = samples_of(text, 2)
    return Latency(
        threads=found["threads"].whole(1, _CORES),
        runs=len(samples),
        warm_up=found["warm_up"].whole(),
        load_ms=found["load_ms"].milliseconds(),
        first_ms=found["first_ms"].milliseconds(),
        invoke_ms=Spread.of(samples[:, 0]),
        end_to_end_ms=Spread.of(samples[:, 1]),
        samples=samples,
    )


def _load(found: Field) -> Load:
    return Load(
        stages_ms={name: _spread(found["stages_ms"][name]) for name in STAGES},
        sweep=tuple(
            ThreadTime(
                threads=one["threads"].whole(1, _CORES),
                invoke_p50_ms=one["invoke_p50_ms"].milliseconds(),
            )
            for one in found["sweep"].items(1, 16)
        ),
        offline_per_second=found["offline_per_second"].number(),
        offline_workers=found["offline_workers"].whole(1, _CORES),
        steady_mb=found["steady_mb"].maybe(Field.number),
        peak_mb=found["peak_mb"].maybe(Field.number),
    )


def _spread(found: Field) -> Spread:
    names = [field.name for field in dataclasses.fields(Spread)]
    return Spread(**{name: found[name].number() for name in names})


def _accuracy(found: Field, payload: Payload, taxonomy: Taxonomy) -> Accuracy:
    skipped, sent, most = found["skipped"], payload.pictures_there(), len(payload.pictures)
    unknown = tuple(
        UnknownLandmark(landmark=one["landmark"].text(), pictures=one["pictures"].whole(1, most))
        for one in skipped["unknown_landmarks"].items(0, most)
    )
    unreadable = tuple(
        UnreadableImage(_picture(one["path"], sent), one["reason"].text(10_000))
        for one in skipped["unreadable"].items(0, most)
    )
    left = most - len(unreadable) - sum(one.pictures for one in unknown)
    scores = _scores(found, taxonomy, left)
    return Accuracy(
        taxonomy=taxonomy,
        scores=scores,
        details=_details(found, scores, taxonomy, sent),
        unknown_landmarks=unknown,
        unreadable=unreadable,
        images_sha256=_hash(found["images_sha256"]),
        unknown=None if payload.unknown is None else _strangers(found["strangers"]),
    )


def _hash(found: Field) -> str:
    text = found.text(64)
    if re.fullmatch("[0-9a-f]{64}", text) is None:
        odd(found.where, "is no SHA-256")
    return text


def _picture(found: Field, sent: Collection[Path]) -> Path:
    """Return the path of an image that was sent; no other is ever read here."""
    if not isinstance(found.value, str) or Path(found.value) not in sent:
        odd(found.where, "is no image that was sent")
    return Path(found.value)


def _scores(found: Field, taxonomy: Taxonomy, n: int) -> Scores:
    matrices = found["matrices"]
    parents, size = taxonomy.parent_index, len(taxonomy.categories)
    landmarks, categories = len(taxonomy.landmarks), np.zeros((size, size), np.int64)
    together = _matrix(matrices["landmark"], landmarks, n)
    np.add.at(categories, (parents[:, None], parents[None, :]), together)
    alone = {
        "landmark": _matrix(matrices["landmark_alone"], landmarks, n),
        "category": _matrix(matrices["category_alone"], size, n),
    }
    for head, truth in (("landmark", together), ("category", categories)):
        if not np.array_equal(truth.sum(axis=1), alone[head].sum(axis=1)):
            odd(matrices.where, "count different images")

    def score(landmark: npt.NDArray[np.int64], category: npt.NDArray[np.int64]) -> _Heads:
        return {
            "landmark": score_confusion(landmark, taxonomy.landmarks),
            "category": score_confusion(category, taxonomy.categories),
        }

    return Scores(
        together=score(together, categories),
        alone=score(alone["landmark"], alone["category"]),
        conflict_rate=found["conflict_rate"].share(),
        category_weight=found["category_weight"].number(0.0, HEAVIEST),
    )


_Heads = dict[str, HeadScore]


def _matrix(found: Field, size: int, n: int) -> npt.NDArray[np.int64]:
    matrix = np.zeros((size, size), np.int64)
    for one in found.items(1, max(n, 1)):
        row, column, count = one.items(3, 3)
        place = row.whole(0, size - 1), column.whole(0, size - 1)
        if matrix[place]:
            odd(one.where, "stands twice")
        matrix[place] = count.whole(1, n)
    if matrix.sum() != n:
        odd(found.where, f"does not count {n} images")
    return matrix


def _details(found: Field, scores: Scores, taxonomy: Taxonomy, sent: Collection[Path]) -> Details:
    rejection = [
        CoveragePoint(**{name: one[name].share() for name in ("threshold", "coverage", "accuracy")})
        for one in found["rejection"].items(1, len(LEVELS))
    ]
    mistakes = [
        Mistake(
            path=_picture(one["path"], sent),
            truth=_landmark(one["truth"], taxonomy),
            said=_landmark(one["said"], taxonomy),
            probability=one["probability"].share(),
            truth_probability=one["truth_probability"].share(),
        )
        for one in found["mistakes"].items(0, LISTED)
    ]
    return Details(
        **of_scores(scores),
        top3=found["top3"].share(),
        rejection=tuple(rejection),
        category_of_wrong=found["category_of_wrong"].maybe(Field.share),
        mistakes=tuple(mistakes),
        calibration={
            name: _diagram(found["calibration"][name])
            for name in ("landmark", "category", "together")
        },
    )


def _landmark(found: Field, taxonomy: Taxonomy) -> str:
    if found.value not in taxonomy.landmarks:
        odd(found.where, "is no landmark of the file")
    return str(found.value)


def _diagram(found: Field) -> ReliabilityDiagram:
    bins = [
        ReliabilityBin(
            **{name: one[name].share() for name in ("confidence", "accuracy", "share")},
            pictures=one["pictures"].whole(1),
        )
        for one in found["bins"].items(1, BINS)
    ]
    return ReliabilityDiagram(error=found["error"].share(), bins=tuple(bins))


def _strangers(found: Field) -> UnknownImages:
    shares = ("threshold", "false_accepts", "kept", "auroc")
    return UnknownImages(
        pictures=found["pictures"].whole(1),
        unreadable=found["unreadable"].whole(),
        **{name: found[name].share() for name in shares},
    )
