"""Files of the same network by TensorFlow's own converter, to measure our file against.

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
from lmedge.train.network import load_network
from lmedge.train.run import Run

from .common import PATH, run_study


@click.command()
@click.argument("run", type=PATH)
@click.argument("folder", type=PATH)
def main(run: Path, folder: Path) -> None:
    """Convert a finished RUN to float32 and by post-training quantization, into FOLDER."""
    opened = Run.open(run)
    network = load_network(opened)
    plain = dict.fromkeys(HEADS, 1.0)
    write_bytes(folder / "float32.tflite", convert.to_float32(network, plain))
    inputs = calibration_inputs(opened, np.random.default_rng([opened.seed, 1]))
    post_training = convert.to_int8_post_training(network, plain, inputs)
    write_bytes(folder / "int8_post_training.tflite", post_training)
    click.echo(f"{folder}: float32.tflite, int8_post_training.tflite")


if __name__ == "__main__":
    run_study(main)
