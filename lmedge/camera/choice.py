"""Which file and how many threads classify: the keys 1 to 9 of the window change it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lmedge.classifier import Classifier
from lmedge.errors import LmedgeError

from .sharing import Sharing


class Choice:
    """One classifier in use, of several files or with several thread counts.

    With several files `choose(n)` takes the n-th, all of them are loaded at once; with a single
    file it loads that again with n threads. Threads that nobody chose give way to other processes,
    see sharing.py.
    """

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]],
        threads: int | None = 1,
        *,
        delegate: str | os.PathLike[str] | None = None,
    ) -> None:
        """Load the files; threads and delegate as of Classifier, which says what is raised."""
        if not files:
            raise LmedgeError("name at least one .tflite file")
        self._delegate = delegate
        self._classifiers = [Classifier(file, threads=threads, delegate=delegate) for file in files]
        self._several = len(files) > 1
        self._chosen = self._classifiers[0]
        most = max(one.interpreter.threads for one in self._classifiers)
        self._sharing = Sharing(most) if threads is None and most > 1 else None
        self._fewer: dict[tuple[str, int], Classifier] = {}

    @property
    def current(self) -> Classifier:
        """The classifier for the next frame."""
        if self._sharing is None:
            return self._chosen
        threads = min(self._sharing.threads(), self._chosen.interpreter.threads)
        if threads == self._chosen.interpreter.threads:
            return self._chosen
        key = (self._chosen.model.sha256, threads)
        if key not in self._fewer:
            self._fewer[key] = Classifier(self._chosen.model, threads=threads)
        return self._fewer[key]

    def choose(self, number: int) -> str:
        """Take file or thread count `number`, from 1, and return what was done, to be shown."""
        if not self._several:
            self._sharing = None
            self._chosen = Classifier(self._chosen.model, threads=number, delegate=self._delegate)
            return f"{number} thread{'s' if number > 1 else ''}"
        if number > len(self._classifiers):
            return f"there are {len(self._classifiers)} files"
        self._chosen = self._classifiers[number - 1]
        return self._chosen.model.path.name
