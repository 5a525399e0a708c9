"""A whole export: a finished run folder in, one verified int8 .tflite out."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lmedge.errors import GateError
from lmedge.files import write_bytes, write_json
from lmedge.golden import golden_answers
from lmedge.model_file import HEADS, parse_model

from ..train.backend import keras, tf
from ..train.network import normalise, predict_logits
from ..train.run import Run
from . import convert, metadata, ranges
from .card import Outcome, describe, report
from .finetune import fine_tune
from .gate import Limits, gate
from .lower import lower
from .quantize import quantize
from .refine import refine
from .temperature import fit_temperature
from .verify import compare, run_file

logger = logging.getLogger(__name__)


def export(run: Run, path: Path, *, limits: Limits, force: bool) -> Outcome:
    """Export the int8 file of a finished run to `path`, and the report beside it.

    limits: what may be lost on the validation part. Raises GateError when more is lost, unless
    `force`; the report is written all the same, the file is not.
    """
    seconds: dict[str, float] = {}
    keras.utils.set_random_seed(run.seed)
    tf.config.experimental.enable_op_determinism()
    with _timed(seconds, "load"):
        network = run.network()
    quantized = _quantize(run, network, seconds)
    with _timed(seconds, "temperatures"):
        temperatures = _temperatures(run, quantized)
    with _timed(seconds, "conversion"):
        logger.info("converting to int8 (about a minute)")
        graph = convert.to_int8(quantized, temperatures)
    with _timed(seconds, "verification"):
        outcome = _verify(run, network, graph, temperatures, limits, path)
    outcome = dataclasses.replace(outcome, seconds=seconds)
    written = outcome.verdict.passed or force
    write_json(report_path(path), report(run, path, outcome, written=written))
    if not written:
        raise GateError(
            f"{path} was not written: {'; '.join(outcome.verdict.problems)}. See "
            f"{report_path(path)}; train on more pictures, raise --set quantize.epochs, or write "
            "it anyway with --force"
        )
    write_bytes(path, outcome.data)
    return outcome


def report_path(path: Path) -> Path:
    """Return where the export report of a file stands: FILE.tflite -> FILE.export.json."""
    return path.with_suffix(".export.json")


def _quantize(run: Run, network: keras.Model, seconds: dict[str, float]) -> keras.Model:
    rng = np.random.default_rng([run.seed, 1])
    with _timed(seconds, "lowering"):
        lowered = lower(network)
    with _timed(seconds, "calibration"):
        logger.info("calibrating the ranges of %d tensors", len(lowered.layers) - 1)
        images = calibration_inputs(run, rng)
        observed = ranges.observe(lowered, images, rng)
        chosen = refine(lowered, ranges.choose_ranges(lowered, observed), images)
    with _timed(seconds, "quantization"):
        quantized = quantize(lowered, chosen)
    with _timed(seconds, "fine-tuning"):
        fine_tune(run, network, quantized)
    return quantized


def calibration_inputs(run: Run, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return network inputs of training pictures alone, chosen by the run's seed."""
    entries = run.entries("train")
    count = min(run.recipe.quantize.calibration_pictures, len(entries))
    chosen = np.sort(rng.choice(len(entries), count, replace=False))
    return normalise(run.store.prepared_many([entries[index] for index in chosen]))


def _temperatures(run: Run, network: keras.Model) -> dict[str, float]:
    part = "val" if run.entries("val") else "train"
    logits, truth = predict_logits(network, run.pictures(part)), run.labels(part)
    return {head: fit_temperature(logits[head], truth[head]) for head in HEADS}


def _verify(
    run: Run,
    network: keras.Model,
    graph: bytes,
    temperatures: Mapping[str, float],
    limits: Limits,
    path: Path,
) -> Outcome:
    """Run the file itself on the validation and test parts, and put the result into it."""
    float_temperatures = _temperatures(run, network)
    trial = parse_model(metadata.pack(graph, describe(run, temperatures, path)), path)
    comparisons, verdict = [], gate(None, None, limits)
    for part in ("val", "test"):
        if not run.entries(part):
            continue
        pictures = run.pictures(part)
        file = run_file(trial, pictures)
        logits = predict_logits(network, pictures)
        comparison = compare(part, logits, float_temperatures, file, run.labels(part), run.taxonomy)
        comparisons.append(comparison)
        if part == "val":
            verdict = gate(comparison, file, limits)
    golden = golden_answers(trial)
    data = metadata.pack(graph, describe(run, temperatures, path, comparisons, verdict, golden))
    return Outcome(data, tuple(comparisons), verdict, {}, dict(temperatures))


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds[stage] = round(time.monotonic() - began, 2)
    logger.debug("%s: %.1f s", stage, seconds[stage])
