"""Accuracy and time of one network at several input sizes, as float and as int8 files.

    python -m benchmarks.studies.test_sizes RUN... --out test_sizes.csv

exports each finished run once for every size and number of epochs of fine-tuning under
quantization. A row is one file on the test part of its run; the rows of RUN "all" hold the images
of all runs together, each size in pairs with the first.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from lmedge.errors import RunError
from lmedge.evaluation.scoring import fit_category_weight
from lmedge.export.formats import RunNetworks, Stages
from lmedge.export.selection import time_files
from lmedge.export.verification.comparison import FileComparison, compare_outputs, run_file
from lmedge.export.verification.gate import Limits, gate
from lmedge.image import Resize
from lmedge.model_file import HEADS, ModelFile, bare_model
from lmedge.report.csv_files import write_csv
from lmedge.train.network import predict_logits
from lmedge.train.run import Run

from .common import PATH, out_option, run_study
from .image_sizes import log_loss

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One int8 file of one run, beside the float network at the same size.

    `noise` is the mean signal to noise of all tensors, in dB, as of `lmedge export --explain`.

    `losses` are the log losses of the landmark logits, each network at its best temperature: that
    of float and that of the file. `passed` is the gate's judgement, by the run as it was trained.
    """

    run: str
    size: int
    epochs: int
    model: ModelFile
    comparison: FileComparison
    losses: tuple[float, float]
    passed: bool
    noise: float


def measure(run: Run, size: int, epochs: int) -> Measured:
    """Export a run for a size and score the file on the test part."""
    sized = run.for_export([f"data.test_size={size}", f"quantize.epochs={epochs}"])
    networks = RunNetworks(sized, Stages())
    graph = networks.graph("int8", "uint8")
    taxonomy, resize = run.taxonomy, Resize(run.recipe.data.resize)
    model = bare_model(graph.data, Path("x.tflite"), taxonomy, resize, graph.temperatures)
    found = {part: run_file(model, sized.images(part)) for part in ("val", "test")}
    own, reference = networks.calibration(), networks.reference_calibration()
    weight = fit_category_weight(found["val"], run.labels("val"), taxonomy)

    def compared(part: str, logits: Mapping[str, Any], calibration: Any) -> FileComparison:
        return compare_outputs(
            part,
            logits,
            calibration.temperatures,
            found[part],
            graph.temperatures,
            run.labels(part),
            taxonomy,
            (calibration.decoding.category_weight, weight),
        )

    judged = compared("val", networks.reference("val"), reference)
    truth = run.labels("test")["landmark"]
    outputs = np.log(np.maximum(found["test"]["landmark"].astype(np.float64), 1e-30))
    own_logits = predict_logits(networks.network, sized.images("test"))
    floats = own_logits["landmark"].astype(np.float64)
    return Measured(
        run=run.folder.parent.name if run.folder.name == "run" else run.folder.name,
        size=size,
        epochs=epochs,
        model=model,
        comparison=compared("test", own_logits, own),
        losses=(log_loss(floats, truth), log_loss(outputs, truth)),
        passed=gate(judged, found["val"], Limits()).passed,
        noise=float(np.mean([tensor.snr for tensor in networks.explain()])),
    )


def row(one: Measured, ratio: float) -> Row:
    """Return the figures of one file; ratio: its time over that of the first size."""
    judged = one.comparison
    found: Row = {"run": one.run, "size": one.size, "epochs": one.epochs}
    found["pictures"] = judged.file_scores["landmark"].n
    for head in HEADS:
        found[f"float_{head}_f1"] = judged.float_scores[head].macro_f1
        found[f"file_{head}_f1"] = judged.file_scores[head].macro_f1
        found[f"{head}_agreement"] = judged.agreement[head]
        found[f"{head}_logit_correlation"] = judged.correlation[head]
    for name, right, loss in zip(("float", "file"), _right(judged), one.losses, strict=True):
        found[f"{name}_mistakes"] = int((~right).sum())
        found[f"{name}_log_loss"] = loss
    found["tensors_snr_db"] = one.noise
    found["time_ratio"] = ratio
    found["gate"] = "passed" if one.passed else "refused"
    return found


