"""A whole export: a finished run folder in, a verified .tflite and its report out."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmedge.errors import GateError, LmedgeError
from lmedge.files import replacing, write_json
from lmedge.golden import verify
from lmedge.image import Resize
from lmedge.metadata import pack
from lmedge.model_file import ModelFile, bare_model, parse_model
from lmedge.rejection import COVERAGE
from lmedge.train.backend import keras, tf
from lmedge.train.run import Run

from .card import describe_file, provenance
from .features import learned_features
from .formats import RunNetworks, Stages
from .quantization.explain import Noise, write_explanation
from .verification.comparison import check_learned, check_reference
from .verification.gate import Limits
from .verification.verify import Findings, verify_graph

REPORT_SCHEMA = 1
REFUSED = ".refused.json"  # report of a file that was refused beside an earlier one


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of an export: the loss that is allowed, and whether to write a file that lost more.

    `coverage` is the share of rightly named images that the thresholds keep, None to choose it by
    the unknown images; `unknown` are images of anything but the landmarks. `io` is "uint8" or
    "int8". `explain` writes, beside a file of format int8, the error of each of its tensors.
    `forget` stores no features of the photographs.
    """

    limits: Limits = dataclasses.field(default_factory=Limits)
    force: bool = False
    coverage: float | None = COVERAGE
    unknown: Sequence[Path] = ()
    io: str = "uint8"
    explain: bool = False
    forget: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """One export: the file as it is packed, what was measured on it, and seconds by stage."""

    file: ModelFile
    format: str
    temperatures: Mapping[str, float]
    findings: Findings
    seconds: Mapping[str, float]
    noise: Sequence[Noise] = ()

    def operators(self) -> dict[str, int]:
        """Return how many operators of the file give a result of each dtype, the most first."""
        counts: collections.Counter[str] = collections.Counter()
        for (_, dtype), count in self.file.operators.items():
            counts[dtype] += count
        return dict(counts.most_common())


def export_format(run: Run, path: Path, name: str, options: Options) -> Outcome:
    """Export one format of a finished run to `path`, and the report beside it.

    Raises GateError if the file lost more than allowed, unless forced. The report is written all
    the same, the file is not.
    """
    exporter = Exporter(run, options)
    outcome = exporter.make(name, path)
    if options.explain:  # above all of a file that is refused
        outcome = dataclasses.replace(outcome, noise=exporter.explain())
        write_explanation(path, outcome.noise)
    if not write_outcome(run, path, outcome, options):
        problems = "; ".join(outcome.findings.verdict.problems)
        raise GateError(
            f"{path} was not written: {problems}. See {report_path(path, written=False)}; train on "
            "more images, raise --set quantize.epochs, or write it anyway with --force"
        )
    return outcome


class Exporter:
    """An export of one run in any number of formats, which share its networks."""

    def __init__(self, run: Run, options: Options) -> None:
        """Load the float network. Raises RunError if training has not ended."""
        keras.utils.set_random_seed(run.seed)
        tf.config.experimental.enable_op_determinism()
        self._run, self._options = run, options
        self._stages = Stages()
        self._networks = RunNetworks(run, self._stages)
        judge = self._networks.judge
        if judge.own is not None:
            check_learned(run.as_trained, judge.own, judge.honest, judge.truth)
        elif judge.judges:
            check_reference(run.as_trained, judge.honest)

    def make(self, name: str, path: Path) -> Outcome:
        """Convert to a format, verify it, and pack it; `path` is the name it is to have."""
        run, options = self._run, self._options
        graph = self._networks.graph(name, options.io)
        with self._stages.timed("verification"):
            resize = Resize(run.recipe.data.resize)
            bare = bare_model(graph.data, path, run.taxonomy, resize, graph.temperatures)
            findings = verify_graph(
                run,
                bare,
                judge=self._networks.judge,
                test=self._networks.reference("test") if run.entries("test") else None,
                calibration=self._networks.reference_calibration(),
                temperatures=graph.temperatures,
                limits=options.limits,
                coverage=options.coverage,
                unknown=options.unknown,
            )
        with self._stages.timed("features"):
            memory = (
                ({}, {})
                if options.io == "int8"
                else learned_features(run, graph.data, forget=options.forget)
            )
        with self._stages.timed("verification"):
            card = describe_file(run, graph, findings, name=path.stem, io=options.io, memory=memory)
            file = parse_model(pack(graph.data, card), path)
            if not verify(file, trusted=True).identical:
                raise LmedgeError(
                    f"{path}: its outputs changed as it was packed; nothing was written"
                )
        return Outcome(
            file=file,
            format=name,
            temperatures=graph.temperatures,
            findings=findings,
            seconds=dict(self._stages.seconds),
        )

    def explain(self) -> list[Noise]:
        """Return the error of each tensor of the int8 network."""
        return self._networks.explain()


def write_outcome(run: Run, path: Path, outcome: Outcome, options: Options, **more: Any) -> bool:
    """Write the report, with `more` in it, and the file unless it is refused.

    Returns whether the file was written.
    """
    written = outcome.findings.verdict.passed or options.force
    content = {**report(run, path, outcome, written=written), **more}
    place_file(path, outcome.file.data if written else None, content)
    return written


def place_file(path: Path, data: bytes | None, content: dict[str, Any]) -> None:
    """Write a file and its export report; `data` is None if the file is refused.

    Neither is replaced before both are on the disk. The report of a refused file does not take the
    place of that of an earlier file, which stays.
    """
    if data is None:
        write_json(report_path(path, written=False), content)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(data)
        write_json(report_path(path), content)
    path.with_suffix(REFUSED).unlink(missing_ok=True)


def report_path(path: Path, *, written: bool = True) -> Path:
    """Return the path of the export report of a file: FILE.tflite -> FILE.export.json.

    The report of a refused file is FILE.refused.json if FILE.tflite is there from an earlier
    export.
    """
    return path.with_suffix(".export.json" if written or not path.exists() else REFUSED)


def report(run: Run, path: Path, outcome: Outcome, *, written: bool) -> dict[str, Any]:
    """Return the export report, plain values for JSON."""
    findings = outcome.findings
    return {
        "schema": REPORT_SCHEMA,
        "file": path.name,
        "written": written,
        "bytes": len(outcome.file.data),
        "sha256": hashlib.sha256(outcome.file.data).hexdigest(),
        "format": outcome.format,
        "gate": {**dataclasses.asdict(findings.verdict), "passed": findings.verdict.passed},
        "temperatures": dict(outcome.temperatures),
        "decoding": dataclasses.asdict(findings.decoding),
        "rejection": findings.rejection and findings.rejection.as_dict(),
        "operators": outcome.operators(),
        "parts": [comparison.as_dict() for comparison in findings.comparisons],
        "seconds": dict(outcome.seconds),
        "provenance": provenance(run),
    }
