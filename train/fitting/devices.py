"""The placement of a training: one device, all devices of a machine, or several machines."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

from lmedge.errors import DeviceError

from ..backend import keras, tf
from ..cluster.facts import compare_workers
from ..cluster.signals import Signals
from ..options import Cluster, DeviceOptions

START_SECONDS = 120.0  # for TensorFlow's servers, once all workers are there
TENSOR_CORES = 7  # the major compute capability from which float16 is the faster one


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """The devices of a training, with TensorFlow set up for them.

    Attributes:
        strategy: computations and variables belong into its `scope()`.
        chief: true for the worker that writes the run folder.
        xla: for `Model.compile`.
        summary: one line for people.
    """

    strategy: tf.distribute.Strategy
    chief: bool
    xla: bool
    summary: str


def place(options: DeviceOptions, signals: Signals | None = None) -> Placement:
    """Choose the devices and set TensorFlow up for them, before anything is computed.

    Args:
        options: The devices that were asked for.
        signals: Those that end a worker, None without other workers.

    Raises:
        DeviceError: if they are not there.
    """
    cluster, precision = options.cluster, options.precision
    gpus = _visible_gpus(options)
    for gpu in gpus:  # not all memory at once: others may use the card too
        tf.config.experimental.set_memory_growth(gpu, True)
    mixed = precision == "mixed" or (
        precision == "auto" and bool(gpus) and all(map(_has_tensor_cores, gpus))
    )
    keras.mixed_precision.set_global_policy("mixed_float16" if mixed else "float32")
    compiled = bool(gpus) if options.xla is None else options.xla
    compare_workers(
        {
            "number of GPUs": str(len(gpus)),
            "--precision": "mixed" if mixed else "float32",
            "--xla": "yes" if compiled else "no",
        }
    )
    strategy = _strategy(options.distribute, signals)
    return Placement(
        strategy=strategy,
        chief=options.chief,
        xla=compiled,
        summary=_summary(strategy, gpus, mixed, compiled, cluster),
    )


def _visible_gpus(options: DeviceOptions) -> list[Any]:
    """Return the GPUs that are used and hide the others from TensorFlow."""
    device = options.device
    present = tf.config.list_physical_devices("GPU")
    if device == "cpu":
        chosen = []
    elif device == "auto" and not present:
        return []
    elif not present:
        raise DeviceError(
            f"--device {device}: TensorFlow sees no GPU; run `lmedge doctor`, or train on the CPU"
        )
    elif ":" in device:
        number = int(device.partition(":")[2])
        if number >= len(present):
            raise DeviceError(f"--device {device}: there are {len(present)} GPUs, from gpu:0 on")
        chosen = [present[number]]
    else:
        chosen = present if options.distribute != "none" else present[:1]
    tf.config.set_visible_devices(chosen, "GPU")
    return list(chosen)


def _strategy(distribute: str, signals: Signals | None) -> tf.distribute.Strategy:
    if signals is not None:
        return _multiworker(signals)
    if distribute == "none":
        return tf.distribute.get_strategy()
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    devices = [device.name for device in tf.config.list_logical_devices(kind)]
    if len(devices) < 2:
        raise DeviceError(
            f"--distribute mirrored needs two devices, there is one {kind}; leave it out"
        )
    return tf.distribute.MirroredStrategy(devices)


def _multiworker(signals: Signals) -> tf.distribute.Strategy:
    """Start TensorFlow's server and wait for those of the others, in a thread.

    The main thread handles signals meanwhile: TensorFlow takes that of SIGTERM for itself.
    """
    made: list[tf.distribute.Strategy | Exception] = []

    def make() -> None:
        try:
            made.append(tf.distribute.MultiWorkerMirroredStrategy())
        except Exception as error:
            made.append(error)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    until = time.monotonic() + START_SECONDS
    while not made and time.monotonic() < until:
        thread.join(0.2)
        signals.install()
    if made and not isinstance(made[0], Exception):
        return made[0]
    reason = str(made[0]).partition("\n")[0] if made else f"no answer within {START_SECONDS:.0f} s"
    raise DeviceError(
        f"TensorFlow cannot join the cluster of TF_CONFIG ({reason}); every worker must reach the "
        "address of every other one"
    )


def _has_tensor_cores(gpu: Any) -> bool:
    found = tf.config.experimental.get_device_details(gpu).get("compute_capability")
    return found is not None and found[0] >= TENSOR_CORES


def _summary(
    strategy: tf.distribute.Strategy,
    gpus: list[Any],
    mixed: bool,
    compiled: bool,
    cluster: Cluster | None,
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
    """Compute the layers built inside in float32, whatever the policy."""
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(policy)