def _right(judged: FileComparison) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return on which images float and the file name the landmark, decoded together."""
    truth, floats, file = judged.predictions["landmark"]
    return floats == truth, file == truth


def together(measured: Sequence[Measured], rows: Sequence[Row], first: int) -> list[Row]:
    """Return a row of all runs for each size and number of epochs.

    Figures are means of the runs, mistakes are sums. `NAME_gained` and `NAME_lost` count images
    that a network is right on at this size and not at the first one, and the reverse. `NAME_p` is
    the exact probability of such a difference, or a larger one, by chance (McNemar).
    """
    found = []
    for size, epochs in dict.fromkeys((one.size, one.epochs) for one in measured):
        chosen = [n for n, one in enumerate(measured) if (one.size, one.epochs) == (size, epochs)]
        own = [rows[n] for n in chosen]
        mean: Row = {"run": "all", "size": size, "epochs": epochs}
        for key, value in own[0].items():
            if key.endswith("mistakes") or key == "pictures":
                mean[key] = sum(one[key] for one in own)
            elif isinstance(value, float):
                mean[key] = float(np.mean([one[key] for one in own]))
        mean["gate"] = f"{sum(measured[n].passed for n in chosen)} passed"
        before = [m for m in measured if (m.size, m.epochs) == (first, epochs)]
        for place, name in enumerate(("float", "file")):
            now, then = (
                np.concatenate([_right(one.comparison)[place] for one in some])
                for some in ([measured[n] for n in chosen], before)
            )
            gained, lost = int((now & ~then).sum()), int((then & ~now).sum())
            mean[f"{name}_gained"], mean[f"{name}_lost"] = gained, lost
            changed = gained + lost
            mean[f"{name}_p"] = float(binomtest(gained, changed).pvalue) if changed else 1.0
        found.append(mean)
    return found


@click.command()
@click.argument("folders", nargs=-1, required=True, type=PATH, metavar="RUN...")
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(32, 1024),
    multiple=True,
    default=(224, 256),
    show_default=True,
    help="Repeatable; the others are compared with the first.",
)
@click.option(
    "--epochs",
    "rounds",
    type=click.IntRange(0),
    multiple=True,
    default=(3, 0),
    show_default=True,
    help="Of fine-tuning under quantization. Repeatable.",
)
@out_option("test_sizes.csv")
def main(
    folders: tuple[Path, ...], sizes: tuple[int, ...], rounds: tuple[int, ...], out: Path
) -> None:
    """Export finished RUNs for every size and write accuracy and time of the files."""
    runs = [Run.open(folder) for folder in folders]
    for run in runs:
        run.check_finished()
        if not run.entries("test") or not run.entries("val"):
            raise RunError(f"{run.folder} has no validation or no test images; name other runs")
    measured: list[Measured] = []
    rows: list[Row] = []
    for epochs, run in itertools.product(rounds, runs):
        files = [measure(run, size, epochs) for size in sizes]
        times = time_files([one.model for one in files])
        rows += [row(one, time / times[0]) for one, time in zip(files, times, strict=True)]
        measured += files
        data = (
            f"the test parts of {len(runs)} runs, trained for {run.recipe.data.image_size} pixels"
        )
        done = together(measured, rows, sizes[0])
        write_csv(out, [*rows, *done], data=data)
        for one in rows[-len(sizes) :]:
            click.echo(
                f"{one['run']}, {one['size']} pixels, {epochs} epochs: float "
                f"{one['float_mistakes']} wrong, file {one['file_mistakes']}, "
                f"{one['time_ratio']:.2f} times the time"
            )
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
