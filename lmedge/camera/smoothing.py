"""Steady labels: exponential smoothing of the joint probabilities over time."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lmedge.classifier import Classifier, Prediction
from lmedge.errors import LmedgeError

DEFAULT_SECONDS = 0.5


class Smoother:
    """Average predictions of one stream, older ones weighing less.

    After `time_constant` seconds a frame weighs 1/e of what it did. The weight follows the time
    between frames, so the result does not depend on the frame rate, and a long gap starts anew.
    """

    def __init__(self, classifier: Classifier, time_constant: float = DEFAULT_SECONDS) -> None:
        """`classifier` knows the labels. Raises LmedgeError unless the constant is 0 or more."""
        if not (time_constant >= 0 and math.isfinite(time_constant)):
            raise LmedgeError(f"smoothing must be 0 or more seconds, not {time_constant}")
        self._classifier = classifier
        self._time_constant = time_constant
        self._seconds = 0.0
        self._joint: npt.NDArray[np.float64] | None = None

    def update(self, prediction: Prediction, seconds: float) -> Prediction:
        """Return `prediction` with labels and `joint` smoothed; `seconds`: its time in the stream.

        The marginals of the two heads stay those of the frame alone.
        """
        if self._time_constant == 0:
            return prediction
        fresh = prediction.joint.astype(np.float64)
        if self._joint is None:
            self._joint = fresh
        else:
            gap = max(0.0, seconds - self._seconds)
            weight = -math.expm1(-gap / self._time_constant)
            self._joint = self._joint + weight * (fresh - self._joint)
        self._seconds = seconds
        return self._classifier.with_joint(prediction, self._joint.astype(np.float32))
