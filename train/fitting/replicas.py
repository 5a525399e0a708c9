"""One step on several replicas: each gets its share of the very batch that one would get.

Keras would rebatch a Sequence by itself, and differently on every worker; here a batch is cut into
equal shares. A batch that does not divide is filled up with images of weight 0, and the weights
of the others rise by as much as Keras' mean falls: the gradient is that of one device.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import keras, tf

Arrays = dict[str, npt.NDArray[np.float32]]
Share = tuple[npt.NDArray[np.float32], Arrays, Arrays]


def replicas() -> int:
    """Return how many replicas train in step in the scope this is called in."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def outside(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function without the strategy this is called in: scopes are of a thread.

    Batch-norm statistics that were made in a scope are brought together by all workers whenever
    they are read. What only one worker may do, or at a time of its own, needs plain variables.
    """
    if replicas() == 1:
        return function(*arguments)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


def plain(model: keras.Model) -> keras.Model:
    """Return a copy of plain variables; the very model where there is one replica."""
    if replicas() == 1:
        return model
    weights = model.get_weights()
    copy = outside(keras.models.clone_model, model)
    copy.set_weights(weights)
    return copy


def feed(batches: keras.utils.Sequence) -> tuple[Any, int]:
    """Return what `Model.fit` or `evaluate` takes for these batches, and how many steps it has."""
    steps = len(batches)
    if replicas() == 1:
        return batches, steps
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
            lambda: shares(batches, chosen, count), output_signature=signature
        ).prefetch(2 * own)

    return keras.utils.experimental.DatasetCreator(dataset), steps


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
    """Return what `model` says of arrays or a Sequence of them, on this process' own devices.

    `Model.predict` would take part of the inputs on each worker of several.
    """
    whole = isinstance(inputs, keras.utils.Sequence)
    if replicas() == 1:
        return model.predict(inputs, verbose=0, **({} if whole else {"batch_size": batch}))
    parts = (
        (inputs[index] for index in range(len(inputs)))
        if whole
        else (inputs[start : start + batch] for start in range(0, len(inputs), batch))
    )
    call = tf.function(lambda values: model(values, training=False), reduce_retracing=True)
    answers = [tf.nest.map_structure(np.asarray, call(tf.constant(part))) for part in parts]
    return tf.nest.map_structure(lambda *values: np.concatenate(values), *answers)
