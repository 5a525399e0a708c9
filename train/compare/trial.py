"""One cell: train, export where asked, score; each a process, so that a crash costs one cell."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from safetensors import safe_open

from lmedge.errors import TrialError
from lmedge.files import write_json, write_text

from ..data.split_file import as_portable_csv
from .plan import Cell

CHILD = ("-m", "lmedge.train.compare.child")  # how Python runs a command of lmedge
CLOCK_SECONDS = 5.0  # at most this much working time is forgotten by a kill
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Int8:
    """What the exported file scores on the test part, joint decoding, and how large it is."""

    landmark_f1: float
    category_f1: float
    gate_passed: bool
    bytes: int
    export_seconds: float


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a cell: macro F1 on its test part, joint decoding, float network.

    `tested` is a digest of the test part: two results are compared in pairs where it is the same.
    `parameters` counts every number of the network, moving averages of batch norm too.
    """

    landmark_f1: float
    category_f1: float
    train_pictures: int
    test_pictures: int
    tested: str
    train_seconds: float
    parameters: int
    int8: Int8 | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Result:
        """Return what `dataclasses.asdict` made a dictionary of."""
        int8 = values["int8"]
        return cls(**{**values, "int8": None if int8 is None else Int8(**int8)})


def known_result(folder: Path, int8: bool) -> Result | None:
    """Return the result that an earlier call left, if it says all that is asked for."""
    try:
        found = Result.from_dict(json.loads((folder / "result.json").read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if int8 and found.int8 is None else found


def run_cell(cell: Cell, data: Path, folder: Path, *, int8: bool, keep: bool) -> Result:
    """Run what of a cell is not done yet and return its result. Raises TrialError."""
    run, file = folder / "run", folder / "model.tflite"
    write_text(folder / "recipe.toml", cell.setting.recipe.as_toml())
    write_text(folder / "split.csv", as_portable_csv(cell.split, data))
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
            cell.setting.strategy,
            "--weights",
            cell.setting.weights,
            "--seed",
            cell.repeat.seed,
            "--split",
            folder / "split.csv",
            "--allow-leak",
            *again,
        )
    if int8:
        # A refused file is scored too: the table says that the gate did not pass.
        _lmedge(folder, "export", "export", run, "--int8", "-o", file, "--force")
    result = _read(cell, folder, int8)
    write_json(folder / "result.json", dataclasses.asdict(result))
    if not keep:
        (run / "weights.safetensors").unlink()
        file.unlink(missing_ok=True)
    return result


def _read(cell: Cell, folder: Path, int8: bool) -> Result:
    metrics = json.loads((folder / "run" / "metrics.json").read_text("utf-8"))
    if "test" not in metrics:
        raise TrialError("has no test part; pass --folds, or a test_fraction above 0")
    test = metrics["test"]
    with safe_open(folder / "run" / "weights.safetensors", "numpy") as arrays:
        shapes = [arrays.get_slice(name).get_shape() for name in arrays.keys()]  # noqa: SIM118
    return Result(
        landmark_f1=test["landmark"]["macro_f1"],
        category_f1=test["category"]["macro_f1"],
        train_pictures=len(cell.split.parts["train"]),
        test_pictures=len(cell.split.parts["test"]),
        tested=dataclasses.replace(
            cell.split, parts={"train": (), "val": (), "test": cell.split.parts["test"]}
        ).digest(),
        train_seconds=_seconds(folder, "train"),
        parameters=sum(_product(shape) for shape in shapes),
        int8=_int8(folder) if int8 else None,
    )


def _int8(folder: Path) -> Int8:
    report = json.loads((folder / "model.export.json").read_text("utf-8"))
    (test,) = (part["file"] for part in report["parts"] if part["part"] == "test")
    return Int8(
        landmark_f1=test["landmark"]["macro_f1"],
        category_f1=test["category"]["macro_f1"],
        gate_passed=report["gate"]["passed"],
        bytes=report["bytes"],
        export_seconds=_seconds(folder, "export"),
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
    words = [sys.executable, *CHILD, *map(str, arguments)]
    with log.open("a", encoding="utf-8") as stream:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=stream, stderr=subprocess.STDOUT
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
