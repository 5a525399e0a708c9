"""Where a training runs: one device, all devices of a machine, or several machines."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from lmedge.errors import DeviceError

from ..backend import keras, tf

DEVICES = ("auto", "cpu", "gpu", "gpu:N")
DISTRIBUTIONS = ("none", "mirrored", "multiworker")
PRECISIONS = ("auto", "float32", "mixed")
TENSOR_CORES = 7  # the major compute capability from which float16 is the faster one


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a training runs. `worker` counts from 0; the chief alone writes the run folder.

    Computations and variables belong into `strategy.scope()`; `xla` is for `Model.compile`,
    `summary` one line for people.
    """

    strategy: tf.distribute.Strategy
    worker: int
    chief: bool
    xla: bool
    summary: str


def place(device: str, distribute: str, precision: str, xla: bool | None) -> Placement:
    """Choose, and set TensorFlow up for it.

    Must be called before anything is computed. Raises DeviceError.
    """
    gpus = _visible_gpus(device, distribute)
    for gpu in gpus:  # not all memory at once: others may use the card too
        tf.config.experimental.set_memory_growth(gpu, True)
    cluster = _cluster() if distribute == "multiworker" else None
    strategy = _strategy(distribute, cluster is not None)
    mixed = precision == "mixed" or (
        precision == "auto" and bool(gpus) and all(map(_has_tensor_cores, gpus))
    )
    keras.mixed_precision.set_global_policy("mixed_float16" if mixed else "float32")
    compiled = bool(gpus) if xla is None else xla
    worker = 0 if cluster is None else cluster.number
    summary = _summary(strategy, gpus, mixed, compiled, cluster)
    return Placement(strategy, worker, cluster is None or cluster.chief, compiled, summary)


def _visible_gpus(device: str, distribute: str) -> list[Any]:
    """Return the GPUs that are used; the others are hidden from TensorFlow."""
    present = tf.config.list_physical_devices("GPU")
    match = re.fullmatch(r"auto|cpu|gpu(?::(\d+))?", device)
    if match is None:
        raise DeviceError(f"--device {device}: allowed are {', '.join(DEVICES)}")
    if device == "cpu":
        chosen = []
    elif device == "auto" and not present:
        return []
    elif not present:
        raise DeviceError(
            f"--device {device}: TensorFlow sees no GPU; run `lmedge doctor`, or train on the CPU"
        )
    elif match[1] is not None:
        if int(match[1]) >= len(present):
            raise DeviceError(f"--device {device}: there are {len(present)} GPUs, from gpu:0 on")
        chosen = [present[int(match[1])]]
    else:
        chosen = present if distribute != "none" else present[:1]
    tf.config.set_visible_devices(chosen, "GPU")
    return list(chosen)


@dataclasses.dataclass(frozen=True)
class _Cluster:
    size: int
    number: int
    chief: bool


def _cluster() -> _Cluster:
    """Read TF_CONFIG, as TensorFlow does, but with a clear line for what is wrong in it."""
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
        workers[kind][index]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DeviceError(
            "TF_CONFIG is not a cluster of chief and worker addresses with a task among them "
            f"({type(error).__name__}: {error}); see docs/usage.md"
        ) from error
    size = len(workers["chief"]) + len(workers["worker"])
    number = index + (len(workers["chief"]) if kind == "worker" else 0)
    return _Cluster(size, number, number == 0)


def _strategy(distribute: str, in_cluster: bool) -> tf.distribute.Strategy:
    if in_cluster:
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except (ValueError, RuntimeError, tf.errors.OpError) as error:
            raise DeviceError(f"the cluster of TF_CONFIG cannot be joined: {error}") from error
    if distribute == "none":
        return tf.distribute.get_strategy()
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    devices = [device.name for device in tf.config.list_logical_devices(kind)]
    if len(devices) < 2:
        raise DeviceError(
            f"--distribute mirrored needs two devices, there is one {kind}; leave it out"
        )
    return tf.distribute.MirroredStrategy(devices)


def _has_tensor_cores(gpu: Any) -> bool:
    found = tf.config.experimental.get_device_details(gpu).get("compute_capability")
    return found is not None and found[0] >= TENSOR_CORES


def _summary(
    strategy: tf.distribute.Strategy,
    gpus: list[Any],
    mixed: bool,
    compiled: bool,
    cluster: _Cluster | None,
) -> str:
    names = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus
    ]
    what = ", ".join(names) if names else "the CPU"
    count = strategy.num_replicas_in_sync
    parts = [f"training on {what}"]
    if count > 1:
        parts.append(f"{count} replicas in step, each with its share of a batch")
    if cluster is not None:
        parts.append(f"worker {cluster.number + 1} of {cluster.size}")
    parts.append("float16 with float32 weights" if mixed else "float32")
    parts.append("compiled by XLA" if compiled else "no XLA")
    return "; ".join(parts)


@contextlib.contextmanager
def in_float32() -> Iterator[None]:
    """Build layers that compute in float32, whatever the policy."""
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(policy)
