"""Batches for fitting: augmented pictures through the network, or cached features."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .augment import random_view
from .backend import keras
from .network import normalise
from .pictures import Entry, PictureStore
from .recipe import Augment

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


class AugmentedBatches(keras.utils.Sequence):  # type: ignore[misc]
    """One epoch of augmented training pictures: (N, S, S, 3) network inputs, (N, L) one-hot.

    What picture i looks like in epoch e depends on (seed, e, i) alone: neither on the number of
    threads nor on where a killed run went on. `truth` is (N,) indices, below `classes`.
    """

    def __init__(
        self,
        store: PictureStore,
        entries: Sequence[Entry],
        truth: npt.NDArray[np.int64],
        classes: int,
        augment: Augment,
        *,
        batch: int,
        seed: int,
        epoch: int,
    ) -> None:
        self._store, self._entries, self._augment = store, entries, augment
        self._truth, self._classes = truth, classes
        self._seed, self._epoch, self._batch = seed, epoch, batch
        self._order = _rng(seed, epoch).permutation(len(entries))
        self._pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1)

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """The indices of the entries, in the order of the batches."""
        return self._order

    def __len__(self) -> int:
        return -(-len(self._entries) // self._batch)

    def __getitem__(self, index: int) -> Batch:
        chosen = self._chosen(index)
        return self.inputs(index), one_hot(self._truth[chosen], self._classes)

    def inputs(self, index: int) -> npt.NDArray[np.float32]:
        """Return the network inputs of a batch alone."""
        views = self._pool.map(self._view, self._chosen(index).tolist())
        return normalise(np.stack(list(views)))

    def _chosen(self, index: int) -> npt.NDArray[np.int64]:
        return self._order[index * self._batch : (index + 1) * self._batch]

    def _view(self, number: int) -> npt.NDArray[np.uint8]:
        rng = _rng(self._seed, self._epoch, number)
        picture = self._store.working(self._entries[number])
        return random_view(picture, self._store.size, self._augment, rng)


def one_hot(truth: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """Return (N, classes) float32."""
    return np.eye(classes, dtype=np.float32)[truth]


class FeatureBatches(keras.utils.Sequence):  # type: ignore[misc]
    """One epoch of cached features: (N, F) float32 and (N, classes) one-hot, shuffled by seed."""

    def __init__(
        self,
        features: npt.NDArray[np.float32],
        targets: npt.NDArray[np.float32],
        *,
        batch: int,
        seed: int,
        epoch: int,
    ) -> None:
        self._features, self._targets, self._batch = features, targets, batch
        self._order = _rng(seed, epoch).permutation(len(features))

    def __len__(self) -> int:
        return -(-len(self._features) // self._batch)

    def __getitem__(self, index: int) -> Batch:
        chosen = self._order[index * self._batch : (index + 1) * self._batch]
        return self._features[chosen], self._targets[chosen]


def _rng(*numbers: int) -> np.random.Generator:
    """A generator of its own for each combination; numbers below zero are fine."""
    return np.random.default_rng([number & 0xFFFFFFFF for number in numbers])
