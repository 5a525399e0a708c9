"""`--collect`: keep frames that are worth learning from, and a uniform random share to measure on.

The two are apart. Only the random share gives an unbiased figure of the field: each frame has the
same chance to be drawn, nothing of the frame decides about it, and of too many the oldest go. The
others are unlike what is there. Of too many the oldest go of which the network was certain.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import queue
import random
import threading
import time
from pathlib import Path

import numpy as np

from ..decoding import joint_probabilities
from ..errors import LmedgeError
from ..field.collected import CONFLICT, RANDOM, UNDECIDED, UNKNOWN_REASON
from ..field.store import CollectedStore, NewImage
from .choice import Choice
from .frames import Absence
from .loop import Clock
from .sinks import FrameResult

ONE_IN = 1000  # frames, of which one at random is kept
RATE = 60  # images an hour that are kept to learn from
AT_ONCE = 10.0  # of these, before the rate counts
UNKNOWN_SHARE = 0.5  # of both that images without a known landmark may take
MEGABYTES = 500
MARGIN = 0.2  # difference of the two best landmarks, below which a frame is undecided
LOOK_SECONDS = 1.0  # between two frames that are compared with what is there
BURST_GAP, BURST_LONGEST = 60.0, 600.0  # seconds
_WAITING = 4  # frames that wait for the thread
_PAUSE = 60.0  # seconds between two attempts on a full disk
_LONGEST_CLOSE = 30.0  # seconds for what waits at the end
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CollectOptions:
    """The bounds of collecting.

    Attributes:
        one_in: Of so many frames one is drawn at random, 0 for none.
        rate: Images an hour to learn from, at most.
        megabytes: Size of the folder, at most.
        random_share: Share of that size which the random ones may take.
    """

    one_in: int = ONE_IN
    rate: float = RATE
    megabytes: float = MEGABYTES
    random_share: float = 0.25

    def __post_init__(self) -> None:
        """Raise LmedgeError unless the values are in range."""
        if self.one_in < 0 or self.rate < 0 or self.megabytes <= 0:
            raise LmedgeError("--collect: a rate or a size is below 0; choose another one")


class _Allowance:
    """How many images may be kept now: so many at once, and so many an hour behind them."""

    def __init__(self, rate: float, most: float, now: float) -> None:
        self._rate, self._most = rate, max(1.0, min(most, rate))
        self._had, self._filled = min(most, rate), now
        self.used = self._seen = 0  # counted by another thread, and read here

    def left(self, now: float) -> float:
        """Return the number, which may be below 1."""
        used, grown = self.used, (now - self._filled) * self._rate / 3600
        self._had = min(self._most, self._had - (used - self._seen) + grown)
        self._seen, self._filled = used, now
        return self._had


class Collector:
    """Hand frames to a thread that compares, encodes and stores them.

    The loop draws, and looks at the outputs of a frame at most once a second. A full disk pauses
    the collecting and reports it once; the labels go on.
    """

    goes_on = True

    def __init__(
        self,
        folder: Path,
        choice: Choice,
        camera: str,
        *,
        options: CollectOptions | None = None,
        seed: int | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """Open the folder, which is made if it is missing.

        Args:
            folder: The folder of the images.
            choice: The file in use.
            camera: Name of the source, without secrets.
            options: The bounds.
            seed: Seed of the draws; None takes one of the system's.
            clock: Function that returns seconds.

        Raises:
            LmedgeError: The folder cannot be made.
        """
        self._choice, self._options = choice, options or CollectOptions()
        self._draw = random.Random(seed)
        self._clock = clock
        self._store = CollectedStore(
            folder,
            camera=camera,
            most_bytes=int(self._options.megabytes * 1e6),
            random_share=self._options.random_share,
            one_in=self._options.one_in,
        )
        self._next_look = 0.0
        rate = self._options.rate
        self._rate = _Allowance(rate, AT_ONCE, self._clock())
        self._rate_unknown = _Allowance(
            UNKNOWN_SHARE * rate, UNKNOWN_SHARE * AT_ONCE, self._clock()
        )
        self._burst, self._burst_begun, self._burst_last = 0, 0.0, -BURST_GAP
        self._burst_label = ""
        self.lost = 0  # random ones for which there was no room in the queue
        self._waiting: queue.Queue[NewImage | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._work, name="collect", daemon=True)
        self._thread.start()

    def take(self, result: FrameResult) -> bool:
        """Decide about a frame, and leave it for the thread if it is wanted."""
        one_in = self._options.one_in
        drawn = one_in > 0 and self._draw.random() * one_in < 1.0
        now = self._clock()
        looked = now >= self._next_look and self._rate.left(now) >= 1.0
        if not (drawn or looked):
            return True
        image = self._described(result, drawn)
        full = not image.prediction.known and self._rate_unknown.left(now) < 1.0
        if not image.reasons or (full and not drawn):
            return True
        if looked and not drawn:
            self._next_look = now + LOOK_SECONDS
        try:
            self._waiting.put_nowait(image)
        except queue.Full:
            self.lost += drawn
        return True

    def absent(self, absence: Absence) -> bool:
        """Do nothing: there is no frame."""
        return True

    def close(self) -> None:
        """Store what waits."""
        with contextlib.suppress(queue.Full):  # the disk hangs
            self._waiting.put(None, timeout=_LONGEST_CLOSE)
            self._thread.join(_LONGEST_CLOSE)
        if self.lost:
            _log.info("--collect: %d frames drawn at random came too fast to be kept", self.lost)

    def _described(self, result: FrameResult, drawn: bool) -> NewImage:
        """Return the frame with its own prediction, not smoothed, and the reasons to keep it."""
        classifier, smoothed = self._choice.current, result.prediction
        taxonomy = classifier.taxonomy
        joint = joint_probabilities(
            smoothed.landmark_marginal,
            smoothed.category_marginal,
            taxonomy.parent_index,
            classifier.decoding.category_weight,
        )
        prediction = classifier.with_joint(smoothed, joint)
        best = np.sort(joint)[::-1][:2]
        reasons = [RANDOM] if drawn else []
        if not prediction.known:
            reasons.append(UNKNOWN_REASON)
        elif len(best) > 1 and best[0] - best[1] < MARGIN:
            reasons.append(UNDECIDED)
        category = taxonomy.parent_index[int(smoothed.landmark_marginal.argmax())]
        if category != int(smoothed.category_marginal.argmax()):
            reasons.append(CONFLICT)
        return NewImage(
            frame=result.frame.image,
            seconds=result.frame.seconds,
            reasons=tuple(reasons),
            burst=self._burst_of(result),
            prediction=prediction,
            taxonomy=taxonomy,
            model=classifier.model,
        )

    def _burst_of(self, result: FrameResult) -> int:
        """Return the number of the burst: frames of one label, without a long gap between them."""
        at, label = result.frame.seconds, result.prediction.landmark if result.known else ""
        if (
            result.frame.name is not None
            or label != self._burst_label
            or not 0 <= at - self._burst_last < BURST_GAP
            or at - self._burst_begun > BURST_LONGEST
        ):
            self._burst += 1
            self._burst_label, self._burst_begun = label, at
        self._burst_last = at
        return self._burst

    def _work(self) -> None:
        paused = -1.0
        while (image := self._waiting.get()) is not None:
            if self._clock() < paused:
                continue
            try:
                stored = self._store.add(image)
            except Exception as error:  # whatever an image brings about: the thread lives on
                if paused < 0:
                    _log.warning("--collect: %s; collecting pauses, the labels go on", error)
                paused = self._clock() + _PAUSE
                continue
            if paused >= 0:
                _log.info("--collect: goes on")
                paused = -1.0
            if stored and not image.is_random:
                self._rate.used += 1
                self._rate_unknown.used += not image.prediction.known
