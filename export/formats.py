"""Conversion of a run to each format, and the networks that this needs."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from lmedge.train.arrays import normalise
from lmedge.train.backend import keras
from lmedge.train.calibration import Calibration, fit_calibration
from lmedge.train.network import FEATURES, load_network, predict_logits
from lmedge.train.run import Run

from . import convert
from .quantization import ranges
from .quantization.explain import Noise, explain
from .quantization.finetune import fine_tune
from .quantization.lower import lower
from .quantization.refine import refine
from .quantization.scheme import quantize
from .verification.comparison import Logits
from .verification.known import Known, fit_known, predict_with_features, spread

logger = logging.getLogger(__name__)
# The third output is left out if TensorFlow's post-training quantization would round it too: int8
# leaves nothing of the squares and their sum.
WITH_KNOWN = ("dynamic", "float16", "float32")


class Stages:
    """Seconds by stage, in the order in which they were first entered."""

    def __init__(self) -> None:
        """Begin without stages."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        began = time.monotonic()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0) + time.monotonic() - began, 2)
        logger.debug("%s: %.1f s", stage, self.seconds[stage])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Graph:
    """A converted graph without metadata, and the temperatures that belong to it."""

    format: str
    data: bytes
    temperatures: Mapping[str, float]


class RunNetworks:
    """The networks of a run: the float one as trained, and the int8 one, made when first needed.

    Their logits are kept, so that each network runs over a part once.
    """

    def __init__(self, run: Run, stages: Stages) -> None:
        """Load the float network; `stages` keeps the seconds of each step."""
        self.run, self._stages = run, stages
        with stages.timed("load"):
            self.network = load_network(run)
        self._float_logits: dict[str, Logits] = {}
        self._reference_logits: dict[str, Logits] = {}
        self._int8_logits: dict[str, Logits] = {}
        self._float_calibration: Calibration | None = None
        self._float_known: Known | None = None
        self._quantized: keras.Model | None = None
        self._inputs: np.ndarray[Any, np.dtype[np.float32]] | None = None

    def logits(self, part: str) -> Logits:
        """Return the logits of the float network on a part, (N, L) and (N, C) by head."""
        return self._predicted(self.network, self._float_logits, part)

    def _predicted(self, network: keras.Model, kept: dict[str, Logits], part: str) -> Logits:
        if part not in kept:
            kept[part] = predict_logits(network, self.run.images(part))
        return kept[part]

    def reference(self, part: str) -> Logits:
        """Return the logits of the float network as it was trained, on images of its own size."""
        trained = self.run.as_trained
        if trained.input_spec == self.run.input_spec:
            return self.logits(part)
        if part not in self._reference_logits:
            network = load_network(trained)
            self._reference_logits[part] = predict_logits(network, trained.images(part))
        return self._reference_logits[part]

    def reference_calibration(self) -> Calibration:
        """Return the calibration of `reference`, fitted as training fits it."""
        if self.run.as_trained.input_spec == self.run.input_spec:
            return self.calibration()
        return self._fitted(self.reference(self._judging_part()))

    def calibration(self) -> Calibration:
        """Return the calibration of the float network, fitted as training fits it."""
        if self._float_calibration is None:
            self._float_calibration = self._fitted(self.logits(self._judging_part()))
        return self._float_calibration

    def _fitted(self, logits: Logits) -> Calibration:
        return fit_calibration(logits, self.run.labels(self._judging_part()), self.run.taxonomy)

    def graph(self, name: str, io: str) -> Graph:
        """Convert to one of FORMATS. Raises LmedgeError when the converter fails.

        The int8 network has temperatures of its own; the others take those of the float network.
        """
        if name == "int8":
            return self._int8_graph(io)
        temperatures = self.calibration().temperatures
        if name in WITH_KNOWN and self._float_known is None:
            self._float_known = self._known(self.network)
        known = self._float_known if name in WITH_KNOWN else None
        with self._stages.timed(f"conversion {name}"):
            logger.info("converting to %s", name)
            data = self._convert(name, temperatures, known)
        return Graph(format=name, data=data, temperatures=temperatures)

    def _int8_graph(self, io: str) -> Graph:
        quantized = self.quantized()
        with self._stages.timed("temperatures"):
            found = self._predicted(quantized, self._int8_logits, self._judging_part())
            temperatures = self._fitted(found).temperatures
        known = None if io == "int8" else self._known(quantized)
        with self._stages.timed("conversion"):
            logger.info("converting to int8 (about a minute)")
            if known is None:
                data = convert.to_int8_logits(quantized)
            else:
                data = convert.to_int8(quantized, temperatures, known)
        return Graph(format="int8", data=data, temperatures=temperatures)

    def _known(self, network: keras.Model) -> Known:
        """Fit the third output on training images that the run's seed chooses."""
        run = self.run
        with self._stages.timed("known"):
            logger.info("computing the mean features of the landmarks")
            truth = run.labels("train")["landmark"]
            chosen = spread(truth, _rng(run))
            found = predict_with_features(network, run.images("train", chosen.tolist()))
            others = predict_with_features(network, run.unknown_images()) if run.unknown else {}
            return fit_known(
                found[FEATURES], truth[chosen], run.taxonomy.parent_index, others.get(FEATURES)
            )

    def _convert(self, name: str, temperatures: Mapping[str, float], known: Known | None) -> bytes:
        network = self.network
        match name:
            case "float32":
                return convert.to_float32(network, temperatures, known)
            case "float16":
                return convert.to_float16(network, temperatures, known)
            case "dynamic":
                return convert.to_dynamic(network, temperatures, known)
            case "int8-ptq":
                return convert.to_int8_post_training(
                    network, temperatures, self._calibration_inputs()
                )
            case "int16x8":
                return convert.to_int16x8(network, temperatures, self._calibration_inputs())
        raise ValueError(f"no format {name}")

    def explain(self) -> list[Noise]:
        """Return the error that quantization adds to each tensor, on calibration images."""
        quantized = self.quantized()
        with self._stages.timed("explanation"):
            return explain(self.network, quantized, self._calibration_inputs())

    def _judging_part(self) -> str:
        return "val" if self.run.entries("val") else "train"

    def _calibration_inputs(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        if self._inputs is None:
            self._inputs = calibration_inputs(self.run, _rng(self.run))
        return self._inputs

    def quantized(self) -> keras.Model:
        """Return the int8 network, calibrated and fine-tuned. The first call makes it."""
        if self._quantized is not None:
            return self._quantized
        run, stages, rng = self.run, self._stages, _rng(self.run)
        with stages.timed("lowering"):
            lowered = lower(self.network)
        with stages.timed("calibration"):
            logger.info("calibrating the ranges of %d tensors", len(lowered.layers) - 1)
            images = calibration_inputs(run, rng)
            chosen = ranges.choose_ranges(lowered, ranges.observe(lowered, images, rng))
            chosen = refine(lowered, chosen, images)
        with stages.timed("quantization"):
            self._quantized = quantize(lowered, chosen)
        with stages.timed("fine-tuning"):
            tuned = fine_tune(run, self.network, self._quantized, self.logits("val"))
            self._int8_logits["val"] = tuned.logits
        return self._quantized


def _rng(run: Run) -> np.random.Generator:
    return np.random.default_rng([run.seed, 1])


def calibration_inputs(run: Run, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return network inputs, (N, S, S, 3), of training images alone, chosen by the run's seed."""
    entries = run.entries("train")
    count = min(run.recipe.quantize.calibration_pictures, len(entries))
    chosen = np.sort(rng.choice(len(entries), count, replace=False))
    return normalise(run.input_store.prepared_many([entries[index] for index in chosen]))
