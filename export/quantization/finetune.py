"""Quantization-aware fine-tuning: the int8 network learns to predict as the float one does."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from lmedge.decoding import softmax
from lmedge.evaluation.scoring import fit_category_weight, score_probabilities
from lmedge.model_file import HEADS
from lmedge.progress import progress
from lmedge.taxonomy import Taxonomy
from lmedge.train.arrays import Images
from lmedge.train.backend import keras, tf
from lmedge.train.network import predict_logits
from lmedge.train.run import Run

from ..verification.comparison import Logits, Truth
from ..verification.judge import Judge

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Closeness:
    """The closeness of the quantized network to float.

    `fall` is the macro F1 lost, `agreement` the share of equal top classes, both of the worse head
    and in 0..1. `distance` is the sum of both heads' `_distance`.
    """

    fall: float
    agreement: float
    distance: float

    def better_than(self, other: Closeness) -> bool:
        """Compare by less F1 lost, then by more agreement, then by a smaller distance."""
        return self._key() < other._key()

    def _key(self) -> tuple[float, float, float]:
        return (round(self.fall, 4), round(-self.agreement, 4), self.distance)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningJudge:
    """The images that choose the epoch, and `wanted`, the teacher's logits for them by head.

    The teacher's logits are those of images that it has not learned, see `Judge`.
    """

    judge: Judge
    images: Images
    wanted: Logits

    def ask(self, quantized: keras.Model, taxonomy: Taxonomy) -> FineTuned:
        """Compare a quantized network with the teacher."""
        given = self.judge.shifted(predict_logits(quantized, self.images))
        found = closeness(self.judge.truth, taxonomy, self.wanted, given)
        return FineTuned(closeness=found, logits=given)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuned:
    """The closeness to float of the weights that were kept, and their logits for the judge."""

    closeness: Closeness
    logits: Logits


def fine_tune(
    run: Run, teacher: keras.Model, quantized: keras.Model, judge: TuningJudge
) -> FineTuned:
    """Distil `teacher` into `quantized` on augmented training images, in place.

    Both give {"landmark": (N, L), "category": (N, C)} logits. The weights of the epoch that fits
    the teacher best by the judge are kept, those before the first epoch included.
    """
    settings = run.recipe.quantize
    best = judge.ask(quantized, run.taxonomy)
    _log(0, settings.epochs, best.closeness)
    weights, kept = quantized.get_weights(), 0
    steps = -(-len(run.entries("train")) // settings.batch)
    step = _step(teacher, quantized, settings.learning_rate, steps * settings.epochs)
    with progress("Quantization-aware fine-tuning", steps * settings.epochs) as advance:
        for epoch in range(settings.epochs):
            lost = tf.constant(0.0)
            for batch in run.training_inputs(epoch, settings.batch):
                lost = step(tf.constant(batch))
                advance()
            if not np.isfinite(lost):  # once it is not, no later step's is
                logger.warning(
                    "quantized, epoch %d: the loss is not finite; the weights of epoch %d are "
                    "kept, try a lower quantize.learning_rate than %g",
                    epoch + 1,
                    kept,
                    settings.learning_rate,
                )
                break
            now = judge.ask(quantized, run.taxonomy)
            _log(epoch + 1, settings.epochs, now.closeness)
            if now.closeness.better_than(best.closeness):
                best, weights, kept = now, quantized.get_weights(), epoch + 1
    quantized.set_weights(weights)
    return best


def _log(epoch: int, epochs: int, fit: Closeness) -> None:
    logger.info(
        "quantized, epoch %d/%d: agreement with float %.3f, distance %.4f",
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
    optimizer.build(variables)  # a step that creates variables is traced twice

    def step(images: tf.Tensor) -> tf.Tensor:
        wanted = teacher(images, training=False)
        with tf.GradientTape() as tape:
            given = student(images, training=True)
            loss = tf.add_n([_distance(wanted[h], given[h]) for h in HEADS])
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return tf.function(step, autograph=False, reduce_retracing=True)


def _distance(wanted: tf.Tensor, given: tf.Tensor) -> tf.Tensor:
    """Return the squared error of the logits without their mean, as a share of the wanted square.

    The loss matches logits (Ba and Caruana, arXiv:1312.6184) and not probabilities. On training
    images the float network is sure and its probabilities carry little. If the student followed
    them alone, the logits of all other images would drift.
    """
    wanted = wanted - tf.reduce_mean(wanted, axis=-1, keepdims=True)
    given = given - tf.reduce_mean(given, axis=-1, keepdims=True)
    error, size = tf.reduce_mean(tf.square(wanted - given)), tf.reduce_mean(tf.square(wanted))
    return tf.math.divide_no_nan(error, size)  # a head of one class has no size


def closeness(truth: Truth, taxonomy: Taxonomy, wanted: Logits, given: Logits) -> Closeness:
    """Compare the logits of the float and the quantized network for images of labels `truth`."""
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
    return Closeness(fall=max(0.0, fall), agreement=agreement, distance=distance)
