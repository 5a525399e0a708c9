"""Sinks of results: JSON lines and plain lines; window.py and recorder.py have others."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TextIO

from ..classifier import Prediction
from ..errors import LmedgeError
from ..harmless import harmless, json_text
from ..machine import processor_celsius
from ..rejection import UNKNOWN
from ..streams import ReaderLeftError, write_problem
from .frames import Absence, BgrImage, Frame
from .overlay import annotate

_CELSIUS_SECONDS = 2.0
_log = logging.getLogger(__name__)


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
    """A receiver of results: a window, a file, a terminal.

    A sink that fails raises LmedgeError or OSError. It is asked again if its attribute `goes_on`
    is there and true; otherwise it is closed.
    """

    def take(self, result: FrameResult) -> bool:
        """Take one result; return False to end the loop."""

    def absent(self, absence: Absence) -> bool:
        """Show that a live source has no frames at the moment; return False to end the loop."""

    def close(self) -> None:
        """Finish; called once, also after an error."""


class JsonLines:
    """One JSON object a line, flushed at once; `docs/formats.md` names its fields."""

    goes_on = True  # once there is space again

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

    goes_on = True

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
        place = f"{frame.seconds:9.2f} s" if frame.name is None else harmless(frame.name)
        labels = (
            f"{harmless(prediction.landmark)} {prediction.landmark_probability:.1%}, "
            f"{harmless(prediction.category)} {prediction.category_probability:.1%}"
        )
        self._stream.write(f"{place}  {labels if result.known else UNKNOWN}\n")
        self._stream.flush()
        self._shown = shown
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


class SinkGroup:
    """The sinks of a loop. One that fails is reported in a line, and the others go on."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        """Take the sinks, in the order in which they receive results."""
        self._sinks = list(sinks)
        self._failing: list[Sink] = []  # the last result was not taken, the next may be
        self._failures: list[LmedgeError | OSError] = []

    def take(self, result: FrameResult) -> bool:
        """Pass a result to all; return False to end. Raises the error if no sink is left."""
        return self._ask(lambda sink: sink.take(result))

    def absent(self, absence: Absence) -> bool:
        """Pass an absence to all; return False to end."""
        return self._ask(lambda sink: sink.absent(absence))

    def _ask(self, question: Callable[[Sink], bool]) -> bool:
        wanted = True  # every sink gets the last frame, also when one of them asks to end
        for sink in list(self._sinks):
            try:
                wanted = question(sink) and wanted
            except (LmedgeError, OSError) as error:
                self._failed(sink, error)
            else:
                if sink in self._failing:
                    self._failing.remove(sink)
        return wanted

    def _failed(self, sink: Sink, error: LmedgeError | OSError) -> None:
        goes_on = getattr(sink, "goes_on", False) and not isinstance(error, BrokenPipeError)
        others = [one for one in self._sinks if one is not sink and one not in self._failing]
        if not others:
            raise error
        if not goes_on:
            self._sinks.remove(sink)
            with contextlib.suppress(LmedgeError, OSError):
                sink.close()
        elif sink in self._failing:
            return
        else:
            self._failing.append(sink)
        if not isinstance(error, ReaderLeftError):
            self._failures.append(error)
            _log.error("%s; the other outputs go on", _line(error))

    def close(self, *, report: bool = True) -> None:
        """Close all. Raises an error of closing, or with `report` the first error before."""
        with contextlib.ExitStack() as closing:
            if report and self._failures:
                closing.callback(self._report)
            for sink in self._sinks:
                closing.callback(sink.close)

    def _report(self) -> None:
        raise LmedgeError(_line(self._failures[0]))


def _line(error: LmedgeError | OSError) -> str:
    return write_problem(error) if isinstance(error, OSError) else str(error)
