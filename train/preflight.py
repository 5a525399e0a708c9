"""Checks of this machine before the first step: space for checkpoints, memory for a batch."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator

from lmedge.errors import DeviceError, LmedgeError
from lmedge.machine import memory_bytes

from .backbones import BACKBONES
from .backend import keras, tf
from .run import Run

# A phase leaves the network twice, as it began and as it is kept; its state has it once more,
# with two numbers of the optimizer for each.
COPIES = 5
NUMBER = 4  # bytes of a float32
MB = 1e6


def check_space(run: Run, network: keras.Model) -> None:
    """Raise LmedgeError if the disk cannot take the checkpoints of one phase of each network."""
    networks = 1 if run.plan is None else 1 + run.plan.networks
    needed = NUMBER * COPIES * networks * network.count_params()
    free = shutil.disk_usage(run.folder).free
    if free < needed:
        raise LmedgeError(
            f"cannot write to {run.folder}: {free / MB:.0f} MB are free, and the checkpoints take "
            f"about {needed / MB:.0f}; free space or name another folder with --out"
        )


def check_memory(run: Run, network: keras.Model) -> None:
    """Raise DeviceError if a batch of fine-tuning cannot fit into the memory of this machine.

    Counted are the outputs of the trained convolutions alone, which their gradients need: a
    training takes more. The memory of a GPU is not looked at.
    """
    total, settings = memory_bytes(), run.recipe.fine_tune
    if total is None or tf.config.list_logical_devices("GPU") or not any(settings.epochs):
        return
    pretrained = run.weights != "none"
    numbers = max(
        sum(_outputs(network, _lower(run, start) if pretrained else ())) for start in settings.start
    )
    each = max(1, NUMBER * numbers)
    if settings.batch * each > total:
        raise DeviceError(
            f"fine_tune.batch={settings.batch}: the layers to train hold at least "
            f"{settings.batch * each / MB:.0f} MB for that many images of "
            f"{run.recipe.data.image_size} pixels, and this machine has {total / MB:.0f}; try "
            f"--set fine_tune.batch={max(1, total // (4 * each))}"
        )


def _lower(run: Run, start: str) -> tuple[str, ...]:
    """Return the groups of layers below `start`, which are not trained."""
    groups = BACKBONES[run.recipe.network.backbone].groups
    return tuple(groups[: groups.index(start)])


def _outputs(network: keras.Model, lower: tuple[str, ...]) -> Iterator[int]:
    """Yield how many numbers each trained convolution gives for one image."""
    for layer in network.layers:
        convolution = isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
        if convolution and not (lower and layer.name.startswith(lower)):
            yield math.prod(layer.output.shape[1:])
