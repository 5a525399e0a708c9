"""Steady labels: exponential smoothing of the joint probabilities, hysteresis, a minimum dwell."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..classifier import Classifier, Prediction, Reading
from ..errors import LmedgeError, ModelFileError
from ..model_file import ModelFile


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steadiness:
    """The resistance of a stream's label against changes.

    The defaults were chosen by `benchmarks/studies/label_stability.py`.

    Attributes:
        seconds: Time constant of the exponential smoothing; 0 turns all of this off.
        margin: Difference by which another label's smoothed probability must exceed that of the
            label shown, 0 to below 1.
        dwell: Seconds for which a label stays at least.

    Raises:
        LmedgeError: A value is out of range.
    """

    seconds: float = 0.3
    margin: float = 0.3
    dwell: float = 0.5

    def __post_init__(self) -> None:
        """Raise LmedgeError unless the values are in range."""
        for name in ("seconds", "dwell"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise LmedgeError(f"smoothing must be 0 or more seconds, not {value}")
        if not 0 <= self.margin < 1:
            raise LmedgeError(f"the margin of the smoothing must be in 0..1, not {self.margin}")

    @classmethod
    def of(cls, model: ModelFile) -> Steadiness:
        """Return the values in a file, the defaults if it holds none.

        Raises:
            ModelFileError: The values in the file cannot be used.
        """
        values = model.info.get("smoothing")
        if values is None:
            return cls()
        try:
            return cls(seconds=values["smoothing"], margin=values["margin"], dwell=values["dwell"])
        except (LmedgeError, LookupError, TypeError) as error:
            raise ModelFileError(
                f"{model.path}: its smoothing cannot be used ({error}); export it again"
            ) from error


UNSMOOTHED = Steadiness(seconds=0.0)


class Steady(NamedTuple):
    """A smoothed prediction; `known` is False if the stream shows none of the landmarks."""

    prediction: Prediction
    known: bool


class Smoother:
    """Average predictions of one stream, older ones weighing less, and keep the label steady.

    After `seconds` the weight of a frame has fallen to 1/e. The weight follows the time between
    frames, so that the result does not depend on the frame rate and a long gap starts anew. "Not a
    landmark" is one more label, which gets all the probability of an unknown frame.
    """

    def __init__(self, classifier: Classifier, steadiness: Steadiness) -> None:
        """Take the classifier whose labels are smoothed."""
        self._classifier = classifier
        self._steadiness = steadiness
        self._seconds = 0.0  # time of the last frame
        self._since = 0.0  # time of the last change of the label
        self._shown = -1
        self._scores: list[float] = []  # (L + 1,): the last is "no landmark"

    @property
    def still(self) -> bool:
        """True if `update` returns its input."""
        return self._steadiness.seconds == 0

    def classify(self, image: npt.NDArray[np.uint8], seconds: float) -> Steady:
        """Classify a frame and smooth the result; labels are chosen once, after the smoothing.

        Args:
            image: (H, W, 3) uint8 BGR.
            seconds: Time of the frame in the stream.
        """
        if self.still:
            prediction = self._classifier.classify(image, color="bgr")
            return Steady(prediction, prediction.known)
        reading = self._classifier.read(image, color="bgr")
        return self._smooth(reading, reading.joint, seconds, reading.known)

    def use(self, classifier: Classifier) -> None:
        """Continue with another classifier of the same file, with other threads for example."""
        self._classifier = classifier

    def update(self, prediction: Prediction, seconds: float, known: bool = True) -> Steady:
        """Smooth a prediction.

        Labels, `top` and `joint` are smoothed; the marginals stay those of the frame alone. The
        label shown leads `top`, also while another label is more probable.

        Args:
            prediction: The prediction of one frame.
            seconds: Time of the frame in the stream.
            known: False if the frame shows none of the landmarks.
        """
        if self.still:
            return Steady(prediction, known)
        return self._smooth(prediction, prediction.joint.tolist(), seconds, known)

    def _smooth(
        self, reading: Prediction | Reading, joint: list[float], seconds: float, known: bool
    ) -> Steady:
        gap = max(0.0, seconds - self._seconds)
        self._seconds = seconds
        # Plain Python, as in Classifier: after an invoke none of NumPy is in the caches.
        fresh = [*joint, 0.0] if known else [*[0.0] * len(joint), 1.0]
        if not self._scores:
            self._scores = fresh
            self._shown, self._since = fresh.index(max(fresh)), seconds
        else:
            share = -math.expm1(-gap / self._steadiness.seconds)
            self._scores = [
                old + (new - old) * share for old, new in zip(self._scores, fresh, strict=True)
            ]
            self._choose(self._scores, seconds)
        return self._result(reading, self._scores)

    def _choose(self, scores: list[float], seconds: float) -> None:
        best = scores.index(max(scores))
        if best == self._shown or seconds - self._since < self._steadiness.dwell:
            return
        if scores[best] > scores[self._shown] + self._steadiness.margin:
            self._shown, self._since = best, seconds

    def _result(self, reading: Prediction | Reading, scores: list[float]) -> Steady:
        labels = scores[:-1]
        total = sum(labels)
        joint = np.array(
            [label / total for label in labels] if total > 0 else reading.joint, np.float32
        )
        known = self._shown < len(joint)
        lead = self._shown if known else None
        return Steady(self._classifier.with_joint(reading, joint, lead=lead), known)
