"""The same network as TensorFlow's own converter gives it, to measure our file against.

    python -m benchmarks.studies.baselines RUN DIR

writes DIR/float32.tflite and DIR/int8_post_training.tflite, without lmedge's metadata.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from lmedge.export import convert
from lmedge.export.formats import calibration_inputs
from lmedge.files import write_bytes
from lmedge.model_file import HEADS
from lmedge.train.run import Run

from .scripts import run


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
def main(run: Path, folder: Path) -> None:
    """Convert a finished RUN to float32 and by post-training quantization, into FOLDER."""
    opened = Run.open(run)
    network = opened.network()
    plain = dict.fromkeys(HEADS, 1.0)
    write_bytes(folder / "float32.tflite", convert.to_float32(network, plain))
    inputs = calibration_inputs(opened, np.random.default_rng([opened.seed, 1]))
    post_training = convert.to_int8_post_training(network, plain, inputs)
    write_bytes(folder / "int8_post_training.tflite", post_training)
    click.echo(f"{folder}: float32.tflite, int8_post_training.tflite")


if __name__ == "__main__":
    run(main)
