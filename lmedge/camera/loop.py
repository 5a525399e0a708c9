"""The loop: take a frame, classify it, smooth, hand the result on."""

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
from .sinks import FrameResult, Sink
from .smoothing import UNSMOOTHED, Smoother, Steadiness

# Of so many last frames the median time is taken: memory stays flat over days.
_TIMED = 10_000
_RATED = 1.0  # seconds over which the shown frame rate is measured

Clock = Callable[[], float]


class End(enum.StrEnum):
    """Why the loop ended."""

    SOURCE = "end of the source"
    LIMIT = "as many frames as asked for"
    QUIT = "quit in the window"
    STOPPED = "stopped"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraSummary:
    """What the loop did.

    `frames` were classified, `dropped` came while another was classified, `skipped` could not be
    read; the source went away `absences` times. `seconds` from the first frame's arrival to the
    end; `rate` in frames a second; `median_ms` of the classification, over the last 10,000
    frames; both 0 without a frame.
    """

    frames: int
    dropped: int
    skipped: int
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
    """Classify the frames of `source` and hand each result to every sink, in order.

    `classifier` may be a Choice, which a sink changes while the loop runs. `smoothing`: None means
    what the file's recipe says for sequences, and none for unrelated images. `frames`: end after
    so many. The sinks are closed, whatever happens; the source is the caller's. Raises SourceError
    when the source fails, LmedgeError when a sink does.
    """
    if frames is not None and frames < 1:
        raise LmedgeError(f"frames must be at least 1, not {frames}")
    if smoothing is None and not source.sequence:
        smoothing = UNSMOOTHED
    tally = _Tally(clock)
    with contextlib.ExitStack() as closing:
        for sink in sinks:
            closing.callback(sink.close)
        end = _run(classifier, source, sinks, smoothing, frames, tally)
        seconds = tally.seconds()
    return CameraSummary(
        frames=tally.frames,
        dropped=source.dropped,
        skipped=source.skipped,
        absences=source.absences,
        seconds=seconds,
        rate=tally.frames / seconds if seconds > 0 else 0.0,
        median_ms=statistics.median(tally.milliseconds) if tally.milliseconds else 0.0,
        end=end,
    )


@contextlib.contextmanager
def stopping_on_signals(source: FrameSource) -> Iterator[None]:
    """End the loop over `source` cleanly on Ctrl-C and SIGTERM; a second one ends at once.

    For the main thread of a command. The handler only sets a flag, so that no write is cut short.
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
        """Count a frame and return the rate, None as long as there is only one."""
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
    sinks: Sequence[Sink],
    smoothing: Steadiness | None,
    limit: int | None,
    tally: _Tally,
) -> End:
    classifier, smoother = None, None
    for frame in source:
        if isinstance(frame, Absence):
            wanted = [sink.absent(frame) for sink in sinks]
            if not all(wanted):
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
        # Every sink gets the last frame, also when one of them asks to end.
        wanted = [sink.take(result) for sink in sinks]
        if not all(wanted):
            return End.QUIT
        if limit is not None and tally.frames >= limit:
            return End.LIMIT
    return End.STOPPED if source.stopped else End.SOURCE
