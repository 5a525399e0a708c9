"""A whole export: a finished run folder in, verified .tflite files out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmedge.decoding import Decoding
from lmedge.errors import GateError
from lmedge.evaluation.scoring import fit_category_weight
from lmedge.files import write_bytes, write_json
from lmedge.golden import golden_answers
from lmedge.model_file import ModelFile, parse_model
from lmedge.rejection import COVERAGE
from lmedge.train.backend import keras, tf
from lmedge.train.run import Run

from . import metadata
from .card import Outcome, describe, report
from .formats import Graph, RunNetworks, Stages
from .quantization.explain import Noise, write_explanation
from .selection import Budget, Rung, climb, time_files
from .verification.gate import Limits, gate
from .verification.rejection import UnknownOutputs, fit_rejection, list_unknown, run_unknown
from .verification.verify import FileComparison, Probabilities, compare_outputs, run_file

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """How to export: what may be lost, whether to write a file that lost more, and rejection.

    `coverage` is the share of known images that thresholds keep; `strangers` are images of
    anything else. `io` is "uint8" or "int8". `explain` writes, beside a file of format int8, the
    error of each of its tensors.
    """

    limits: Limits = dataclasses.field(default_factory=Limits)
    force: bool = False
    coverage: float = COVERAGE
    strangers: Path | None = None
    io: str = "uint8"
    explain: bool = False


def export(run: Run, path: Path, name: str, options: Options) -> Outcome:
    """Export one format of a finished run to `path`, and the report beside it.

    Raises GateError when more is lost than allowed, unless forced; the report is written all the
    same, the file is not.
    """
    exporter = _Exporter(run, options)
    outcome = exporter.make(name, path)
    if options.explain:  # above all of a file that is refused
        noise = exporter.explain()
        write_explanation(path, noise)
        outcome = dataclasses.replace(outcome, noise=tuple(noise))
    _write(run, path, outcome, options)
    return outcome


def export_all(run: Run, path: Path, names: Sequence[str], options: Options) -> list[Rung]:
    """Export several formats, FILE-<format>.tflite each, and return them with their latencies.

    A format that is refused is not written, unless forced; its rung says why. Raises GateError
    when all are.
    """
    exporter = _Exporter(run, options)
    paths = {name: path.with_name(f"{path.stem}-{name}.tflite") for name in names}
    rungs = exporter.rungs({name: paths[name] for name in names})
    for rung in rungs:
        written = rung.outcome.verdict.passed or options.force
        target = paths[rung.format]
        write_json(report_path(target), _report(run, target, rung.outcome, rungs, written=written))
        if written:
            write_bytes(target, rung.outcome.data)
    if not options.force and not any(rung.outcome.verdict.passed for rung in rungs):
        raise GateError(f"no format of {run.folder} passed; see {report_path(paths[names[0]])}")
    return rungs


def export_fastest(
    run: Run, path: Path, names: Sequence[str], options: Options, budget: Budget
) -> tuple[list[Rung], Rung]:
    """Try formats and write to `path` the fastest that passes the gate and the budget.

    Returns all that were tried, and the one chosen. Raises GateError when none is left; the report
    beside `path` holds the table in either case.
    """
    rungs = _Exporter(run, options).rungs(dict.fromkeys(names, path))
    chosen = climb(rungs, budget)
    told = chosen or rungs[0]
    write_json(
        report_path(path), _report(run, path, told.outcome, rungs, written=chosen is not None)
    )
    if chosen is None:
        raise GateError(
            f"{path} was not written: no format passes the gate within {budget.describe()}; "
            f"{report_path(path)} has the table of what was tried"
        )
    write_bytes(path, chosen.outcome.data)
    return rungs, chosen


def report_path(path: Path) -> Path:
    """Return where the export report of a file stands: FILE.tflite -> FILE.export.json."""
    return path.with_suffix(".export.json")


def _write(run: Run, path: Path, outcome: Outcome, options: Options) -> None:
    written = outcome.verdict.passed or options.force
    write_json(report_path(path), report(run, path, outcome, written=written))
    if not written:
        raise GateError(
            f"{path} was not written: {'; '.join(outcome.verdict.problems)}. See "
            f"{report_path(path)}; train on more images, raise --set quantize.epochs, or write "
            "it anyway with --force"
        )
    write_bytes(path, outcome.data)


def _report(
    run: Run, path: Path, outcome: Outcome, rungs: Sequence[Rung], *, written: bool
) -> dict[str, Any]:
    tried = [rung.as_dict() for rung in rungs]
    return {**report(run, path, outcome, written=written), "tried": tried}


class _Exporter:
    """What several formats of one run share: the networks, float's answers, the strangers."""

    def __init__(self, run: Run, options: Options) -> None:
        keras.utils.set_random_seed(run.seed)
        tf.config.experimental.enable_op_determinism()
        self._run, self._options = run, options
        folder = options.strangers
        self._strangers = None if folder is None else list_unknown(folder)
        self._stages = Stages()
        self._networks = RunNetworks(run, self._stages)

    def rungs(self, paths: dict[str, Path]) -> list[Rung]:
        """Make every format, then time them in turns."""
        outcomes = {name: self.make(name, path) for name, path in paths.items()}
        times = time_files(
            [parse_model(outcome.data, paths[name]) for name, outcome in outcomes.items()]
        )
        return [
            Rung(name, outcome, milliseconds)
            for (name, outcome), milliseconds in zip(outcomes.items(), times, strict=True)
        ]

    def make(self, name: str, path: Path) -> Outcome:
        """Convert to a format and verify it; `path` is the name it is to have."""
        graph = self._networks.graph(name, self._options.io)
        with self._stages.timed("verification"):
            outcome = self._verify(graph, path)
        return dataclasses.replace(outcome, seconds=dict(self._stages.seconds))

    def explain(self) -> list[Noise]:
        """Return the error of each tensor of the int8 network."""
        return self._networks.explain()

    def _verify(self, graph: Graph, path: Path) -> Outcome:
        """Run the file itself on the validation and test parts, and put the result into it."""
        run, options = self._run, self._options
        trial = parse_model(metadata.pack(graph.data, describe(run, graph, path, options.io)), path)
        answers = {
            part: run_file(trial, run.images(part)) for part in ("val", "test") if run.entries(part)
        }
        decoding = self._decoding(answers.get("val"))
        comparisons = {
            part: self._compare(part, graph, file, decoding) for part, file in answers.items()
        }
        verdict = gate(comparisons.get("val"), answers.get("val"), options.limits)
        rejection = None
        if "val" in answers:
            rejection = fit_rejection(
                run.taxonomy.parent_index,
                answers["val"],
                answers.get("test"),
                self._run_unknown(trial),
                options.coverage,
            )
        outcome = Outcome(
            b"",
            tuple(comparisons.values()),
            verdict,
            {},
            graph.temperatures,
            graph.format,
            rejection,
            decoding,
        )
        card = describe(run, graph, path, options.io, outcome, golden_answers(trial, trusted=True))
        return dataclasses.replace(outcome, data=metadata.pack(graph.data, card))

    def _decoding(self, file: Probabilities | None) -> Decoding:
        """Fit the joint decoding on what the file says of the validation part."""
        if file is None:
            return Decoding()
        return Decoding(fit_category_weight(file, self._run.labels("val"), self._run.taxonomy))

    def _compare(
        self, part: str, graph: Graph, file: Probabilities, decoding: Decoding
    ) -> FileComparison:
        read = self._networks.calibration()
        return compare_outputs(
            part,
            self._networks.logits(part),
            read.temperatures,
            file,
            graph.temperatures,
            self._run.labels(part),
            self._run.taxonomy,
            (read.decoding.category_weight, decoding.category_weight),
        )

    def _run_unknown(self, trial: ModelFile) -> UnknownOutputs | None:
        return None if self._strangers is None else run_unknown(trial, self._strangers)
