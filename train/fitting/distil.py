"""Holding one head while another is trained: its answers from before are its targets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..backend import keras, tf
from ..network import build_network, traced
from ..run import Run, set_weights
from .batches import Batch, Floats
from .phase import start_weights
from .replicas import outside

Answer = Callable[[Floats], Floats]


class DistilBatches(keras.utils.Sequence):  # type: ignore[misc]
    """Batches with one more target: what `answer` says of the very same views."""

    def __init__(self, batches: keras.utils.Sequence, answer: Answer, head: str) -> None:
        self._batches, self._answer, self._head = batches, answer, head

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:
        inputs, targets, *weights = self._batches[index]
        whole = {**targets, self._head: self._answer(inputs)}
        if not weights:
            return inputs, whole
        (given,) = weights
        return inputs, whole, {**given, self._head: np.ones(len(inputs), np.float32)}


def teacher(run: Run, phase: str, network: keras.Model, head: str) -> Answer:
    """Return the probabilities of `head` as the network gave them when `phase` began.

    A phase that goes on after a kill finds them in its first checkpoint.
    """
    arrays, path = start_weights(run, phase, network)
    twin = outside(build_network, run.spec)
    set_weights(twin, arrays, path)
    call = traced(twin)

    def answer(inputs: Floats) -> Floats:
        return np.asarray(tf.nn.softmax(call(tf.constant(inputs))[head]), np.float32)

    return answer
