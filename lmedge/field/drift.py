"""Drift: what a file predicts in the field over time, against photographs it was tested on.

Only the uniform random share of the collected images counts. All are classified anew, so that
images that another file collected are judged by this one. The images of a burst are one scene: an
interval counts bursts.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..classifier import Classifier
from ..errors import DataError
from ..evaluation.folders import scan
from ..evaluation.listing import list_images
from ..reading import decode_all
from .collected import CollectedImage, list_collected
from .periods import FieldEstimate, FieldPeriod, Interval, SeenImage, own_reference, period_of

DAY, WEEK, MONTH = "day", "week", "month"
PERIODS = (DAY, WEEK, MONTH)
NO_TIME = "no clock"  # of images without a time, or with one to come


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldChange:
    """The newest period less what it is compared with; positive is worse for both figures."""

    figure: str
    value: float
    interval: Interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drift:
    """The periods of a folder, and what they are compared with.

    Attributes:
        file: Name of the .tflite file.
        sha256: Its digest.
        reference: The photographs; None if there are none to compare with.
        periods: In the order of time; images without a time, or of a day to come, are last.
        left_out: Collected images that are not of the random share.
        unreadable: Images and JSON files that cannot be used.
    """

    file: str
    sha256: str
    reference: FieldPeriod | None
    periods: Sequence[FieldPeriod]
    left_out: int
    unreadable: int

    @property
    def newest(self) -> FieldPeriod:
        """The newest period with a time; without any, the images without one."""
        timed = [one for one in self.periods if one.name != NO_TIME]
        return (timed or list(self.periods))[-1]

    def changes(self) -> list[FieldChange]:
        """Return how much worse the newest period is than the reference."""
        if self.reference is None:
            return []
        new, old = self.newest, self.reference
        found = [_change("share of unknown images", new.unknown, old.unknown)]
        if new.confidence is not None and old.confidence is not None:
            found.append(_change("fall of confidence", old.confidence, new.confidence))
        return found

    def worse(self, limit: float) -> list[FieldChange]:
        """Return the changes that exceed a limit beyond doubt."""
        return [one for one in self.changes() if one.interval[0] > limit]

    def as_dict(self) -> dict[str, Any]:
        """Return the content of drift.json."""
        return {
            "schema": 1,
            "file": self.file,
            "sha256": self.sha256,
            "reference": None if self.reference is None else self.reference.as_dict(),
            "periods": [one.as_dict() for one in self.periods],
            "changes": [dataclasses.asdict(one) for one in self.changes()],
            "left_out": self.left_out,
            "unreadable": self.unreadable,
        }


def measure_drift(
    classifier: Classifier,
    folder: Path,
    *,
    data: Path | None = None,
    part: str | None = None,
    period: str | None = None,
) -> Drift:
    """Classify the random share of a folder of collected images.

    Args:
        classifier: Of the file.
        folder: The folder of `lmedge camera --collect`, or a copy of it.
        data: Photographs to compare with, labelled or not; None takes what the file knows of its
            own test photographs.
        part: The part of these photographs.
        period: DAY, WEEK or MONTH; None chooses by the time from the first image to the last.

    Raises:
        DataError: There are no images of the random share.
    """
    found = list(list_collected(folder))
    images = [one for one in found if isinstance(one, CollectedImage)]
    drawn = _random_share(folder, found)
    bursts = {one.path: one.burst for one in drawn}
    seen = _classified(classifier, [one.path for one in drawn], bursts)
    kind = period or _period_of([day for one in drawn if (day := _day(one.time)) is not None])
    grouped: dict[str, list[SeenImage]] = defaultdict(list)
    for one in drawn:
        if one.path in seen:
            grouped[_name(_day(one.time), kind)].append(seen[one.path])
    if not grouped:
        raise DataError(f"{folder}: none of the {len(drawn)} random images can be read")
    order = sorted(grouped, key=lambda name: (name == NO_TIME, name))
    reference = own_reference(classifier.model)
    if data is not None:
        paths = [one.path for one in scan(data, part)] if data.is_dir() else list_images(data)
        reference = period_of(data.name, list(_classified(classifier, paths, {}).values()))
    return Drift(
        file=classifier.model.path.name,
        sha256=classifier.model.sha256,
        reference=reference,
        periods=[period_of(name, grouped[name]) for name in order],
        left_out=len(images) - len(drawn),
        unreadable=len(found) - len(images) + len(drawn) - len(seen),
    )


def _random_share(
    folder: Path, found: Sequence[CollectedImage | DataError]
) -> list[CollectedImage]:
    """Return the images drawn at random, oldest first. Raises DataError without any."""
    images = [one for one in found if isinstance(one, CollectedImage)]
    drawn = sorted((one for one in images if one.is_random), key=lambda one: one.number)
    if drawn:
        return drawn
    if images:
        raise DataError(
            f"{folder}: holds {len(images)} collected images and none of the random share, which "
            "alone measures the field; collect with --collect-one-in above 0"
        )
    if found:
        raise DataError(
            f"{folder}: none of its {len(found)} collected images can be used ({found[0]})"
        )
    raise DataError(
        f"{folder}: holds no collected images; name the folder of `lmedge camera --collect`, or "
        "where `lmedge fleet pull` has put it"
    )


def _classified(
    classifier: Classifier, paths: Sequence[Path], bursts: Mapping[Path, str]
) -> dict[Path, SeenImage]:
    """Return the predictions of the images that can be read; without a burst, each is a scene."""
    found = {}
    for path, image in decode_all(paths, classifier.model.size):
        if isinstance(image, DataError):
            continue
        prediction = classifier.classify(image)
        found[path] = SeenImage(
            burst=bursts.get(path, str(path)),
            landmark=prediction.landmark,
            category=prediction.category,
            known=prediction.known,
            probability=prediction.landmark_probability,
        )
    return found


def _change(figure: str, high: FieldEstimate, low: FieldEstimate) -> FieldChange:
    return FieldChange(figure=figure, value=high.value - low.value, interval=high.difference(low))


def _day(time: str | None) -> datetime.date | None:
    """Return the day of a time, None without one and for a day to come: a clock was wrong."""
    try:
        day = None if time is None else datetime.datetime.fromisoformat(time).date()
    except ValueError:
        return None
    tomorrow = datetime.datetime.now().date() + datetime.timedelta(days=1)  # of another time zone
    return None if day is None or day > tomorrow else day


def _period_of(days: Iterable[datetime.date]) -> str:
    """Return the shortest period of which there are at most about 20."""
    ordered = sorted(days)
    span = (ordered[-1] - ordered[0]).days if ordered else 0
    return DAY if span <= 20 else WEEK if span <= 140 else MONTH


def _name(day: datetime.date | None, kind: str) -> str:
    """Return the first day of a day's period."""
    if day is None:
        return NO_TIME
    if kind == WEEK:
        day -= datetime.timedelta(days=day.weekday())
    return day.replace(day=1).isoformat() if kind == MONTH else day.isoformat()
