"""Loss by quantization: our int8 file and TensorFlow's post-training one, compared with float.

    python -m benchmarks.studies.quality RUN... --out quality.csv [--unknown DIR]

exports each finished run twice and writes a row a file, of the run's test part, and their means.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lmedge.evaluation.unknown import list_unknown_images
from lmedge.export.exporting import Options
from lmedge.export.selection import CandidateFormat, export_all
from lmedge.export.verification.rejection import LEAST_UNKNOWN
from lmedge.model_file import HEADS
from lmedge.report.csv_files import study_command, write_csv
from lmedge.train.run import Run

from .common import PATH, out_option, run_study, unknown_option

NAMES = ("int8", "int8-ptq")
Row = dict[str, Any]


def row(run: str, candidate: CandidateFormat) -> Row:
    """Return the figures of one file as columns of the table."""
    outcome = candidate.outcome
    judged, rejection = outcome.findings.comparisons[-1], outcome.findings.rejection
    found: Row = {"run": run, "format": candidate.format, "part": judged.part}
    found["pictures"] = judged.file_scores["landmark"].n
    for head in HEADS:
        found[f"float_{head}_f1"] = judged.float_scores[head].macro_f1
        found[f"file_{head}_f1"] = judged.file_scores[head].macro_f1
        found[f"{head}_agreement"] = judged.agreement[head]
        # A softmax in int8 ends at 1/256: its logits are lost.
        lost = candidate.format == "int8-ptq"
        found[f"{head}_logit_correlation"] = "" if lost else judged.correlation[head]
        found[f"{head}_ece_before"] = judged.calibration[head].before
        found[f"{head}_ece"] = judged.calibration[head].after
        alone = judged.file_scores.alone[head]
        found[f"file_{head}_alone_f1"] = alone.macro_f1
    found["conflict_rate"] = judged.file_scores.conflict_rate
    for name in ("kept", "false_accepts", "auroc"):
        value = None if rejection is None else getattr(rejection, name)
        found[name] = "" if value is None else value
    found["gate"] = "passed" if candidate.passed else "refused"
    found["megabytes"] = candidate.megabytes
    found["invoke_ms"] = candidate.milliseconds
    for stage in ("calibration", "conversion"):
        found[f"{stage}_seconds"] = outcome.seconds.get(stage, "")
    return found


def means(rows: Sequence[Row]) -> list[Row]:
    """Return the mean row of each format."""
    found = []
    for name in NAMES:
        own = [one for one in rows if one["format"] == name]
        mean: Row = {"run": "mean", "format": name}
        for key, value in own[0].items():
            numbers = [one[key] for one in own if isinstance(one[key], float | int)]
            if isinstance(value, float | int) and len(numbers) == len(own):
                mean[key] = sum(numbers) / len(own)
        mean["pictures"] = sum(one["pictures"] for one in own)
        found.append(mean)
    return found


@click.command()
@click.argument("runs", nargs=-1, required=True, type=PATH)
@out_option()
@click.option(
    "--files",
    type=PATH,
    metavar="DIR",
    default="runs/quality",
    show_default=True,
    help="Folder of the exported files.",
)
@unknown_option(type=PATH, metavar="DIR", help="Images of no landmark that a run knows.")
@click.option("--data", default="", help="Data set of the runs, for the head of the table.")
def main(runs: tuple[Path, ...], out: Path, files: Path, unknown: Path | None, data: str) -> None:
    """Export finished RUNs and write the loss by quantization."""
    others = [] if unknown is None else list_unknown_images(unknown, LEAST_UNKNOWN)
    options = Options(force=True, unknown=others)
    rows: list[Row] = []
    stand_ins = {runs[0]: "RUN"} if len(runs) == 1 else {}
    command = study_command(sys.argv, stand_ins)
    opened = [Run.open(folder) for folder in runs]
    for number, (folder, own) in enumerate(zip(runs, opened, strict=True)):
        name = str(number) if len(runs) > 1 else folder.name
        path = files / f"{name}.tflite"
        path.parent.mkdir(parents=True, exist_ok=True)
        candidates = export_all(own, path, NAMES, options)
        rows += [row(name, candidate) for candidate in candidates]
        together = [*rows, *means(rows)] if len(runs) > 1 else rows
        write_csv(out, together, data=data, command=command)
        click.echo(f"{folder}: done, {out}")


if __name__ == "__main__":
    run_study(main)
