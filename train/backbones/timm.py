"""EfficientNetB0 as timm stores it: safetensors, named and laid out as in PyTorch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from .tensors import Floats, Layer, LayoutError, StoredWeights, check_rest, checked

LARGEST_HEADER = 100_000_000  # as the safetensors package has it
_TYPES = {"F16": "float16", "F32": "float32", "F64": "float64"}
_NORM = ("weight", "bias", "running_mean", "running_var")
_ENDS = {"stem_conv": "conv_stem", "stem_bn": "bn1", "top_conv": "conv_head", "top_bn": "bn2"}
# timm calls the first block depthwise separable: it has no expansion, and other names.
_SEPARABLE = {
    "dwconv": "conv_dw",
    "bn": "bn1",
    "se_reduce": "se.conv_reduce",
    "se_expand": "se.conv_expand",
    "project_conv": "conv_pw",
    "project_bn": "bn2",
}
_INVERTED = {
    **_SEPARABLE,
    "expand_conv": "conv_pw",
    "expand_bn": "bn1",
    "bn": "bn2",
    "project_conv": "conv_pwl",
    "project_bn": "bn3",
}
_TOP = ("classifier.weight", "classifier.bias")
# (height, width, input, output) or (height, width, channels, 1) -> axes of PyTorch
_AXES = {"conv2d": (3, 2, 0, 1), "depthwise_conv2d": (2, 3, 0, 1)}


def is_safetensors(path: Path) -> bool:
    """Return true if a file begins as safetensors do: the length of a JSON object, then it."""
    with path.open("rb") as stream:
        begin = stream.read(9)
    length = int.from_bytes(begin[:8], "little")
    return len(begin) == 9 and begin[8:] == b"{" and length < LARGEST_HEADER


def read_timm(path: Path, layers: Iterable[Layer]) -> StoredWeights:
    """Read all weights of `layers`, transposed into the axes of Keras.

    Raises:
        LayoutError: if the file is damaged or of another network.
    """
    try:
        with safetensors.safe_open(path, "numpy") as file:
            held = set(file.keys())
            tensors = {}
            for layer in layers:
                names = list(_names(layer))
                tensors[layer.name] = [
                    _read(file, held, name, layer, shape)
                    for name, shape in zip(names, layer.shapes, strict=True)
                ]
                held -= set(names)
    except (OSError, safetensors.SafetensorError) as error:
        raise LayoutError(str(error).splitlines()[0]) from error
    check_rest(sorted(name for name in held if not name.endswith("num_batches_tracked")), _TOP)
    return StoredWeights(tensors=tensors)


def check_safetensors(path: Path) -> None:
    """Check that all floats of a file are finite. Raises LayoutError otherwise."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            for name in file.keys():  # noqa: SIM118  (it is no mapping)
                if file.get_slice(name).get_dtype() not in _TYPES:
                    continue  # of another layout, or of no weight
                if not np.isfinite(file.get_tensor(name)).all():
                    raise LayoutError(f"{name} holds numbers that are not finite")
    except (OSError, safetensors.SafetensorError) as error:
        raise LayoutError(str(error).splitlines()[0]) from error


def _read(file: Any, held: set[str], name: str, layer: Layer, shape: tuple[int, ...]) -> Floats:
    if name not in held:
        raise LayoutError(f"{name} is missing")
    stored = file.get_slice(name)
    axes = _AXES[layer.kind] if len(shape) == 4 else (0,)
    dtype = stored.get_dtype()
    values = checked(
        name,
        lambda: file.get_tensor(name),
        _TYPES.get(dtype, dtype),
        tuple(stored.get_shape()),
        tuple(shape[axis] for axis in axes),
    )
    return np.ascontiguousarray(values.transpose(np.argsort(axes)))


def _names(layer: Layer) -> Iterator[str]:
    """Yield the names of the tensors of a layer, in the order of Keras."""
    block = re.fullmatch(r"block(\d+)([a-z])_(\w+)", layer.name)
    if block is None:
        prefix = _ENDS[layer.name]
    else:
        stage, repeat = int(block[1]) - 1, ord(block[2]) - ord("a")
        kinds = _SEPARABLE if stage == 0 else _INVERTED
        prefix = f"blocks.{stage}.{repeat}.{kinds[block[3]]}"
    leaves = _NORM if layer.kind == "batch_normalization" else ("weight", "bias")
    yield from (f"{prefix}.{leaf}" for leaf in leaves[: len(layer.shapes)])
