"""The options of `lmedge train`, checked before TensorFlow is imported."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
from pathlib import Path

from lmedge.errors import DeviceError, RecipeError

from .fitting.strategies import DEFAULT_STRATEGY, check_strategy
from .recipes import Recipe

DEVICES = ("auto", "cpu", "gpu", "gpu:N")
DISTRIBUTIONS = ("none", "mirrored", "multiworker")
WEIGHTS = ("imagenet", "base", "none")  # names that `--weights` takes; others are paths
PRECISIONS = ("auto", "float32", "mixed")


def find_weights(weights: str) -> tuple[Path, str | None] | None:
    """Return path and INPUT of PATH or PATH@INPUT, None for no INPUT; None if no path is there."""
    path, separator, given = weights.rpartition("@")
    if _exists(weights):
        return Path(weights), None
    return (Path(path), given) if separator and path and _exists(path) else None


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # of a folder that may not be read, or too long
        return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The options of `lmedge train` that a new run is made of.

    Attributes:
        data: the folder of the photographs.
        out: the run folder.
        recipe: every value of the training.
        weights: one of WEIGHTS or the path of a file.
        strategy: a name of `STRATEGIES`.
        seed: fixes split, order, augmentation and initial weights.
        split, exclude: files, or None for split.csv and exclude.txt in `data` if they are there.
        allow_leak: if true, an image in two parts is no error.
        unknown: the folder of unknown images, or None for that in `data` if it is there.
        cross_fit: True to cross-fit, False to hold images back, None to choose by their number.
        one_device: false if several devices train in step, which does not go with cross-fitting.
    """

    data: Path
    out: Path
    recipe: Recipe
    weights: str
    strategy: str = DEFAULT_STRATEGY
    seed: int = 0
    split: Path | None = None
    exclude: Path | None = None
    allow_leak: bool = False
    unknown: Path | None = None
    cross_fit: bool | None = None
    one_device: bool = True

    def __post_init__(self) -> None:
        check_strategy(self.strategy)
        if self.cross_fit and self.recipe.data.folds == 0:
            raise RecipeError("data.folds is 0 in the recipe; --cross-fit needs at least 2")


WAIT_SECONDS = 600.0  # for the other workers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """The workers of TF_CONFIG, by their addresses HOST:PORT, the chief first.

    Attributes:
        addresses: of all workers.
        number: the place of this worker among them, from 0. The chief, 0, writes the run.
        wait: the seconds that it waits for the others.
    """

    addresses: tuple[str, ...]
    number: int
    wait: float = WAIT_SECONDS

    @property
    def size(self) -> int:
        """The number of workers."""
        return len(self.addresses)

    @property
    def chief(self) -> bool:
        """True for the worker that writes the run folder."""
        return self.number == 0

    def name(self, number: int) -> str:
        """Return the name of a worker in messages."""
        return f"worker {number + 1}{', the chief' * (not number)} ({self.addresses[number]})"

    def place(self, number: int) -> tuple[str, int]:
        """Return host and port of a worker."""
        host, _, port = self.addresses[number].rpartition(":")
        return host.strip("[]"), int(port)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """The devices of a training, and how it computes there.

    Attributes:
        device: one of DEVICES, with a number in place of N.
        distribute: one of DISTRIBUTIONS.
        precision: one of PRECISIONS.
        xla: compile the step; None for yes on a GPU.
        wait: the seconds that a worker waits for the others.
    """

    device: str = "auto"
    distribute: str = "none"
    precision: str = "auto"
    xla: bool | None = None
    wait: float = WAIT_SECONDS

    def __post_init__(self) -> None:
        if re.fullmatch(r"auto|cpu|gpu(:\d+)?", self.device) is None:
            raise DeviceError(f"--device {self.device}: allowed are {', '.join(DEVICES)}")
        self.cluster  # noqa: B018  (read now: a mistake in TF_CONFIG is a mistake of the options)

    @functools.cached_property
    def cluster(self) -> Cluster | None:
        """The cluster of TF_CONFIG, or None without `--distribute multiworker`.

        Raises DeviceError if the variable is missing or is not a cluster.
        """
        return _read_cluster(self.wait) if self.distribute == "multiworker" else None

    @property
    def worker(self) -> int:
        """The number of this worker, from 0."""
        return 0 if self.cluster is None else self.cluster.number

    @property
    def chief(self) -> bool:
        """True if this process writes the run folder."""
        return self.cluster is None or self.cluster.chief


def _read_cluster(wait: float) -> Cluster:
    """Read TF_CONFIG as TensorFlow does, with a clear message for each mistake."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        raise DeviceError(
            "--distribute multiworker needs TF_CONFIG, the addresses of all workers and which of "
            "them this one is; see docs/usage.md"
        )
    try:
        config = json.loads(text)
        workers = {kind: list(config["cluster"].get(kind, [])) for kind in ("chief", "worker")}
        kind, index = config["task"]["type"], int(config["task"]["index"])
        if index < 0:
            raise IndexError(index)
        workers[kind][index]
        cluster = Cluster(
            addresses=tuple(map(str, workers["chief"] + workers["worker"])),
            number=index + (len(workers["chief"]) if kind == "worker" else 0),
            wait=wait,
        )
        for number in range(cluster.size):
            host, port = cluster.place(number)
            if not host or not 0 < port < 1 << 16:
                raise ValueError(f"{cluster.addresses[number]} is not HOST:PORT")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DeviceError(
            "TF_CONFIG is not a cluster of chief and worker addresses with a task among them "
            f"({type(error).__name__}: {error}); see docs/usage.md"
        ) from error
    if len(set(cluster.addresses)) < cluster.size:
        raise DeviceError("TF_CONFIG names an address twice; give each worker its own")
    return cluster
