"""One step on several replicas: each gets its share of the batch that a single one would get.

Keras would rebatch a Sequence by itself, differently on every worker. Here each worker takes the
images of a batch that belong to it, and its devices equal shares of those. All shares of a step are
filled up to the same length with images of weight 0. The weights of the others rise by as much as
Keras' mean falls, so that the gradient is that of one device.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import keras, tf
from ..cluster.sharing import ImageShares, whole_outputs
from ..cluster.team import team
from ..network import traced
from .batches import SharedBatches

Arrays = dict[str, npt.NDArray[np.float32]]
_copies: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # of plain variables
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


class SeenAccuracy(keras.metrics.CategoricalAccuracy):  # type: ignore[misc]
    """Accuracy over images alone, without those that fill up a share."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Count the images of a weight above 0, each once."""
        seen = tf.cast(sample_weight > 0, self.dtype)
        return super().update_state(y_true, y_pred, seen)


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
    one = replicas() == 1
    with problems.raising(), contextlib.nullcontext() if one else _steady_devices():
        yield _fed(batches, problems)


@contextlib.contextmanager
def _steady_devices() -> Iterator[None]:
    """Let no data set be autotuned that hands batches to a device, which has no option for it.

    A worker waited longer at the end of an epoch than the epoch took.
    """
    from tensorflow.python.data.ops import multi_device_iterator_ops

    before = multi_device_iterator_ops._create_device_dataset

    def steady(*arguments: Any, **named: Any) -> tf.data.Dataset:
        return before(*arguments, **named).with_options(_steady())

    multi_device_iterator_ops._create_device_dataset = steady
    try:
        yield
    finally:
        multi_device_iterator_ops._create_device_dataset = before


def _fed(batches: keras.utils.Sequence, problems: Problems) -> tuple[Any, int]:
    steps = len(batches)
    if replicas() == 1:
        each = problems.noting(lambda: (batches[index] for index in range(steps)))
        return _dataset(each, batches[0]), steps
    workers = team()
    size, number = (1, 0) if workers is None else (workers.size, workers.number)
    example = next(shares(batches, replicas(), number=number, size=size))
    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), example
    )

    def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count = context.num_replicas_in_sync
        return (
            tf.data.Dataset.from_generator(
                problems.noting(lambda: shares(batches, count, number=number, size=size)),
                output_signature=signature,
            )
            .prefetch(2 * count // size)
            .with_options(_steady())
        )

    return keras.utils.experimental.DatasetCreator(dataset), steps


def _dataset(generate: Callable[[], Iterator[Any]], example: Any) -> tf.data.Dataset:
    """Return a data set of batches like `example`."""
    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), example
    )
    data = tf.data.Dataset.from_generator(generate, output_signature=signature)
    return data.prefetch(2).with_options(_steady())


def _steady() -> tf.data.Options:
    """Return the options of a data set without autotuning.

    When an epoch ends, the autotuner finishes its pause first, which is as long as all of its
    pauses before (TensorFlow 2.21).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def shares(
    batches: SharedBatches, count: int, *, number: int = 0, size: int = 1
) -> Iterator[Share]:
    """Yield the shares of a worker's devices of each batch: inputs, targets and weights by head.

    Args:
        batches: one epoch.
        count: the number of devices of all workers.
        number: that of this worker, from 0.
        size: the number of workers.
    """
    devices = count // size
    for index in range(len(batches)):
        owners = batches.owners(index) % size
        length = max(1, -(-int(np.bincount(owners).max()) // devices))
        own = np.flatnonzero(owners == number)
        inputs, targets, *given = batches.part(index, own if len(own) else np.arange(1))
        filled = np.arange(devices * length)
        rows = filled % max(1, len(own))
        weight = np.where(filled < len(own), length * count / len(owners), 0.0)
        weights = {
            head: (weight * (given[0][head][rows] if given else 1.0)).astype(np.float32)
            for head in targets
        }
        for device in range(devices):
            part = slice(device * length, (device + 1) * length)
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


def predicted_by_all(
    model: keras.Model, inputs: Any, sharing: ImageShares | None
) -> dict[str, Any]:
    """Return the outputs of `model` by name for all images; each worker predicts its own.

    Args:
        model: in the scope of the strategy if there is one.
        inputs: this worker's images, or all without other workers, as `predicted` takes them.
        sharing: the shares of the images.
    """
    if team() is None or sharing is None:
        return dict(predicted(model, inputs))
    call = traced(_updated_copy(model))
    parts = [call(tf.constant(inputs[index])) for index in range(len(inputs))]
    own = {
        name: np.concatenate(
            [np.zeros((0, output.shape[-1]), np.float32), *(np.asarray(one[name]) for one in parts)]
        )
        for name, output in model.output.items()
    }
    return whole_outputs(sharing, own)


def _updated_copy(model: keras.Model) -> keras.Model:
    """Return the copy of plain variables of a model, made once, with the weights of now."""
    weights = model.get_weights()  # by all workers together
    copy = _copies.get(model)
    if copy is None:
        copy = _copies[model] = outside(keras.models.clone_model, model)
    copy.set_weights(weights)
    return copy
