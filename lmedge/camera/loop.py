"""The loop: take a frame, classify it, smooth the result, pass it to the sinks."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from ..classifier import Classifier
from ..errors import LmedgeError
from .choice import Choice
from .frames import Absence, FrameSource
from .sinks import FrameResult, Sink, SinkGroup
from .smoothing import UNSMOOTHED, Smoother, Steadiness

# The median time is that of so many last frames, so that memory stays constant over days.
_TIMED = 10_000
_RATED = 1.0  # seconds over which the shown frame rate is measured

Clock = Callable[[], float]


class End(enum.StrEnum):
    """The reason for the end of the loop."""

    SOURCE = "end of the source"
    LIMIT = "as many frames as asked for"
    QUIT = "quit in the window"
    STOPPED = "stopped"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraSummary:
    """The counts and times of a finished loop.

    Attributes:
        frames: Frames that were classified.
        dropped: Frames that came while another was classified.
        skipped: Images that could not be read.
        damaged: Frames that arrived cut or damaged and were left out.
        absences: How often the source went away.
        seconds: Time from the arrival of the first frame to the end.
        rate: Frames a second, 0 without a frame.
        median_ms: Median milliseconds of a classification, over the last 10,000 frames; 0 without
            a frame.
        end: The reason for the end.
    """

    frames: int
    dropped: int
    skipped: int
    damaged: int
    absences: int
    seconds: float
    rate: float
    median_ms: float
    end: End


def run_camera(
    classifier: Classifier | Choice,
    source: FrameSource,
    sinks: Sequence[Sink] = (),
    *,
    smoothing: Steadiness | None = None,
    frames: int | None = None,
    clock: Clock = time.perf_counter,
) -> CameraSummary:
    """Classify the frames of a source and pass each result to every sink, in order.

    Args:
        classifier: A classifier, or a Choice that a sink may change while the loop runs.
        source: The frames; the caller closes it.
        sinks: Receivers of the results, which are closed in any case.
        smoothing: Resistance of the label against changes. None takes the values in the file for
            sequences, and no smoothing for unrelated images.
        frames: Number of frames after which the loop ends; None has no limit.
        clock: Function that returns seconds.

    Returns:
        Counts, times and the reason for the end.

    Raises:
        SourceError: The source fails.
        LmedgeError: A sink fails, or `frames` is below 1. While other sinks work, the loop goes on
            and the error comes at its end.
    """
    if frames is not None and frames < 1:
        raise LmedgeError(f"frames must be at least 1, not {frames}")
    if smoothing is None and not source.sequence:
        smoothing = UNSMOOTHED
    tally = _Tally(clock)
    outputs = SinkGroup(sinks)
    try:
        end = _run(classifier, source, outputs, smoothing, frames, tally)
        seconds = tally.seconds()
    except BaseException:
        outputs.close(report=False)
        raise
    outputs.close()
    return CameraSummary(
        frames=tally.frames,
        dropped=source.dropped,
        skipped=source.skipped,
        damaged=source.damaged,
        absences=source.absences,
        seconds=seconds,
        rate=tally.frames / seconds if seconds > 0 else 0.0,
        median_ms=statistics.median(tally.milliseconds) if tally.milliseconds else 0.0,
        end=end,
    )


@contextlib.contextmanager
def stopping_on_signals(source: FrameSource) -> Iterator[None]:
    """End the loop over `source` cleanly on Ctrl-C and SIGTERM; a second signal ends at once.

    Use it in the main thread. The handler only sets a flag, so that no write is cut short.
    """

    def handler(number: int, stack: FrameType | None) -> None:
        source.stop()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class _Tally:
    """Counts and times; the rate shown is that of about the last second."""

    def __init__(self, clock: Clock) -> None:
        self.frames = 0
        self.milliseconds: collections.deque[float] = collections.deque(maxlen=_TIMED)
        self._clock = clock
        self._start: float | None = None
        self._done: collections.deque[float] = collections.deque()

    def arrived(self) -> None:
        if self._start is None:
            self._start = self._clock()

    def classified(self, milliseconds: float) -> float | None:
        """Count a frame and return the rate, None while there is only one frame."""
        self.frames += 1
        self.milliseconds.append(milliseconds)
        now = self._clock()
        self._done.append(now)
        while len(self._done) > 2 and now - self._done[0] > _RATED:
            self._done.popleft()
        span = now - self._done[0]
        return (len(self._done) - 1) / span if span > 0 else None

    def seconds(self) -> float:
        return 0.0 if self._start is None else self._clock() - self._start


def _run(
    choice: Classifier | Choice,
    source: FrameSource,
    outputs: SinkGroup,
    smoothing: Steadiness | None,
    limit: int | None,
    tally: _Tally,
) -> End:
    classifier, smoother = None, None
    for frame in source:
        if isinstance(choice, Choice):
            choice.advance()  # here alone, so that all sinks see the file of the frame's labels
        if isinstance(frame, Absence):
            if not outputs.absent(frame):
                return End.QUIT
            continue
        tally.arrived()
        current = choice.current if isinstance(choice, Choice) else choice
        if smoother is None or current is not classifier:
            if smoother is not None and classifier and current.model is classifier.model:
                smoother.use(current)
            else:  # another file has other labels
                smoother = Smoother(current, smoothing or Steadiness.of(current.model))
            classifier = current
        steady = smoother.classify(frame.image, frame.seconds)
        rate = tally.classified(steady.prediction.milliseconds)
        result = FrameResult(
            frame=frame, prediction=steady.prediction, frames_per_second=rate, known=steady.known
        )
        if not outputs.take(result):
            return End.QUIT
        if limit is not None and tally.frames >= limit:
            return End.LIMIT
    return End.STOPPED if source.stopped else End.SOURCE
