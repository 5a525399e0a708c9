"""The simulation against the file: what the int8 Keras network computes, and the .tflite.

    python -m lmedge.export.equality RUN PICTURES --out equality.csv

quantizes a finished run, converts it with int8 logits, and compares both on photographs.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from lmedge.dataset_folder import list_pictures
from lmedge.errors import DataError
from lmedge.files import write_text
from lmedge.image import Resize, prepare, read_picture
from lmedge.interpreter import load_runtime
from lmedge.machine import cores, processor_model
from lmedge.model_file import HEADS

from ..train.backend import keras
from ..train.network import Pictures, predict_logits
from ..train.run import Run
from .formats import Source
from .stages import Stages

COLUMNS = (
    "head", "pictures", "values", "agreement", "equal", "within_1", "within_2", "largest", "step",
)  # fmt: skip


def file_steps(
    graph: bytes, network: keras.Model, pictures: Pictures
) -> dict[str, tuple[npt.NDArray[np.int64], float, int]]:
    """Run a bare graph with int8 logits on (N, S, S, 3) uint8: by head (N, K) steps, scale, zero.

    Its heads are told by the network's: outputs of the signature, by name.
    """
    _, interpreter_class = load_runtime()
    interpreter = interpreter_class(model_content=graph, num_threads=cores())
    runner = interpreter.get_signature_runner()
    (name,) = runner.get_input_details()
    found: dict[str, list[Any]] = {head: [] for head in network.output_names}
    for picture in pictures:
        answers = runner(**{name: (picture ^ 0x80).view(np.int8)[None]})
        for head, values in found.items():
            values.append(answers[head][0].astype(np.int64))
    details = runner.get_output_details()
    return {head: (np.stack(values), *details[head]["quantization"])
            for head, values in found.items()}  # fmt: skip


def compare(network: keras.Model, graph: bytes, pictures: Pictures) -> list[dict[str, Any]]:
    """Return the row of each head: shares in 0..1, `largest` in quantization steps."""
    wanted = predict_logits(network, pictures)
    given = file_steps(graph, network, pictures)
    rows = []
    for head in HEADS:
        steps, scale, zero = given[head]
        simulated = np.rint(wanted[head].astype(np.float64) / scale).astype(np.int64) + zero
        apart = np.abs(simulated - steps)
        rows.append(
            {
                "head": head,
                "pictures": len(steps),
                "values": steps.size,
                "agreement": float((simulated.argmax(axis=1) == steps.argmax(axis=1)).mean()),
                "equal": float((apart == 0).mean()),
                "within_1": float((apart <= 1).mean()),
                "within_2": float((apart <= 2).mean()),
                "largest": int(apart.max()),
                "step": float(scale),
            }
        )
    return rows


def table(rows: list[dict[str, Any]], pictures: Path) -> str:
    """Return the rows as CSV under the command and the machine."""
    stream = io.StringIO()
    stream.write(f"# command: python -m lmedge.export.equality RUN {pictures}\n")
    stream.write(f"# machine: {processor_model()}, {cores()} cores\n")
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})
    return stream.getvalue()


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("pictures", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The CSV file.")
@click.option("--count", default=500, show_default=True, type=click.IntRange(1))
def main(run: Path, pictures: Path, out: Path, count: int) -> None:
    """Compare the int8 network of a finished RUN with its file, on PICTURES of a folder."""
    opened = Run.open(run)
    paths = list_pictures(pictures) if pictures.is_dir() else []
    if not paths:
        raise DataError(f"{pictures}: holds no pictures; pass a folder of photographs")
    chosen = np.random.default_rng(0).permutation(len(paths))[:count]
    data = opened.recipe.data
    size, resize = data.image_size, Resize(data.resize)
    images = np.stack(
        [prepare(read_picture(paths[i], size), size, resize) for i in sorted(chosen.tolist())]
    )
    source = Source(opened, Stages())
    graph = source.graph("int8", "int8")
    rows = compare(source.quantized(), graph.data, images)
    write_text(out, table(rows, pictures))
    click.echo(out.read_text("utf-8"))


if __name__ == "__main__":
    main()
