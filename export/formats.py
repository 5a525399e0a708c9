"""Conversion of a run to each format, and the networks that this needs."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from lmedge.errors import RunError
from lmedge.evaluation import CROSS_VALIDATED
from lmedge.train.arrays import first_not_finite, normalise
from lmedge.train.backbones import BACKBONES
from lmedge.train.backend import keras
from lmedge.train.calibration import Calibration, fit_calibration
from lmedge.train.network import FEATURES, load_network, predict_logits, predict_with_features
from lmedge.train.run import Run

from . import convert
from .quantization import ranges
from .quantization.explain import Noise, explain
from .quantization.finetune import TuningJudge, fine_tune
from .quantization.lower import lower
from .quantization.means import settle_means
from .quantization.refine import refine
from .quantization.scheme import quantize
from .verification.comparison import Logits
from .verification.judge import (
    Judge,
    chosen_rows,
    judged_images,
    judged_part,
    out_of_fold_judge,
)
from .verification.known import Known, fit_known, spread

logger = logging.getLogger(__name__)
# The third output is left out if TensorFlow's post-training quantization would round it too: int8
# leaves nothing of the squares and their sum.
TUNING = 128  # images that choose the epoch of fine-tuning if there is no validation part
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
        self._logits: dict[tuple[str, str], Logits] = {}
        self._float_calibration: Calibration | None = None
        self._float_known: Known | None = None
        self._quantized: keras.Model | None = None
        self._int8_judged: Logits | None = None
        self._inputs: np.ndarray[Any, np.dtype[np.float32]] | None = None

    def reference(self, part: str) -> Logits:
        """Return the logits of the float network as it was trained, on images of its own size.

        part: "val", "test" or "train". Of "train" those of the judge alone.

        Raises RunError if a logit is not finite.
        """
        trained = self.run.as_trained
        if ("reference", part) not in self._logits:
            same = trained.input_spec == self.run.input_spec
            network = self.network if same else load_network(trained)
            places = self._places if part == "train" else None
            found = predict_logits(network, trained.images(part, places))
            if (head := first_not_finite(found)) is not None:
                raise RunError(
                    f"{self.run.folder}: the {head} head of its network is not finite for images "
                    f"of the {part} part; train anew with a lower fine_tune.learning_rate"
                )
            self._logits["reference", part] = found
        return self._logits["reference", part]

    @functools.cached_property
    def judge(self) -> Judge:
        """The images that the file is judged by, with the answers of the float network."""
        run, part = self.run, judged_part(self.run)
        if part == CROSS_VALIDATED:
            return out_of_fold_judge(run, self.reference("train"), chosen_rows(run))
        return Judge(
            part=part,
            places=np.arange(len(run.entries(part))),
            truth=run.labels(part),
            honest=self.reference(part),
        )

    @functools.cached_property
    def _places(self) -> list[int] | None:
        """The training images of the judge; None for all."""
        if self.run.plan is None:
            return None
        found: list[int] = self.run.plan.measured[chosen_rows(self.run)].tolist()
        return found

    def judged(self, network: keras.Model) -> Logits:
        """Return the logits of a network for the images of the judge, as of images it never saw."""
        images = judged_images(self.run, self.judge.places)
        return self.judge.shifted(predict_logits(network, images))

    def _float_judged(self) -> Logits:
        if self.run.as_trained.input_spec == self.run.input_spec:
            return self.judge.honest
        if ("float", self.judge.part) not in self._logits:
            self._logits["float", self.judge.part] = self.judged(self.network)
        return self._logits["float", self.judge.part]

    def reference_calibration(self) -> Calibration:
        """Return the calibration of `reference`, fitted as training fits it."""
        return self._fitted(self.judge.honest)

    def calibration(self) -> Calibration:
        """Return the calibration of the float network, fitted as training fits it."""
        if self._float_calibration is None:
            self._float_calibration = self._fitted(self._float_judged())
        return self._float_calibration

    def _fitted(self, logits: Logits) -> Calibration:
        return fit_calibration(logits, self.judge.truth, self.run.taxonomy)

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
            if self._int8_judged is None:
                self._int8_judged = self.judged(quantized)
            temperatures = self._fitted(self._int8_judged).temperatures
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
                found[FEATURES],
                truth[chosen],
                run.taxonomy.parent_index,
                others.get(FEATURES),
                read=BACKBONES[run.spec.backbone].last_features,
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
            chosen = settle_means(lowered, refine(lowered, chosen, images))
        with stages.timed("quantization"):
            self._quantized = quantize(lowered, chosen)
        with stages.timed("fine-tuning"):
            judge = self._tuning_judge()
            tuned = fine_tune(run, self.network, self._quantized, judge)
            if len(judge.judge.places) == len(self.judge.places):
                self._int8_judged = tuned.logits
        return self._quantized

    def _tuning_judge(self) -> TuningJudge:
        """The images that choose the epoch of fine-tuning, at most TUNING of the judge."""
        judge, floats = self.judge, self._float_judged()
        rows = np.arange(len(judge.places))
        if judge.part != "val" and len(rows) > TUNING:
            rows = np.sort(_rng(self.run).choice(rows, TUNING, replace=False))
        images = judged_images(self.run, judge.places[rows])
        own = None if judge.own is None else _rows(judge.own, rows)
        honest = _rows(judge.honest, rows)
        picked = dataclasses.replace(
            judge, places=judge.places[rows], truth=_rows(judge.truth, rows), honest=honest, own=own
        )
        return TuningJudge(judge=picked, images=images, wanted=_rows(floats, rows))


def _rows(arrays: Mapping[str, Any], rows: np.ndarray[Any, np.dtype[np.intp]]) -> dict[str, Any]:
    return {head: values[rows] for head, values in arrays.items()}


def _rng(run: Run) -> np.random.Generator:
    return np.random.default_rng([run.seed, 1])


def calibration_inputs(run: Run, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return network inputs, (N, S, S, 3), of training images alone, chosen by the run's seed."""
    entries = run.entries("train")
    count = min(run.recipe.quantize.calibration_pictures, len(entries))
    chosen = np.sort(rng.choice(len(entries), count, replace=False))
    return normalise(run.input_store.prepared_many([entries[index] for index in chosen]))
