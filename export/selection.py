"""Formats of one run side by side: all of them, or the fastest that is good and small enough."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.errors import GateError
from lmedge.interpreter import Interpreter
from lmedge.model_file import ModelFile
from lmedge.progress import progress
from lmedge.train.run import Run
from lmedge.trial import golden_image

from .exporting import Exporter, Options, Outcome, place_file, report, report_path, write_outcome

SECONDS = 2.0  # of measurement for each file
SAME = 0.05  # medians closer than that cannot be distinguished on a busy machine
LEAST_ROUNDS, MOST_ROUNDS = 8, 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """The most that a file may take; None sets no limit. `megabytes` are of 1,000,000 bytes."""

    milliseconds: float | None = None
    megabytes: float | None = None

    def allows(self, candidate: CandidateFormat) -> bool:
        """Return true if a format takes no more."""
        return not (
            (self.milliseconds is not None and candidate.milliseconds > self.milliseconds)
            or (self.megabytes is not None and candidate.megabytes > self.megabytes)
        )

    def describe(self) -> str:
        """Return the budget in words."""
        parts = [
            f"{value:g} {unit}"
            for value, unit in ((self.milliseconds, "ms"), (self.megabytes, "MB"))
            if value is not None
        ]
        return " and ".join(parts) or "any time and size"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CandidateFormat:
    """One exported format of one input size.

    `milliseconds` is its median invoke on one thread of this machine.
    """

    format: str
    outcome: Outcome
    milliseconds: float

    @property
    def megabytes(self) -> float:
        """Size of the file, metadata included."""
        return len(self.outcome.file.data) / 1e6

    @property
    def size(self) -> int:
        """Side of the input in pixels."""
        return self.outcome.file.size

    @property
    def passed(self) -> bool:
        """True if the gate let it pass."""
        return self.outcome.findings.verdict.passed

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; macro F1 and agreement are of the last part there is."""
        comparisons = self.outcome.findings.comparisons
        judged = comparisons[-1] if comparisons else None
        return {
            "format": self.format,
            "size": self.size,
            "bytes": len(self.outcome.file.data),
            "invoke_ms": round(self.milliseconds, 3),
            "passed": self.passed,
            "problems": list(self.outcome.findings.verdict.problems),
            "part": judged and judged.part,
            "macro_f1": judged
            and {head: score.macro_f1 for head, score in judged.file_scores.items()},
            "agreement": judged and dict(judged.agreement),
            "operators": self.outcome.operators(),
        }


def export_all(
    run: Run, path: Path, names: Iterable[str], options: Options
) -> list[CandidateFormat]:
    """Export several formats, FILE-<format>.tflite each, and return them with their latencies.

    A refused format is not written, unless forced; its verdict has the reasons. Raises GateError if
    all are refused.
    """
    paths = {name: path.with_name(f"{path.stem}-{name}.tflite") for name in names}
    candidates = make_candidates(run, paths, options)
    tried = [candidate.as_dict() for candidate in candidates]
    written = [
        write_outcome(run, paths[one.format], one.outcome, options, tried=tried)
        for one in candidates
    ]
    if not any(written):
        first = report_path(paths[candidates[0].format], written=False)
        raise GateError(f"no format of {run.folder} passed; see {first}")
    return candidates


def export_fastest(
    run: Run,
    path: Path,
    names: Iterable[str],
    options: Options,
    budget: Budget,
    sizes: Sequence[int] = (),
) -> tuple[list[CandidateFormat], CandidateFormat]:
    """Try formats and write to `path` the one that `choose` takes within the budget.

    sizes: sides of the input to try each format with; the recipe's alone if there are none.

    Returns all that were tried, and the chosen one. Raises GateError if none is left. The report
    beside `path` holds the table in either case.
    """
    candidates = make_candidates(run, dict.fromkeys(names, path), options, sizes)
    chosen = choose(candidates, budget)
    reported = (chosen or candidates[0]).outcome
    tried = [candidate.as_dict() for candidate in candidates]
    facts = report(_sized(run, reported.file.size), path, reported, written=chosen is not None)
    data = None if chosen is None else chosen.outcome.file.data
    place_file(path, data, {**facts, "tried": tried})
    if chosen is None:
        raise GateError(
            f"{path} was not written: no format passes the gate within {budget.describe()}; "
            f"{report_path(path, written=False)} has the table of what was tried"
        )
    return candidates, chosen


def make_candidates(
    run: Run, paths: dict[str, Path], options: Options, sizes: Sequence[int] = ()
) -> list[CandidateFormat]:
    """Make the format of each path, in each size, then time all of them in turns."""
    outcomes = []
    for size in sizes or (run.recipe.data.input_size,):
        exporter = Exporter(_sized(run, size), options)
        outcomes += [exporter.make(name, path) for name, path in paths.items()]
    times = time_files([outcome.file for outcome in outcomes])
    return [
        CandidateFormat(format=outcome.format, outcome=outcome, milliseconds=milliseconds)
        for outcome, milliseconds in zip(outcomes, times, strict=True)
    ]


def _sized(run: Run, size: int) -> Run:
    same = size == run.recipe.data.input_size
    return run if same else run.for_export([f"data.test_size={size}"])


def choose(candidates: Sequence[CandidateFormat], budget: Budget) -> CandidateFormat | None:
    """Return the best candidate that passes the gate and the budget; None when there is none.

    Of each input size it is the fastest format. Among formats as fast, to SAME, it agrees most with
    float on the validation part. Among the sizes it is the fastest whose log loss on the validation
    part is within one standard error of the least, paired by image (Breiman et al., 1984).
    """
    fitting = [one for one in candidates if one.passed and budget.allows(one)]
    sizes = sorted({one.size for one in fitting})
    if not sizes:
        return None
    formats = [_fastest([one for one in fitting if one.size == size]) for size in sizes]
    best = min(formats, key=lambda one: _losses(one).mean())
    return min(
        (one for one in formats if _as_good(_losses(one) - _losses(best))),
        key=lambda one: one.milliseconds,
    )


def _fastest(candidates: Sequence[CandidateFormat]) -> CandidateFormat:
    fastest = min(one.milliseconds for one in candidates)
    equal = [one for one in candidates if one.milliseconds <= fastest * (1 + SAME)]
    return max(equal, key=lambda one: min(one.outcome.findings.comparisons[0].agreement.values()))


def _losses(candidate: CandidateFormat) -> npt.NDArray[np.float64]:
    return candidate.outcome.findings.comparisons[0].losses


def _as_good(lost: npt.NDArray[np.float64]) -> bool:
    return bool(lost.mean() <= lost.std() / math.sqrt(len(lost)))


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
