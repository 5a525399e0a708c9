"""Quantization-aware fine-tuning: the int8 network learns to answer as the float one does."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lmedge.decoding import softmax
from lmedge.evaluation.scoring import fit_category_weight, score_probabilities
from lmedge.model_file import HEADS
from lmedge.progress import progress
from lmedge.train.backend import keras, tf
from lmedge.train.network import predict_logits
from lmedge.train.run import Run

logger = logging.getLogger(__name__)
Logits = Mapping[str, npt.NDArray[np.float32]]


@dataclasses.dataclass(frozen=True)
class Closeness:
    """How close the quantized network is to float on the validation part."""

    fall: float
    agreement: float
    distance: float

    def better_than(self, other: Closeness) -> bool:
        """Less F1 lost, then more agreement, then a smaller distance."""
        return self._key() < other._key()

    def _key(self) -> tuple[float, float, float]:
        return (round(self.fall, 4), round(-self.agreement, 4), self.distance)


def fine_tune(run: Run, teacher: keras.Model, quantized: keras.Model) -> Closeness:
    """Distil `teacher` into `quantized` on augmented training images, in place.

    Both give {"landmark": (N, L), "category": (N, C)} logits. The weights of the epoch that fits
    the teacher best on the validation part are kept, those before the first epoch included.
    """
    settings = run.recipe.quantize
    images = run.images("val")
    wanted = predict_logits(teacher, images)
    best = closeness(run, wanted, predict_logits(quantized, images))
    _say(0, settings.epochs, best)
    weights = quantized.get_weights()
    steps = -(-len(run.entries("train")) // settings.batch)
    step = _step(teacher, quantized, settings.learning_rate, steps * settings.epochs)
    with progress("Quantization-aware fine-tuning", steps * settings.epochs) as advance:
        for epoch in range(settings.epochs):
            for batch in run.training_inputs(epoch, settings.batch):
                step(tf.constant(batch))
                advance()
            now = closeness(run, wanted, predict_logits(quantized, images))
            _say(epoch + 1, settings.epochs, now)
            if now.better_than(best):
                best, weights = now, quantized.get_weights()
    quantized.set_weights(weights)
    return best


def _say(epoch: int, epochs: int, fit: Closeness) -> None:
    logger.info(
        "quantized, epoch %d/%d: agreement with float %.3f, distance %.4f (validation part)",
        epoch,
        epochs,
        fit.agreement,
        fit.distance,
    )


def _step(
    teacher: keras.Model, student: keras.Model, learning_rate: float, steps: int
) -> tf.types.experimental.PolymorphicFunction:
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, max(1, steps))
    optimizer = keras.optimizers.Adam(schedule)
    variables = student.trainable_variables

    def step(images: tf.Tensor) -> tf.Tensor:
        wanted = teacher(images, training=False)
        with tf.GradientTape() as tape:
            given = student(images, training=True)
            loss = tf.add_n([_distance(wanted[h], given[h]) for h in HEADS])
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return tf.function(step, autograph=False, reduce_retracing=True)


def _distance(wanted: tf.Tensor, given: tf.Tensor) -> tf.Tensor:
    """Squared error of the logits without their mean, as a share of the wanted ones' square.

    Matching logits (Ba and Caruana, arXiv:1312.6184) and not probabilities: on training images
    the float network is sure, its probabilities say little, and following them alone lets the
    logits of all other images drift.
    """
    wanted = wanted - tf.reduce_mean(wanted, axis=-1, keepdims=True)
    given = given - tf.reduce_mean(given, axis=-1, keepdims=True)
    error, size = tf.reduce_mean(tf.square(wanted - given)), tf.reduce_mean(tf.square(wanted))
    return tf.math.divide_no_nan(error, size)  # a head of one class has no size


def closeness(run: Run, wanted: Logits, given: Logits) -> Closeness:
    """Compare the logits of the float and the quantized network on the validation part."""
    if not run.entries("val"):
        return Closeness(0.0, 1.0, 0.0)
    truth, taxonomy = run.labels("val"), run.taxonomy
    floats, quantized = (
        {head: softmax(values) for head, values in logits.items()} for logits in (wanted, given)
    )
    weight = fit_category_weight(floats, truth, taxonomy)
    before, after = (
        score_probabilities(found, truth, taxonomy, weight) for found in (floats, quantized)
    )
    fall = max(before[head].macro_f1 - after[head].macro_f1 for head in HEADS)
    agreement = min(
        float((wanted[head].argmax(axis=1) == given[head].argmax(axis=1)).mean()) for head in HEADS
    )
    distance = sum(
        float(_distance(tf.constant(wanted[head]), tf.constant(given[head]))) for head in HEADS
    )
    return Closeness(max(0.0, fall), agreement, distance)
