"""Batches for fitting: augmented images, fixed images, or cached features.

Targets are given by head, (N, classes) float32 each, one row an image, smoothed already. A batch
depends on (seed, epoch, index) alone: neither on the number of threads nor on a restart.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lmedge.image import RgbImage

from ..arrays import Floats, normalise
from ..backend import keras, tf
from ..cluster.sharing import ImageShares
from ..data.store import ImageEntry, ImageStore
from ..network import traced
from ..recipes.sections import AugmentSettings
from .augment import WORKERS, RandomViews, random_order, random_stream

Places = npt.NDArray[np.int64]
Targets = Mapping[str, Floats]
Batch = tuple[Floats, dict[str, Floats]] | tuple[Floats, dict[str, Floats], dict[str, Floats]]
_MIXING = 1  # streams of random numbers beside the one of the order


def soft_targets(truth: npt.NDArray[np.int64], classes: int, smoothing: float = 0.0) -> Floats:
    """Return (N, classes) float32: 1 - smoothing for the truth, the rest spread over all."""
    one_hot = np.eye(classes, dtype=np.float32)[truth]
    return np.asarray(one_hot * (1 - smoothing) + smoothing / classes, np.float32)


@dataclasses.dataclass(frozen=True)
class Labels:
    """The targets of N images, and the weight of each image.

    Attributes:
        targets: by head, (N, classes) float32.
        weights: factors of the loss, (N,) with mean 1, or None if all images count alike.
        chances: how often an image is sampled, (N,) with mean 1, or None for once.
        copies: the number of sets of the N images. Image i is copy i // N of image i % N.
        sharing: the shares of the N images among several workers, or None.
    """

    targets: Targets
    weights: Floats | None = None
    chances: Floats | None = None
    copies: int = 1
    sharing: ImageShares | None = None

    def __len__(self) -> int:
        return self.copies * self._images

    @property
    def _images(self) -> int:
        return len(next(iter(self.targets.values())))

    @property
    def importance(self) -> Floats | None:
        """The weight of each image, or how often it is sampled; None if all count alike."""
        return self.weights if self.chances is None else self.chances

    def tiled(self, copies: int) -> Labels:
        """Return the labels of `copies` copies of the images; none of them is copied."""
        return dataclasses.replace(self, copies=copies * self.copies)

    def batch(self, inputs: Floats, chosen: npt.NDArray[np.int64]) -> Batch:
        """Return inputs, targets by head, and weights if there are any, as keras takes them."""
        rows = chosen % self._images
        targets = {head: values[rows] for head, values in self.targets.items()}
        if self.weights is None:
            return inputs, targets
        return inputs, targets, dict.fromkeys(targets, self.weights[rows])

    def owners(self, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the worker that each image belongs to."""
        if self.sharing is None:
            return np.zeros(len(chosen), np.int64)
        return self.sharing.owners[chosen % self._images]

    def rows(self, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the rows of this worker's own images among those of its share alone."""
        if self.sharing is None:
            return chosen
        copy, number = np.divmod(chosen, self._images)
        return np.asarray(copy * len(self.sharing.own) + self.sharing.rows[number], np.int64)

    def order(self, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """Return the indices of one epoch: each once, or sampled if there are chances."""
        if self.chances is None:
            return random_order(len(self), seed=seed, epoch=epoch)
        chances = np.tile(self.chances, self.copies)
        return random_stream(seed, epoch).choice(len(self), len(self), p=chances / chances.sum())


def balanced(truth: npt.NDArray[np.int64], classes: int) -> Floats:
    """Return (N,) float32 of mean 1 by which every class that occurs has the same sum."""
    counts = np.bincount(truth, minlength=classes)
    each = 1.0 / counts[truth]
    return np.asarray(each * len(truth) / each.sum(), np.float32)


class SharedBatches(Protocol):
    """Batches of which a worker may read its share."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Batch: ...

    def part(self, index: int, places: Places) -> Batch:
        """Return some places of a batch; the others are not read."""

    def owners(self, index: int) -> Places:
        """Return the worker that each place of a batch belongs to."""


class _Batches(keras.utils.Sequence):  # type: ignore[misc]
    """One epoch of batches in an order of its own."""

    def __init__(self, labels: Labels, *, batch: int, seed: int, epoch: int) -> None:
        self._labels, self._batch = labels, batch
        self._seed, self._epoch = seed, epoch
        self._order = labels.order(seed, epoch)

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """The indices of the images, in the order of the batches."""
        return self._order

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch)

    def __getitem__(self, index: int) -> Batch:
        return self.part(index, np.arange(len(self._chosen(index))))

    def part(self, index: int, places: Places) -> Batch:
        """Return some places of a batch; the others are not read."""
        return self._labels.batch(self.inputs(index, places), self._chosen(index, places))

    def owners(self, index: int) -> Places:
        """Return the worker that each place of a batch belongs to."""
        return self._labels.owners(self._chosen(index))

    def inputs(self, index: int, places: Places | None = None) -> Floats:
        """Return the inputs of some places of a batch alone, of all unless given."""
        raise NotImplementedError

    def _chosen(self, index: int, places: Places | None = None) -> Places:
        whole = self._order[index * self._batch : (index + 1) * self._batch]
        return whole if places is None else whole[places]


class AugmentedBatches(_Batches):
    """One epoch of random views of the training images: (N, S, S, 3) network inputs.

    With augment.mixup each is mixed with another of its batch, and their targets likewise
    (Zhang et al., arXiv:1710.09412); the larger share stays its own.
    """

    def __init__(
        self,
        store: ImageStore,
        entries: Sequence[ImageEntry],
        labels: Labels,
        augment: AugmentSettings,
        *,
        batch: int,
        seed: int,
        epoch: int,
    ) -> None:
        super().__init__(labels, batch=batch, seed=seed, epoch=epoch)
        self._views = RandomViews(store, entries, augment, seed=seed, epoch=epoch)
        self._mixup = augment.mixup

    def part(self, index: int, places: Places) -> Batch:
        """Return some places of a batch, mixed if the recipe has it."""
        if self._mixup <= 0:
            return super().part(index, places)
        share, other = self._mixture(index)
        needed, back = np.unique(np.concatenate([places, other[places]]), return_inverse=True)
        inputs, targets, *weights = super().part(index, needed)
        own, mixed = np.split(back.reshape(-1), 2)

        def mix(values: Floats) -> Floats:
            part = share[places].reshape(-1, *[1] * (values.ndim - 1))
            return part * values[own] + (1 - part) * values[mixed]

        whole: Any = (mix(inputs), {head: mix(values) for head, values in targets.items()})
        return (*whole, *({head: values[own] for head, values in one.items()} for one in weights))

    def inputs(self, index: int, places: Places | None = None) -> Floats:
        """Return the network inputs of some places of a batch, none of them mixed."""
        chosen = self._chosen(index, places).tolist()
        if self._labels.chances is None:
            return self._views.inputs([(number,) for number in chosen])
        # An image that is sampled twice in an epoch is another view each time.
        first = index * self._batch
        at = range(len(chosen)) if places is None else places.tolist()
        return self._views.inputs(
            [(number, first + n) for number, n in zip(chosen, at, strict=True)]
        )

    def _mixture(self, index: int) -> tuple[Floats, Places]:
        """Return the share that each place of a batch keeps, and that with which it is mixed."""
        size = len(self._chosen(index))
        rng = random_stream(self._seed, self._epoch, index, _MIXING)
        drawn = rng.beta(self._mixup, self._mixup, size)
        return np.maximum(drawn, 1 - drawn).astype(np.float32), rng.permutation(size)


class DistilBatches(keras.utils.Sequence):  # type: ignore[misc]
    """Batches with one more target: the probabilities of `head` that a teacher predicts."""

    def __init__(self, batches: SharedBatches, teacher: keras.Model, head: str) -> None:
        self._batches, self._teacher, self._head = batches, traced(teacher), head

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:
        return self._distilled(self._batches[index])

    def part(self, index: int, places: Places) -> Batch:
        """Return some places of a batch."""
        return self._distilled(self._batches.part(index, places))

    def owners(self, index: int) -> Places:
        """Return the worker that each place of a batch belongs to."""
        return self._batches.owners(index)

    def _distilled(self, batch: Batch) -> Batch:
        inputs, targets, *weights = batch
        logits = self._teacher(tf.constant(inputs))[self._head]
        whole = {**targets, self._head: np.asarray(tf.nn.softmax(logits), np.float32)}
        if not weights:
            return inputs, whole
        (given,) = weights
        return inputs, whole, {**given, self._head: np.ones(len(inputs), np.float32)}


class ImageBatches(_Batches):
    """One epoch of given images, `read(i)` giving the i-th as (S, S, 3) uint8 RGB."""

    def __init__(
        self, read: Callable[[int], RgbImage], labels: Labels, *, batch: int, seed: int, epoch: int
    ) -> None:
        super().__init__(labels, batch=batch, seed=seed, epoch=epoch)
        self._read = read
        self._pool = concurrent.futures.ThreadPoolExecutor(WORKERS)

    def inputs(self, index: int, places: Places | None = None) -> Floats:
        """Return the network inputs of some places of a batch."""
        chosen = self._chosen(index, places).tolist()
        return normalise(np.stack(list(self._pool.map(self._read, chosen))))


class FeatureBatches(_Batches):
    """One epoch of cached features, (N, F) float32; of several workers each has its own rows."""

    def __init__(
        self, features: Floats, labels: Labels, *, batch: int, seed: int, epoch: int
    ) -> None:
        super().__init__(labels, batch=batch, seed=seed, epoch=epoch)
        self._features = features

    def inputs(self, index: int, places: Places | None = None) -> Floats:
        """Return the features of some places of a batch."""
        rows = self._labels.rows(self._chosen(index, places))
        if not len(self._features):  # a share without an image: what it is filled up with
            return np.zeros((len(rows), self._features.shape[1]), np.float32)
        return self._features[rows]


class FeatureInputs(keras.utils.Sequence):  # type: ignore[misc]
    """Features in order, without labels, (N, F) float32 a batch; they need not be in memory."""

    def __init__(self, features: Floats, batch: int = 64) -> None:
        self._features, self._batch = features, batch

    def __len__(self) -> int:
        return -(-len(self._features) // self._batch)

    def __getitem__(self, index: int) -> Floats:
        return self._features[index * self._batch : (index + 1) * self._batch]


class PreparedInputs(keras.utils.Sequence):  # type: ignore[misc]
    """Images as the device sees them, in order, without labels: (N, S, S, 3) network inputs.

    Read batch by batch: a part may be larger than memory.
    """

    def __init__(self, store: ImageStore, entries: Sequence[ImageEntry], batch: int = 32) -> None:
        self._store, self._entries, self._batch = store, entries, batch

    def __len__(self) -> int:
        return -(-len(self._entries) // self._batch)

    def __getitem__(self, index: int) -> Floats:
        chosen = self._entries[index * self._batch : (index + 1) * self._batch]
        return normalise(self._store.prepared_many(chosen))
