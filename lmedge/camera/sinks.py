"""Sinks of results: JSON lines and plain lines; window.py and recorder.py have others."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Protocol, TextIO

from ..classifier import Prediction
from ..harmless import harmless, json_text
from ..machine import processor_celsius
from ..rejection import UNKNOWN
from .frames import Absence, BgrImage, Frame
from .overlay import annotate

_CELSIUS_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameResult:
    """A frame and its prediction, smoothed if smoothing is on.

    Attributes:
        frame: The frame.
        prediction: The labels and probabilities.
        frames_per_second: Rate over the last second; None for the first frame.
        known: False if the frame shows none of the landmarks; the labels are then the nearest ones
            and are not shown.
    """

    frame: Frame
    prediction: Prediction
    frames_per_second: float | None
    known: bool = True

    @functools.cached_property
    def annotated(self) -> BgrImage:
        """The frame with the overlay, (H, W, 3) uint8 BGR, drawn once for all sinks."""
        return annotate(
            self.frame.image,
            self.prediction,
            frames_per_second=self.frames_per_second,
            known=self.known,
            celsius=_celsius(int(time.monotonic() / _CELSIUS_SECONDS)),
        )


@functools.lru_cache(maxsize=1)
def _celsius(period: int) -> float | None:
    """Return the temperature, read once a `period` since that takes as long as the drawing."""
    return processor_celsius()


class Sink(Protocol):
    """A receiver of results: a window, a file, a terminal."""

    def take(self, result: FrameResult) -> bool:
        """Take one result; return False to end the loop."""

    def absent(self, absence: Absence) -> bool:
        """Show that a live source has no frames at the moment; return False to end the loop."""

    def close(self) -> None:
        """Finish; called once, also after an error."""


class JsonLines:
    """One JSON object a line, flushed at once; `docs/formats.md` names its fields."""

    def __init__(self, stream: TextIO) -> None:
        """Take an open text stream, which stays open."""
        self._stream = stream

    def take(self, result: FrameResult) -> bool:
        """Write one line."""
        self._stream.write(result_as_json(result) + "\n")
        self._stream.flush()
        return True

    def absent(self, absence: Absence) -> bool:
        """Write nothing: there is no frame."""
        return True

    def close(self) -> None:
        """Do nothing, since every line is flushed."""


class LabelLines:
    """A plain line each time the landmark changes, and for every image with a name."""

    def __init__(self, stream: TextIO) -> None:
        """Take an open text stream, which stays open."""
        self._stream = stream
        self._shown: tuple[str, bool] | None = None

    def take(self, result: FrameResult) -> bool:
        """Write a line if the landmark changed or the image has a name."""
        frame, prediction = result.frame, result.prediction
        shown = (prediction.landmark if result.known else "", result.known)
        if frame.name is None and shown == self._shown:
            return True
        self._shown = shown
        place = f"{frame.seconds:9.2f} s" if frame.name is None else harmless(frame.name)
        labels = (
            f"{harmless(prediction.landmark)} {prediction.landmark_probability:.1%}, "
            f"{harmless(prediction.category)} {prediction.category_probability:.1%}"
        )
        self._stream.write(f"{place}  {labels if result.known else UNKNOWN}\n")
        self._stream.flush()
        return True

    def absent(self, absence: Absence) -> bool:
        """Write nothing: there is no frame."""
        return True

    def close(self) -> None:
        """Do nothing, since every line is flushed."""


def result_as_json(result: FrameResult) -> str:
    """Return a result as one line of JSON: time in seconds, probabilities in 0..1."""
    frame, prediction = result.frame, result.prediction
    line = {"time": round(frame.seconds, 3), "frame": frame.index}
    named = {} if frame.name is None else {"name": frame.name}
    answer = {**line, **named, **prediction.as_dict(), "known": result.known}
    return json_text(answer)
