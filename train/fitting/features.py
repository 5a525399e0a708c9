"""Features of a frozen trunk, computed once an image and kept on disk.

On the CPU a float32 TFLite file of the trunk computes them about twice as fast as TensorFlow; it
takes some seconds to convert, so that it is used from `WORTH_CONVERTING` images on.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from lmedge.image import RgbImage
from lmedge.progress import progress, quiet_stderr
from lmedge.runtime import load_runtime

from ..backend import keras, tf
from ..data.cache import cache_root, feature_limit, trim
from ..data.store import CACHE_VERSION, Entry
from ..network import FEATURES, normalise, traced
from ..recipes.loading import Recipe
from ..run import Run
from .augment import fixed_copy, random_view
from .batches import Floats
from .feature_file import read_features, write_features
from .replicas import plain, replicas

BATCH = 32
WORTH_CONVERTING = 1500  # images
BLOCK = 1024  # images whose features are in memory at once
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TrainingCopies:
    """The training images, their fixed copies and `views` random views, one set after another."""

    run: Run
    views: int

    @property
    def count(self) -> int:
        """How many times each image is there."""
        return 1 + len(self.run.recipe.augment.copies) + self.views

    def __len__(self) -> int:
        return self.count * len(self.run.entries("train"))

    def __call__(self, index: int) -> RgbImage:
        """Return copy index // N of image index % N: (S, S, 3) uint8 RGB."""
        run = self.run
        copy, number = divmod(index, len(run.entries("train")))
        entry, kinds = run.entries("train")[number], run.recipe.augment.copies
        rng = np.random.default_rng([run.seed & 0xFFFFFFFF, copy, number])
        if copy == 0:
            return run.store.prepared(entry)
        if copy <= len(kinds):
            image = run.store.prepared(entry)
            return fixed_copy(image, kinds[copy - 1], run.recipe.augment, rng)
        return random_view(run.store.working(entry), run.store.size, run.recipe.augment, rng)

    @property
    def key(self) -> str:
        """What the images depend on."""
        return "\n".join(
            [
                f"copies {self.views} {self.run.seed} {self.run.recipe.augment}",
                _key(self.run.recipe, self.run.entries("train")),
            ]
        )


def prepared_key(recipe: Recipe, entries: Sequence[Entry]) -> str:
    """Return what images prepared as on the device depend on."""
    return f"prepared\n{_key(recipe, entries)}"


def _key(recipe: Recipe, entries: Sequence[Entry]) -> str:
    settings = f"{CACHE_VERSION} {recipe.data.resize} {recipe.data.image_size}"
    return "\n".join([settings, *(entry.sha256 for entry in entries)])


class Trunk:
    """The frozen part of a network, up to its pooled features."""

    def __init__(self, network: keras.Model) -> None:
        self.model = plain(keras.Model(network.input, network.get_layer(FEATURES).output))

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        digest = hashlib.sha256(self.model.name.encode())
        for weight in self.model.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        return digest.hexdigest()

    def features(self, read: Callable[[int], RgbImage], count: int, key: str) -> Floats:
        """Return (count, F) features of the images read(0), read(1), ...

        read: gives (S, S, 3) uint8 RGB. `key` is all that the images depend on: what was
        computed for the same key and weights is read from the cache. The features stay on disk and
        are read where they are used; memory does not grow with their number.
        """
        if count == 0:
            return np.zeros((0, self.model.output.shape[-1]), np.float32)
        on_cpu = not _has_gpu() and replicas() == 1
        how = "tflite" if count >= WORTH_CONVERTING and on_cpu else "tensorflow"
        policy = keras.mixed_precision.global_policy().name
        text = "\n".join([self.digest, how, policy, tf.__version__, key])
        name = hashlib.sha256(text.encode()).hexdigest()
        path = cache_root() / "features" / f"{name}.safetensors"
        shape = (count, self.model.output.shape[-1])
        if path.exists():
            try:
                found = read_features(path, shape)
                os.utime(path)
                return found
            except (ValueError, OSError):
                logger.debug("%s is damaged and made anew", path)
        compute = self._by_tflite if how == "tflite" else self._by_tensorflow
        write_features(path, shape, compute(read, count))
        found = read_features(path, shape)  # before the trim, which may take the file's name away
        trim(path.parent.glob("*.safetensors"), feature_limit())
        return found

    def _by_tensorflow(self, read: Callable[[int], RgbImage], count: int) -> Iterator[Floats]:
        call = traced(self.model)
        with _pool() as pool, progress("Computing features", -(-count // BATCH)) as advance:
            for start in range(0, count, BATCH):
                images = list(pool.map(read, range(start, min(start + BATCH, count))))
                yield np.asarray(call(tf.constant(normalise(np.stack(images)))), np.float32)
                advance()

    def _by_tflite(self, read: Callable[[int], RgbImage], count: int) -> Iterator[Floats]:
        graph = self._converted()
        workers = os.cpu_count() or 1
        runners = [_Runner(graph) for _ in range(workers)]
        with _pool() as pool, progress("Computing features", count) as advance:

            def work(runner: _Runner, share: npt.NDArray[np.int64]) -> list[Floats]:
                rows = []
                for index in share.tolist():
                    rows.append(runner(normalise(read(index)[None])))
                    advance()
                return rows

            for start in range(0, count, BLOCK):
                block = np.arange(start, min(start + BLOCK, count))
                shares = pool.map(work, runners, np.array_split(block, workers))
                yield np.asarray([row for share in shares for row in share], np.float32)

    def _converted(self) -> bytes:
        shape = (1, *self.model.input.shape[1:])
        function = tf.function(lambda images: self.model(images, training=False), autograph=False)
        concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
        with quiet_stderr():
            converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], self.model)
            return bytes(converter.convert())


class _Runner:
    """A float32 TFLite graph on one thread."""

    def __init__(self, graph: bytes) -> None:
        _, interpreter_class = load_runtime()
        self._graph = graph  # read in place: it must live as long as the interpreter
        with quiet_stderr():
            self._interpreter = interpreter_class(model_content=graph, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def __call__(self, image: Floats) -> Floats:
        self._interpreter.set_tensor(self._input, image)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output)[0], np.float32)


def _pool() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1)


def _has_gpu() -> bool:
    return bool(tf.config.list_logical_devices("GPU"))
