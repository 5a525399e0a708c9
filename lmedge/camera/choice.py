"""The file and the thread count in use, which the keys 1 to 9 of the window change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from .. import machine
from ..classifier import Classifier
from ..errors import LmedgeError
from ..model_file import ModelFile

SECONDS = 2.0  # between measurements of other processes
_DOWN, _UP = 0.5, 0.25  # cores that may lack to keep a thread count, and to go back to it


class Sharing:
    """The thread count that the machine has free cores for.

    It is `most` on an idle machine and fewer beside other busy processes. If the system does not
    report their work, it stays at `most`.
    """

    def __init__(
        self,
        most: int,
        *,
        cores: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[], float | None] = machine.busy_seconds,
        own: Callable[[], float] = time.process_time,
    ) -> None:
        """Take the cores, and functions of the busy seconds of all processes and of our own."""
        self._most = self._now = most
        self._cores = cores or os.cpu_count() or 1
        self._clock, self._busy, self._own = clock, busy, own
        self._before = (clock(), busy(), own())

    def threads(self) -> int:
        """Return the thread count for the next frame, measured anew every SECONDS."""
        at, busy, own = self._before
        seconds = self._clock() - at
        if seconds < SECONDS:
            return self._now
        now = (at + seconds, self._busy(), self._own())
        self._before = now
        if busy is not None and now[1] is not None:
            others = max(0.0, (now[1] - busy - (now[2] - own)) / seconds)
            self._now = self._fitting(self._cores - others)
        return self._now

    def _fitting(self, free: float) -> int:
        """Return the highest power of two up to `most` that `free` cores have room for."""
        count = self._most
        while count > 1 and free < count - (_DOWN if count <= self._now else _UP):
            count //= 2
        return count


class Choice:
    """One classifier in use, of several files or with several thread counts.

    With several files, which are loaded at once, `choose(n)` takes the n-th. With a single file it
    loads that file again with n threads. A thread count that nobody chose gives way to other
    processes, see Sharing.
    """

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]],
        threads: int | None = 1,
        *,
        delegate: str | os.PathLike[str] | None = None,
    ) -> None:
        """Load the files.

        Args:
            files: Paths of exported files, at least one.
            threads: Threads of the runtime; None measures the fastest count.
            delegate: Path of a TFLite delegate.

        Raises:
            LmedgeError: There is no file, or the delegate cannot be loaded.
            ModelFileError: A file cannot be used.
        """
        if not files:
            raise LmedgeError("name at least one .tflite file")
        self._delegate = delegate
        self._classifiers = [Classifier(file, threads=threads, delegate=delegate) for file in files]
        self._several = len(files) > 1
        self._chosen = self._classifiers[0]
        most = max(one.interpreter.threads for one in self._classifiers)
        self._sharing = Sharing(most) if threads is None and most > 1 else None
        self._fewer: dict[tuple[str, int], Classifier] = {}
        self._next: Classifier | None = None

    @property
    def current(self) -> Classifier:
        """The classifier for the next frame."""
        if self._sharing is None:
            return self._chosen
        threads = min(self._sharing.threads(), self._chosen.interpreter.threads)
        if threads == self._chosen.interpreter.threads:
            return self._chosen
        model = self._chosen.model
        found = self._fewer.get((model.sha256, threads))
        if found is None:  # in any thread, so that nothing is looked up twice
            found = self._fewer[model.sha256, threads] = Classifier(model, threads=threads)
        return found

    def replace(self, model: ModelFile) -> None:
        """Let another file take over at the next call of `advance`; it is loaded here.

        Raises:
            ModelFileError: The file does not run here.
        """
        threads = self._chosen.interpreter.threads
        found = Classifier(model, threads=threads, delegate=self._delegate)
        now = self.current.interpreter.threads
        if now != threads:  # so that the loop does not wait for it
            self._fewer[model.sha256, now] = Classifier(model, threads=now)
        self._next = found

    def advance(self) -> None:
        """Take the file over that `replace` has loaded. The loop calls this between two frames."""
        found = self._next
        if found is None:
            return
        self._next = None
        before = self._chosen
        self._chosen = found
        self._classifiers = [found if one is before else one for one in self._classifiers]
        for key in [key for key in self._fewer if key[0] == before.model.sha256]:
            del self._fewer[key]

    def choose(self, number: int) -> str:
        """Take file or thread count `number`, from 1, and return a line about it."""
        if not self._several:
            self._sharing = None
            self._chosen = Classifier(self._chosen.model, threads=number, delegate=self._delegate)
            return f"{number} thread{'s' if number > 1 else ''}"
        if number > len(self._classifiers):
            return f"there are {len(self._classifiers)} files"
        self._chosen = self._classifiers[number - 1]
        return self._chosen.model.path.name
