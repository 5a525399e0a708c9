"""Runs of a comparison: each training and export is a process, so that a crash costs one trial."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from lmedge.errors import TrialError
from lmedge.files import write_json, write_text
from lmedge.processes import child_environment, python_command
from lmedge.progress import progress

from ..data.split_file import as_portable_csv
from .plan import Trial

CHILD = ("-m", "lmedge.train.compare.child")  # runs a command of lmedge in a Python
CLOCK_SECONDS = 5.0  # at most this much working time is forgotten by a kill
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileResult:
    """Scores of the exported int8 file on the test part, heads decoded together, and its size.

    `agreement_landmark` and `agreement_category` are the shares of test images, 0..1, for which the
    head alone has the same top class in the file and in the float network.
    """

    landmark_f1: float
    category_f1: float
    gate_passed: bool
    bytes: int
    export_seconds: float
    agreement_landmark: float
    agreement_category: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialResult:
    """Macro F1 of a trial's float network on its test part, heads decoded together.

    `tested` is a digest of the test part: two results are compared in pairs if it is the same.
    `parameters` counts every number of the network, moving averages of batch norm too.
    """

    landmark_f1: float
    category_f1: float
    train_pictures: int
    test_pictures: int
    tested: str
    train_seconds: float
    parameters: int
    int8: FileResult | None = None

    @property
    def seconds(self) -> float:
        """The time of the training and, if there is a file, of its export."""
        return self.train_seconds + (0.0 if self.int8 is None else self.int8.export_seconds)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrialResult:
        """Return the result of a dictionary by `dataclasses.asdict`."""
        int8 = values["int8"]
        return cls(**{**values, "int8": None if int8 is None else FileResult(**int8)})


def run_trials(
    trials: Sequence[Trial], data: Path, folder: Path, *, int8: bool, keep: bool
) -> tuple[list[tuple[Trial, TrialResult]], list[str]]:
    """Run the trials whose results are missing from a folder.

    After a failure the other trials of the same setting are not run.

    Returns:
        The trials that have a result, in their order, and a line for each that failed.
    """
    known = {trial.key: known_result(folder / "runs" / trial.key, int8) for trial in trials}
    missing = [trial for trial in trials if known[trial.key] is None]
    logger.info(
        "%d runs, %d of them done before: %s", len(trials), len(trials) - len(missing), folder
    )
    failed: list[str] = []
    broken: set[int] = set()
    done = 0
    with progress("Comparing", len(missing)) as advance:
        for trial in missing:
            place = folder / "runs" / trial.key
            if id(trial.setting) in broken:
                failed.append(trial.key)
            else:
                try:
                    result = run_trial(trial, data, place, int8=int8, keep=keep)
                except TrialError as error:
                    logger.warning("%s: %s", place, error)
                    failed.append(f"{trial.key} ({error})")
                    broken.add(id(trial.setting))
                else:
                    known[trial.key] = result
                    done += 1
                    each = statistics.mean(one.seconds for one in known.values() if one is not None)
                    left = each * (len(missing) - done - len(failed))
                    _log_result(trial, result, f"{done} of {len(missing)}", left)
            advance()
    found = [(trial, known[trial.key]) for trial in trials]
    return [(trial, result) for trial, result in found if result is not None], failed


def _log_result(trial: Trial, result: TrialResult, number: str, left: float) -> None:
    logger.info(
        "%s: %s, %s: landmark %.3f, category %.3f (%.1f min; about %.0f left)",
        number,
        ", ".join(trial.setting.columns.values()),
        trial.repeat.name,
        result.landmark_f1,
        result.category_f1,
        result.seconds / 60,
        left / 60,
    )


def known_result(folder: Path, int8: bool) -> TrialResult | None:
    """Return the result that an earlier call left, None unless it has all that is asked for."""
    try:
        found = TrialResult.from_dict(json.loads((folder / "result.json").read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if int8 and found.int8 is None else found


def run_trial(trial: Trial, data: Path, folder: Path, *, int8: bool, keep: bool) -> TrialResult:
    """Run the steps of a trial that are not done yet and return its result. Raises TrialError."""
    run, file = folder / "run", folder / "model.tflite"
    write_text(folder / "recipe.toml", trial.setting.recipe.as_toml())
    write_text(folder / "split.csv", as_portable_csv(trial.split, data))
    if not (run / "weights.safetensors").exists():
        again = ["--resume"] if (run / "run.json").exists() else []
        _lmedge(
            folder,
            "train",
            "train",
            data,
            "--out",
            run,
            "--recipe",
            folder / "recipe.toml",
            "--strategy",
            trial.setting.strategy,
            "--weights",
            trial.setting.weights,
            "--seed",
            trial.repeat.seed,
            "--split",
            folder / "split.csv",
            "--allow-leak",
            *again,
        )
    if int8:
        # A refused file is scored too: the table counts the files that passed the gate.
        _lmedge(folder, "export", "export", run, "--int8", "-o", file, "--force")
    result = _read(trial, folder, int8)
    write_json(folder / "result.json", dataclasses.asdict(result))
    if not keep:
        (run / "weights.safetensors").unlink()
        file.unlink(missing_ok=True)
    return result


def _read(trial: Trial, folder: Path, int8: bool) -> TrialResult:
    metrics = json.loads((folder / "run" / "metrics.json").read_text("utf-8"))
    if "test" not in metrics:
        raise TrialError("has no test part; pass --folds, or a test_fraction above 0")
    test = metrics["test"]
    with safe_open(folder / "run" / "weights.safetensors", "numpy") as arrays:
        shapes = [arrays.get_slice(name).get_shape() for name in arrays.keys()]  # noqa: SIM118
    return TrialResult(
        landmark_f1=test["landmark"]["macro_f1"],
        category_f1=test["category"]["macro_f1"],
        train_pictures=len(trial.split.parts["train"]),
        test_pictures=len(trial.split.parts["test"]),
        tested=dataclasses.replace(
            trial.split, parts={"train": (), "val": (), "test": trial.split.parts["test"]}
        ).digest(),
        train_seconds=_seconds(folder, "train"),
        parameters=sum(_product(shape) for shape in shapes),
        int8=_int8(folder) if int8 else None,
    )


def _int8(folder: Path) -> FileResult:
    report = json.loads((folder / "model.export.json").read_text("utf-8"))
    (test,) = (part for part in report["parts"] if part["part"] == "test")
    return FileResult(
        landmark_f1=test["file"]["landmark"]["macro_f1"],
        category_f1=test["file"]["category"]["macro_f1"],
        gate_passed=report["gate"]["passed"],
        bytes=report["bytes"],
        export_seconds=_seconds(folder, "export"),
        agreement_landmark=test["agreement"]["landmark"],
        agreement_category=test["agreement"]["category"],
    )


def _product(shape: list[int]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total


def _seconds(folder: Path, step: str) -> float:
    path = folder / f"{step}.seconds"
    return round(float(path.read_text("utf-8")), 1) if path.exists() else 0.0


def _lmedge(folder: Path, step: str, *arguments: object) -> None:
    """Run a command with its lines in `folder`/STEP.log; raise TrialError with the last of them.

    The time it works is added up in `folder`/STEP.seconds, over calls that were killed too.
    """
    log, before, began = folder / f"{step}.log", _seconds(folder, step), time.monotonic()
    words = python_command(*CHILD, *map(str, arguments))
    with log.open("a", encoding="utf-8") as stream:
        process = subprocess.Popen(
            words,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            code = None
            while code is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(CLOCK_SECONDS)
                spent = before + time.monotonic() - began
                write_text(folder / f"{step}.seconds", f"{spent:.1f}\n")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()
    if code:
        lines = log.read_text("utf-8", "replace").strip().splitlines() or ["no message"]
        raise TrialError(lines[-1].removeprefix("lmedge: "))
