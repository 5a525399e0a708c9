"""JSON and samples of another machine, read with the type and the range of every value."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import warnings
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import numpy as np

from lmedge import __version__
from lmedge.errors import HostError
from lmedge.harmless import harmless

from .latency import Samples

T = TypeVar("T")
MOST_MS = 1e8  # more than a day
_ABOVE_ONE = 1e-3  # what sums of float32 probabilities may exceed 1 by


def odd(where: str, problem: str) -> NoReturn:
    """Raise HostError for a value that no report of this version has."""
    raise HostError(
        f"what came back is no report of lmedge {__version__}: {harmless(where[:200])} {problem}; "
        "install this version there, or name a Python without lmedge with --host-python"
    )


@dataclasses.dataclass(frozen=True)
class Field:
    """A value and its place in the JSON."""

    value: Any
    where: str

    @classmethod
    def parse(cls, text: str, name: str) -> Field:
        """Read the text of a JSON file. Raises HostError if it is none."""
        try:
            return cls(json.loads(text, parse_constant=_no_number), name)
        except (ValueError, RecursionError) as error:
            odd(name, f"is damaged ({harmless(error)[:100]})")

    def __getitem__(self, key: str) -> Field:
        """Return the value of a key."""
        if not isinstance(self.value, dict) or key not in self.value:
            odd(f"{self.where}.{key}", "is missing")
        return Field(self.value[key], f"{self.where}.{key}")

    def maybe(self, read: Callable[[Field], T]) -> T | None:
        """Return what `read` returns for the field, None if it is null."""
        return None if self.value is None else read(self)

    def items(self, least: int, most: int) -> list[Field]:
        """Return the fields of a list."""
        if not isinstance(self.value, list) or not least <= len(self.value) <= most:
            odd(self.where, f"is no list of {least} to {most}")
        return [Field(one, f"{self.where}[{n}]") for n, one in enumerate(self.value)]

    def number(self, low: float = 0.0, high: float = 1e12) -> float:
        """Return a finite number in a range."""
        if type(self.value) not in (int, float) or not low <= self.value <= high:
            odd(self.where, f"is no number in {low:g}..{high:g}")
        return float(self.value)

    def share(self) -> float:
        """Return a number in 0..1."""
        return self.number(0.0, 1.0 + _ABOVE_ONE)

    def milliseconds(self) -> float:
        """Return a time above 0."""
        return self.number(1e-9, MOST_MS)

    def whole(self, low: int = 0, high: int = 1 << 53) -> int:
        """Return a whole number in a range."""
        if type(self.value) is not int or not low <= self.value <= high:
            odd(self.where, f"is no whole number in {low}..{high}")
        return int(self.value)

    def text(self, most: int = 300) -> str:
        """Return a line of visible characters."""
        if not isinstance(self.value, str) or len(self.value) > most:
            odd(self.where, f"is no text of up to {most} characters")
        return harmless(self.value)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def samples_of(text: str, columns: int) -> Samples:
    """Read samples.csv: (runs, columns) nanoseconds from milliseconds, each above 0."""
    _, _, body = text.partition("\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one without rows
            times = np.loadtxt(io.StringIO(body), delimiter=",", comments=None, ndmin=2)
    except ValueError:
        times = np.zeros((0, 0))
    if times.shape[1] != columns or not len(times) or not ((times > 0) & (times < MOST_MS)).all():
        odd("samples.csv", f"has no {columns} columns of times")
    return np.asarray(np.rint(times * 1e6), np.int64)


def agree(found: object, ours: object, where: str) -> None:
    """Raise HostError where JSON has other keys, lengths, texts or numbers than ours."""
    if isinstance(ours, dict):
        if not isinstance(found, dict) or found.keys() != ours.keys():
            odd(where, "has other keys")
        for key, value in ours.items():
            agree(found[key], value, f"{where}.{key}")
    elif isinstance(ours, list | tuple):
        if not isinstance(found, list) or len(found) != len(ours):
            odd(where, "has another length")
        for number, value in enumerate(ours):
            agree(found[number], value, f"{where}[{number}]")
    elif not _same(found, ours):
        odd(where, "does not follow from the rest")


def _same(found: object, ours: object) -> bool:
    if isinstance(ours, str):
        return isinstance(found, str) and harmless(found) == harmless(ours)
    if type(ours) in (int, float) and type(found) in (int, float):
        try:
            return math.isclose(found, ours, rel_tol=1e-6, abs_tol=1e-9)  # type: ignore[arg-type]
        except OverflowError:
            return False
    return found is ours
