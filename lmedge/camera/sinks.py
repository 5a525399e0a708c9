"""Where results go: JSON lines and plain lines here; the window and the recording next door."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from typing import Protocol, TextIO

from ..classifier import Prediction
from ..machine import processor_celsius
from ..rejection import UNKNOWN
from .frames import Absence, BgrImage, Frame
from .overlay import annotate

_CELSIUS_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameResult:
    """A frame and what is in it, smoothed if asked for; `frames_per_second` over the last second.

    The rate is None for the first frame. `known` is False when the frame shows no landmark that
    the file knows; the labels are then its best guess and are not shown.
    """

    frame: Frame
    prediction: Prediction
    frames_per_second: float | None
    known: bool = True

    @functools.cached_property
    def annotated(self) -> BgrImage:
        """The frame with the overlay, (H, W, 3) uint8 BGR; drawn once, for all sinks."""
        return annotate(
            self.frame.image,
            self.prediction,
            frames_per_second=self.frames_per_second,
            known=self.known,
            celsius=_celsius(int(time.monotonic() / _CELSIUS_SECONDS)),
        )


@functools.lru_cache(maxsize=1)
def _celsius(period: int) -> float | None:
    """Ask for the temperature once a `period`: it takes as long as the drawing."""
    return processor_celsius()


class Sink(Protocol):
    """Something that takes results: a window, a file, a terminal."""

    def take(self, result: FrameResult) -> bool:
        """Take one result; False asks the loop to end."""

    def absent(self, absence: Absence) -> bool:
        """Show that a live source gives no frames at the moment; False asks the loop to end."""

    def close(self) -> None:
        """Finish; called once, whatever ended the loop."""


class JsonLines:
    """One JSON object a line, flushed at once; `docs/formats.md` names its fields."""

    def __init__(self, stream: TextIO) -> None:
        """`stream` is written to and left open."""
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
        """Do nothing: every line is out already."""


class LabelLines:
    """A plain line each time the landmark changes, and for every image that has a name."""

    def __init__(self, stream: TextIO) -> None:
        """`stream` is written to and left open."""
        self._stream = stream
        self._shown: tuple[str, bool] | None = None

    def take(self, result: FrameResult) -> bool:
        """Write a line if there is something new."""
        frame, prediction = result.frame, result.prediction
        shown = (prediction.landmark if result.known else "", result.known)
        if frame.name is None and shown == self._shown:
            return True
        self._shown = shown
        place = f"{frame.seconds:9.2f} s" if frame.name is None else frame.name
        labels = (
            f"{prediction.landmark} {prediction.landmark_probability:.1%}, "
            f"{prediction.category} {prediction.category_probability:.1%}"
        )
        self._stream.write(f"{place}  {labels if result.known else UNKNOWN}\n")
        self._stream.flush()
        return True

    def absent(self, absence: Absence) -> bool:
        """Write nothing: there is no frame."""
        return True

    def close(self) -> None:
        """Do nothing: every line is out already."""


def result_as_json(result: FrameResult) -> str:
    """Return a result as one line of JSON: time in seconds, probabilities in 0..1."""
    frame, prediction = result.frame, result.prediction
    line = {"time": round(frame.seconds, 3), "frame": frame.index}
    named = {} if frame.name is None else {"name": frame.name}
    answer = {**line, **named, **prediction.as_dict(), "known": result.known}
    return json.dumps(answer, ensure_ascii=False)
