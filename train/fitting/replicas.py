"""One step on several replicas: each gets its share of the batch that a single one would get.

Keras would rebatch a Sequence by itself, differently on every worker. Here a batch is cut into
equal shares. A batch that does not divide is filled up with images of weight 0. The weights of the
others rise by as much as Keras' mean falls, so that the gradient is that of one device.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import keras, tf

Arrays = dict[str, npt.NDArray[np.float32]]
Share = tuple[npt.NDArray[np.float32], Arrays, Arrays]


def replicas() -> int:
    """Return the number of replicas that train in step in the current scope."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def outside(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function outside the current strategy, in a thread: a scope belongs to its thread.

    All workers together must read batch-norm statistics that were made in a scope. Work of one
    worker alone, or at a time of its own, needs plain variables.
    """
    if replicas() == 1:
        return function(*arguments)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


def plain(model: keras.Model) -> keras.Model:
    """Return a copy of plain variables; with one replica the model itself."""
    if replicas() == 1:
        return model
    weights = model.get_weights()
    copy = outside(keras.models.clone_model, model)
    copy.set_weights(weights)
    return copy


class Problems:
    """The errors of the generators that TensorFlow reads batches from.

    TensorFlow turns an exception of a generator into an error of its own, with a traceback as text.
    """

    def __init__(self) -> None:
        self._found: list[Exception] = []

    def noting(self, generate: Callable[[], Iterator[Any]]) -> Callable[[], Iterator[Any]]:
        """Return a generator function like `generate` that keeps the error that ends it."""

        def noted() -> Iterator[Any]:
            try:
                yield from generate()
            except Exception as error:
                self._found.append(error)
                raise

        return noted

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """Raise the error of a generator in place of that of TensorFlow in the block."""
        try:
            yield
        except tf.errors.OpError:
            if not self._found:
                raise
            raise self._found[0] from None


@contextlib.contextmanager
def feed(batches: keras.utils.Sequence) -> Iterator[tuple[Any, int]]:
    """Give the input of `Model.fit` or `evaluate` for these batches, and its number of steps.

    An error of the batches comes out of the block as itself.
    """
    problems = Problems()
    with problems.raising():
        yield _fed(batches, problems)


def _fed(batches: keras.utils.Sequence, problems: Problems) -> tuple[Any, int]:
    steps = len(batches)
    if replicas() == 1:
        each = problems.noting(lambda: (batches[index] for index in range(steps)))
        return _dataset(each, batches[0]), steps
    inputs, targets, weights = next(shares(batches, range(1), 1))
    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype),
        (inputs, targets, weights),
    )

    def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        own = context.num_replicas_in_sync // context.num_input_pipelines
        first = context.input_pipeline_id * own
        chosen, count = range(first, first + own), context.num_replicas_in_sync
        return tf.data.Dataset.from_generator(
            problems.noting(lambda: shares(batches, chosen, count)), output_signature=signature
        ).prefetch(2 * own)

    return keras.utils.experimental.DatasetCreator(dataset), steps


def _dataset(generate: Callable[[], Iterator[Any]], example: Any) -> tf.data.Dataset:
    """Return a data set of batches like `example`.

    Keras would make one with autotuning. When an epoch ends, the autotuner finishes its pause of
    up to 20 seconds first (TensorFlow 2.21).
    """
    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), example
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    data = tf.data.Dataset.from_generator(generate, output_signature=signature)
    return data.prefetch(2).with_options(options)


def shares(batches: keras.utils.Sequence, chosen: range, count: int) -> Iterator[Share]:
    """Yield the shares `chosen` of `count` of each batch: inputs, targets and weights by head."""
    for index in range(len(batches)):
        inputs, targets, *given = batches[index]
        real = len(inputs)
        size = -(-real // count)
        rows = np.arange(size * count) % real
        weight = np.where(np.arange(size * count) < real, size * count / real, 0.0)
        weights = {
            head: (weight * (given[0][head][rows] if given else 1.0)).astype(np.float32)
            for head in targets
        }
        for number in chosen:
            part = slice(number * size, (number + 1) * size)
            yield (
                inputs[rows[part]],
                {head: values[rows[part]] for head, values in targets.items()},
                {head: values[part] for head, values in weights.items()},
            )


def predicted(model: keras.Model, inputs: Any, batch: int = 64) -> Any:
    """Return the outputs of `model` for arrays or a Sequence, on this process' own devices.

    With several workers, `Model.predict` would take a part of the inputs on each.
    """
    whole = isinstance(inputs, keras.utils.Sequence)
    if replicas() == 1 and whole and len(inputs):
        problems = Problems()
        each = problems.noting(lambda: (inputs[index] for index in range(len(inputs))))
        with problems.raising():
            return model.predict(_dataset(each, inputs[0]), verbose=0)
    if replicas() == 1:
        return model.predict(inputs, verbose=0, batch_size=batch)
    parts = (
        (inputs[index] for index in range(len(inputs)))
        if whole
        else (inputs[start : start + batch] for start in range(0, len(inputs), batch))
    )
    call = tf.function(lambda values: model(values, training=False), reduce_retracing=True)
    outputs = [tf.nest.map_structure(np.asarray, call(tf.constant(part))) for part in parts]
    return tf.nest.map_structure(lambda *values: np.concatenate(values), *outputs)
