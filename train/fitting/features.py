"""Features of a frozen backbone, computed once for each image and kept on disk.

On the CPU a float32 TFLite graph computes them about twice as fast as TensorFlow. The conversion
takes some seconds, so that the graph is used from `WORTH_CONVERTING` images on.

A feature file is a plain safetensors file with one tensor, `features`. The safetensors package
writes only arrays that are in memory as a whole, so that the blocks are written here.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import logging
import math
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.errors import LmedgeError
from lmedge.files import cache_folder, replacing
from lmedge.image import RgbImage
from lmedge.progress import progress, quiet_stderr
from lmedge.runtime import load_runtime

from ..arrays import Floats, normalise
from ..backend import keras, tf
from ..cluster.team import note
from ..data.cache import feature_limit, report_unwritten, trim
from ..data.store import CACHE_VERSION, ImageEntry
from ..network import FEATURES, traced
from ..recipes import Recipe
from ..run import Run
from .augment import WORKERS, fixed_copy, random_view
from .divergence import finite_blocks
from .replicas import plain, replicas

BATCH = 32
WORTH_CONVERTING = 1500  # images
BLOCK = 1024  # images whose features are in memory at once
_LENGTH = struct.Struct("<Q")  # of the header that follows
_MAX_HEADER = 4096
_NAME = "features"
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TrainingCopies:
    """The training images, their fixed copies and `views` random views, one set after another."""

    run: Run
    views: int

    @property
    def count(self) -> int:
        """The number of copies of each image, itself among them."""
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
    def own(self) -> Sequence[int]:
        """The indices of this worker's copies: all of them without other workers."""
        count, sharing = len(self.run.entries("train")), self.run.sharing("train")
        if sharing.size == 1:
            return range(len(self))
        return [
            copy * count + place for copy in range(self.count) for place in sharing.own.tolist()
        ]

    @property
    def share_key(self) -> str:
        """All that this worker's copies depend on."""
        return self.key + self.run.sharing("train").key

    @property
    def key(self) -> str:
        """All that the images depend on."""
        return "\n".join(
            [
                f"copies {self.views} {self.run.seed} {self.run.recipe.augment}",
                _key(self.run.recipe, self.run.entries("train")),
            ]
        )


def prepared_key(recipe: Recipe, entries: Sequence[ImageEntry]) -> str:
    """Return all that images prepared as on the device depend on."""
    return f"prepared\n{_key(recipe, entries)}"


def _key(recipe: Recipe, entries: Sequence[ImageEntry]) -> str:
    settings = f"{CACHE_VERSION} {recipe.data.resize} {recipe.data.image_size}"
    return "\n".join([settings, *(entry.sha256 for entry in entries)])


class FrozenBackbone:
    """The backbone of a network with the weights that it has now, up to the pooled features.

    Its digest is computed once: make another when the weights have changed.
    """

    def __init__(self, network: keras.Model) -> None:
        self._name = network.name
        self.model = plain(keras.Model(network.input, network.get_layer(FEATURES).output))

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        digest = hashlib.sha256(self._name.encode())
        for weight in self.model.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        return digest.hexdigest()

    def features(self, read: Callable[[int], RgbImage], count: int, key: str) -> Floats:
        """Return (count, F) features of the images read(0), read(1), ...

        The features of the same key and weights are read from the cache. They stay on disk and are
        read when they are used, so that memory does not grow with their number.

        Args:
            read: returns an image by its index, (S, S, 3) uint8 RGB.
            count: the number of images.
            key: all that the images depend on.

        Raises:
            DivergedError: A feature is not finite.
        """
        if count == 0:
            return np.zeros((0, self.model.output.shape[-1]), np.float32)
        on_cpu = not _has_gpu() and replicas() == 1
        engine = "tflite" if count >= WORTH_CONVERTING and on_cpu else "tensorflow"
        policy = keras.mixed_precision.global_policy().name
        text = "\n".join([self.digest, engine, policy, tf.__version__, key])
        name = hashlib.sha256(text.encode()).hexdigest()
        path = cache_folder() / "features" / f"{name}.safetensors"
        shape = (count, self.model.output.shape[-1])
        if path.exists():
            try:
                found = read_features(path, shape)
                os.utime(path)
                return found
            except (ValueError, OSError):
                logger.debug("%s is damaged and made anew", path)
        way = self._by_tflite if engine == "tflite" else self._by_tensorflow

        note("the features of the backbone")

        def compute() -> Iterator[Floats]:
            return finite_blocks(way(read, count))

        try:
            write_features(path, shape, compute())
        except LmedgeError as error:
            if type(error) is not LmedgeError:  # an image, not the disk
                raise
            report_unwritten(error)
            return np.concatenate(list(compute()))
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
        runners = [_Runner(graph) for _ in range(WORKERS)]
        with _pool() as pool, progress("Computing features", count) as advance:

            def work(runner: _Runner, share: npt.NDArray[np.int64]) -> list[Floats]:
                rows = []
                for index in share.tolist():
                    rows.append(runner(normalise(read(index)[None])))
                    advance()
                return rows

            for start in range(0, count, BLOCK):
                block = np.arange(start, min(start + BLOCK, count))
                shares = pool.map(work, runners, np.array_split(block, WORKERS))
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
    return concurrent.futures.ThreadPoolExecutor(WORKERS)


def _has_gpu() -> bool:
    return bool(tf.config.list_logical_devices("GPU"))


def write_features(path: Path, shape: tuple[int, int], blocks: Iterable[Floats]) -> None:
    """Write blocks of rows, (N, F) in all, as one tensor; whole or not at all."""
    size = 4 * math.prod(shape)
    about = {_NAME: {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}
    header = json.dumps(about, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the data is aligned
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(_LENGTH.pack(len(header)) + header)
        for block in blocks:
            stream.write(np.ascontiguousarray(block, "<f4").tobytes())


def read_features(path: Path, shape: tuple[int, int]) -> Floats:
    """Return the (N, F) features of a file as a memory map.

    Raises:
        ValueError: if the file is damaged or of another shape.
    """
    with path.open("rb") as stream:
        start = stream.read(_LENGTH.size)
        length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
        header = stream.read(length) if 0 < length <= _MAX_HEADER else b""
    about = json.loads(header)
    found = about.get(_NAME) if isinstance(about, dict) else None
    wanted = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 4 * math.prod(shape)]}
    offset = _LENGTH.size + length
    if found != wanted or path.stat().st_size != offset + 4 * math.prod(shape):
        raise ValueError(f"{path} does not hold features of shape {shape}")
    return np.asarray(np.memmap(path, "<f4", "r", offset, shape))
