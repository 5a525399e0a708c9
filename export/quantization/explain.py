"""The error that quantization adds to each tensor of the int8 network, beside float's."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.files import write_text
from lmedge.harmless import write_rows
from lmedge.report.failures import going_on_without
from lmedge.train.backend import keras, tf

from .lower import lower
from .scheme import output_range

IMAGES = 32  # calibration images that are compared
BATCH = 4  # all tensors of these are in memory at once
WORST = 12  # of the table that is printed
MARKED = 5  # of the plot
CLEAN = 99.9  # decibels if no error is left to divide by


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise:
    """One tensor of the file, in the order of the graph.

    `snr` is the ratio of float's signal to the error of the int8 network, all earlier errors
    included. `rounding` is the ratio if float's own values are rounded over `low`..`high`, the
    error of this tensor alone. Both are 10 log10 of the ratio of sums of squares, in decibels,
    CLEAN at most.
    """

    place: int
    tensor: str
    operation: str
    shape: tuple[int, ...]
    low: float
    high: float
    snr: float
    rounding: float


def explain(
    network: keras.Model, quantized: keras.Model, images: npt.NDArray[np.float32]
) -> list[Noise]:
    """Compare the float network with the quantized one made of it, on (N, S, S, 3) inputs.

    The first IMAGES are used. Tensors that the file does not hold, in front of a ReLU for
    instance, are left out.
    """
    lowered = lower(network)
    layers, ranges = [], []
    for layer in lowered.layers:
        ends = None
        if not isinstance(layer, keras.layers.InputLayer):
            ends = output_range(quantized, layer.name)
        if ends is not None:
            layers.append(layer)
            ranges.append(ends)
    exact = keras.Model(lowered.input, [layer.output for layer in layers])
    rough = keras.Model(
        quantized.input, [quantized.get_layer(layer.name).output for layer in layers]
    )

    def measure(x: tf.Tensor) -> tf.Tensor:
        sums = []
        pairs = zip(exact(x, training=False), rough(x, training=False), ranges, strict=True)
        for wanted, given, (low, high) in pairs:
            rounded = tf.quantization.fake_quant_with_min_max_args(wanted, low, high)
            signal, errors = tf.square(wanted), (given - wanted, rounded - wanted)
            sums.append([tf.reduce_sum(v) for v in (signal, *map(tf.square, errors))])
        return tf.cast(tf.convert_to_tensor(sums), tf.float64)

    run = tf.function(measure, autograph=False, reduce_retracing=True)
    images = images[:IMAGES]
    total = np.sum(
        [run(tf.constant(images[at : at + BATCH])).numpy() for at in range(0, len(images), BATCH)],
        axis=0,
    )
    return [
        Noise(
            place=place,
            tensor=layer.name,
            operation=type(layer).__name__,
            shape=tuple(int(side) for side in layer.output.shape[1:]),
            low=low,
            high=high,
            snr=_decibels(signal, error),
            rounding=_decibels(signal, rounding),
        )
        for place, (layer, (low, high), (signal, error, rounding)) in enumerate(
            zip(layers, ranges, total.tolist(), strict=True)
        )
    ]


def _decibels(signal: float, error: float) -> float:
    if error <= signal * 10 ** (-CLEAN / 10):
        return CLEAN
    return 10 * math.log10(signal / error) if signal > 0 else -CLEAN


def worst(found: Sequence[Noise]) -> list[Noise]:
    """Return the tensors with the least signal to noise first."""
    return sorted(found, key=lambda one: one.snr)


def explanation_path(path: Path) -> Path:
    """Return the path of the table of a file: FILE.tflite -> FILE.explain.csv."""
    return path.with_suffix(".explain.csv")


def write_explanation(path: Path, found: Sequence[Noise]) -> None:
    """Write the table, worst first, and the plot beside the name of a file."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ("place", "tensor", "operation", "shape", "low", "high", "snr_db", "rounding_db")
    )
    for one in worst(found):
        shape = "x".join(map(str, one.shape))
        numbers = (f"{one.low:.5g}", f"{one.high:.5g}", f"{one.snr:.2f}", f"{one.rounding:.2f}")
        write_rows(writer, [(one.place, one.tensor, one.operation, shape, *numbers)])
    write_text(explanation_path(path), stream.getvalue())
    plot = path.with_suffix(".explain.png")
    with going_on_without(plot):
        _plot_noise(plot, found, worst(found)[:MARKED])


def _plot_noise(path: Path, found: Sequence[Noise], marked: Sequence[Noise]) -> None:
    """Write a PNG of all tensors, in the order of the graph; `marked` ones are numbered."""
    # Imported here: an export that explains nothing does not need matplotlib.
    from lmedge.report.canvas import drawing
    from lmedge.report.palette import BLUE, GREY, ORANGE

    with drawing(path, (9.0, 4.2)) as figure:
        axes = figure.subplots()
        places = [one.place for one in found]
        rounding, noise = [one.rounding for one in found], [one.snr for one in found]
        axes.plot(places, rounding, ".", color=GREY, ms=4, label="rounding of this tensor alone")
        axes.plot(places, noise, color=BLUE, lw=1.2, label="with all errors before it")
        for rank, one in enumerate(marked, 1):
            axes.plot(one.place, one.snr, "o", color=ORANGE, ms=5, zorder=3)
            axes.annotate(
                str(rank),
                (one.place, one.snr),
                textcoords="offset points",
                xytext=(0, -12),
                ha="center",
                fontsize=8,
                color=ORANGE,
            )
        names = "   ".join(f"{rank} {one.tensor}" for rank, one in enumerate(marked, 1))
        axes.set_title(f"Worst: {names}", fontsize=8, loc="left", color=ORANGE)
        axes.set_ylim(min(0.0, *noise) - 4, None)
        axes.set_xlabel("tensor, in the order of the graph")
        axes.set_ylabel("signal to noise, dB")
        axes.legend(frameon=False, loc="upper right")
