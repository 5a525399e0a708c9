"""Formats of one run side by side: the fastest that is good enough and small enough."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence
from typing import Any

from lmedge.golden import golden_image
from lmedge.interpreter import Interpreter
from lmedge.model_file import HEADS, ModelFile
from lmedge.progress import progress

from .card import Outcome

SECONDS = 2.0  # of measurement for each file
SAME = 0.05  # medians closer than that are not told apart on a busy machine
LEAST_ROUNDS, MOST_ROUNDS = 8, 200


@dataclasses.dataclass(frozen=True)
class Budget:
    """The most a file may take; None for any. `megabytes` are of 1,000,000 bytes."""

    milliseconds: float | None = None
    megabytes: float | None = None

    def allows(self, rung: Rung) -> bool:
        """Whether a rung takes no more."""
        return not (
            (self.milliseconds is not None and rung.milliseconds > self.milliseconds)
            or (self.megabytes is not None and rung.megabytes > self.megabytes)
        )

    def describe(self) -> str:
        """Return the budget in words."""
        parts = [
            f"{value:g} {unit}"
            for value, unit in ((self.milliseconds, "ms"), (self.megabytes, "MB"))
            if value is not None
        ]
        return " and ".join(parts) or "any time and size"


@dataclasses.dataclass(frozen=True)
class Rung:
    """One format that was tried; `milliseconds` is its median invoke on one thread here."""

    format: str
    outcome: Outcome
    milliseconds: float

    @property
    def megabytes(self) -> float:
        """Size of the file, metadata included."""
        return len(self.outcome.data) / 1e6

    @property
    def passed(self) -> bool:
        """Whether the gate let it pass."""
        return self.outcome.verdict.passed

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; macro F1 and agreement are of the last part there is."""
        judged = self.outcome.comparisons[-1] if self.outcome.comparisons else None
        return {
            "format": self.format,
            "bytes": len(self.outcome.data),
            "invoke_ms": round(self.milliseconds, 3),
            "passed": self.passed,
            "problems": list(self.outcome.verdict.problems),
            "part": judged and judged.part,
            "macro_f1": judged and {head: judged.file_scores[head].macro_f1 for head in HEADS},
            "agreement": judged and dict(judged.agreement),
            "operators": self.outcome.operators(),
        }


def climb(rungs: Sequence[Rung], budget: Budget) -> Rung | None:
    """Return the fastest rung that passes the gate and the budget; None when there is none.

    Of rungs as fast, to SAME, it is the one that answers most like float on the validation part.
    """
    fitting = [rung for rung in rungs if rung.passed and budget.allows(rung)]
    if not fitting:
        return None
    fastest = min(rung.milliseconds for rung in fitting)
    equal = [rung for rung in fitting if rung.milliseconds <= fastest * (1 + SAME)]
    return max(equal, key=lambda rung: min(rung.outcome.comparisons[0].agreement.values()))


def time_files(models: Sequence[ModelFile]) -> list[float]:
    """Return the median milliseconds of an invoke of each file, one thread, taken in turns."""
    interpreters = [Interpreter(model, trusted=True) for model in models]
    samples: list[list[float]] = [[] for _ in models]
    for model, interpreter in zip(models, interpreters, strict=True):
        interpreter.run(golden_image(0, model.size))  # sets the input, and warms up
    began = time.perf_counter()
    with progress("Timing the formats", MOST_ROUNDS) as advance:
        for number in range(MOST_ROUNDS):
            spent = time.perf_counter() - began
            if number >= LEAST_ROUNDS and spent > SECONDS * len(models):
                break
            for interpreter, taken in zip(interpreters, samples, strict=True):
                start = time.perf_counter()
                interpreter.invoke()
                taken.append(1000 * (time.perf_counter() - start))
            advance()
    return [statistics.median(taken) for taken in samples]
