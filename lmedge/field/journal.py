"""The journal of labels: each decision is on disk before anything is copied."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import writing
from ..harmless import json_text
from ..regular import read_regular

JOURNAL = "labels.jsonl"
Entry = dict[str, Any]


class Journal:
    """Lines that are only ever appended, each flushed to the disk.

    A decision has a line when it is made and one when it is done. Of a process that dies in
    between, the next one finds what is left to do. A last line that is cut is one that never was.
    """

    def __init__(self, folder: Path) -> None:
        """Read the journal of a folder, if there is one.

        Raises:
            DataError: A line is none of a journal.
        """
        self.path = folder / JOURNAL
        self.decisions: dict[int, Entry] = {}
        self.done: set[int] = set()
        self._cut = False
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        try:
            text = read_regular(self.path).decode("utf-8")
            *lines, rest = text.split("\n")
            self._cut = bool(rest)
            for line in lines:
                self._replay(json.loads(line))
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be read ({error.strerror}); let this user read it"
            ) from error
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise DataError(
                f"{self.path}: not the journal of `lmedge label`; move it away to begin anew"
            ) from error

    def _replay(self, line: Mapping[str, Any]) -> None:
        if "done" in line:
            self.done.add(int(line["done"]))
            return
        for image in line["images"]:
            if not all(isinstance(image[name], str) for name in ("name", "to")):
                raise ValueError("an image is none")
        self.decisions[int(line["id"])] = dict(line)

    @property
    def pending(self) -> list[Entry]:
        """The decisions that were made and not carried out, in their order."""
        return [one for number, one in self.decisions.items() if number not in self.done]

    def begin(self, entry: Entry) -> Entry:
        """Write down a decision, and return it with its number."""
        numbered = {"id": max(self.decisions, default=0) + 1, **entry}
        self._append(numbered)
        self.decisions[numbered["id"]] = numbered
        return numbered

    def end(self, entry: Entry) -> None:
        """Write down that a decision was carried out."""
        self._append({"done": entry["id"]})
        self.done.add(entry["id"])

    def _append(self, line: Entry) -> None:
        data = (json_text(line) + "\n").encode()
        with writing(self.path):
            number = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                if self._cut:  # the begin of a line, from a process that was killed
                    whole = read_regular(self.path).rfind(b"\n") + 1
                    os.ftruncate(number, whole)
                    self._cut = False
                size = os.fstat(number).st_size
                try:
                    if os.write(number, data) != len(data):
                        raise OSError(28, os.strerror(28))
                    os.fsync(number)
                except OSError:
                    os.ftruncate(number, size)
                    raise
            finally:
                os.close(number)
