"""Weights of Keras in HDF5, in its two layouts, read without following links out of the file.

Keras 2 and the `.h5` files of Keras 3 hold a group for each layer, named as the layer. The
attribute `layer_names` lists the layers, and `weight_names` the weights of one. A whole model has
all of it in the group `model_weights`. The `.weights.h5` files of Keras 3 hold
`layers/KIND_NUMBER/vars/NUMBER`: layers are counted by kind in the order of the network, and newer
versions add the name of the layer as the attribute `name`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np

from .tensors import (
    Floats,
    Layer,
    LayoutError,
    StockInput,
    StoredWeights,
    Tensors,
    check_rest,
    checked,
)

# Weights of one layer in the order of Keras; Keras 3 calls the depthwise kernel "kernel" too.
_LEAVES = {
    "conv2d": (("kernel",), ("bias",)),
    "depthwise_conv2d": (("depthwise_kernel", "kernel"), ("bias",)),
    "batch_normalization": (("gamma",), ("beta",), ("moving_mean",), ("moving_variance",)),
}
# Layers that a stock file may hold beside those of the backbone: its input and its top.
_INPUT = "normalization"
_AGAIN = ("rescaling_1", "tf_op_lambda")  # behind it, in Keras 3 and Keras 2
_TOPS = ("predictions", "probs")
# Of a whole file: groups and datasets, floats, and groups in one another
_MOST_MEMBERS, _MOST_NUMBERS, _DEEPEST = 20_000, 1 << 26, 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class FirstLook:
    """The layout of an HDF5 file.

    Attributes:
        numbered: false if layers have their names, true if they are counted by kind.
        stock: true if the file holds the input layers of a stock model.
    """

    numbered: bool
    stock: bool


def read_keras(
    path: Path, layers: Iterable[Layer], hub_name: Callable[[str], str]
) -> StoredWeights:
    """Read all weights of `layers` from an HDF5 file of Keras, in the layout that it has.

    hub_name: the name that KerasHub gives one of our layers.

    Raises:
        LayoutError: if the file is damaged, is of another network or points out of itself.
    """
    with _opened(path) as file:
        root = _root(file)
        if "layer_names" in root.attrs:
            return _read_by_name(root, layers)
        return _read_by_number(file, layers, hub_name)


def read_bare(path: Path, layers: Iterable[Layer]) -> StoredWeights:
    """Read all weights of `layers` from a file of the second layout that holds nothing else.

    Raises:
        LayoutError: as `read_keras`.
    """
    with _opened(path) as file:
        return _read_by_number(file, layers)


def look(path: Path) -> FirstLook:
    """Recognise the layout of an HDF5 file without reading its weights.

    Raises:
        LayoutError: if the file is damaged.
    """
    with _opened(path) as file:
        root = _root(file)
        if "layer_names" in root.attrs:
            names = _texts(root, "layer_names")
            return FirstLook(numbered=False, stock=any(map(_is_input, names)))
        layers = member(file, "layers")
        stock = _has(layers, _INPUT) and _holds_weights(layers, _INPUT)
        return FirstLook(numbered=True, stock=stock)


def check_hdf5(path: Path) -> None:
    """Check a whole HDF5 file: it stays in itself, and its floats are finite.

    It is for a reader that follows links, and for a refusal before a network is built.

    Raises:
        LayoutError: otherwise, or if it is damaged or larger than weights of a backbone.
    """
    with _opened(path) as file:
        groups, seen, numbers = [("", file)], set(), 0
        while groups:
            above, group = groups.pop()
            for name in group:
                where = f"{above}{name}"
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise LayoutError(f"{where} is a link, which is not followed")
                inside = group[name]
                address = h5py.h5o.get_info(inside.id).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(inside, h5py.Group):
                    groups.append((f"{where}/", inside))
                elif isinstance(inside, h5py.Dataset):
                    numbers += inside.size or 0
                    _check_dataset(inside, where)  # refuses a large one before it is read
                deep = where.count("/") > _DEEPEST
                if deep or len(seen) > _MOST_MEMBERS or numbers > _MOST_NUMBERS:
                    raise LayoutError("it is larger than weights of a backbone")


def _check_dataset(stored: h5py.Dataset, name: str) -> None:
    if stored.external or stored.is_virtual:
        raise LayoutError(f"{name} is stored in another file, which is not read")
    if (stored.size or 0) > _MOST_NUMBERS:
        raise LayoutError("it is larger than weights of a backbone")
    if stored.dtype.kind == "f" and stored.size and not np.isfinite(stored[()]).all():
        raise LayoutError(f"{name} holds numbers that are not finite")


def _root(file: h5py.File) -> h5py.Group:
    """Return the group of the weights: a whole model has one of its own."""
    return member(file, "model_weights") if _has(file, "model_weights") else file


def _is_input(name: str) -> bool:
    return name.startswith(_INPUT)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a file; errors of reading it become LayoutError."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = str(error.args[0]).splitlines() if error.args else []
        raise LayoutError(reason[0] if reason else type(error).__name__) from error


def member(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """Return a member of a group. Raise LayoutError for a missing one and for any soft link."""
    found = group
    for name in path.split("/"):
        link = found.get(name, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            raise LayoutError(f"{path} is missing")
        if not isinstance(link, h5py.HardLink):
            raise LayoutError(f"{path} is a link, which is not followed")
        found = found[name]
    return found


def read_dataset(group: h5py.Group, path: str, shape: tuple[int, ...]) -> Floats:
    """Return one dataset as float32, checked before a byte of it is read."""
    stored = member(group, path)
    if not isinstance(stored, h5py.Dataset):
        raise LayoutError(f"{path} is missing")
    if stored.external or stored.is_virtual:
        raise LayoutError(f"{path} is stored in another file, which is not read")
    return checked(path, lambda: stored[()], str(stored.dtype), stored.shape, shape)


def _read_by_name(root: h5py.Group, layers: Iterable[Layer]) -> StoredWeights:
    listed = _texts(root, "layer_names")
    weights = {name: _texts(member(root, name), "weight_names") for name in listed}
    tensors: Tensors = {}
    for layer in layers:
        if layer.name not in weights:
            raise LayoutError(f"{layer.name} is missing")
        tensors[layer.name] = [
            read_dataset(root, f"{layer.name}/{_leaf(layer, weights[layer.name], number)}", shape)
            for number, shape in enumerate(layer.shapes)
        ]
        if len(weights[layer.name]) != len(layer.shapes):
            raise LayoutError(f"{layer.name} has {len(weights[layer.name])} weights")
    inputs = [name for name in listed if _is_input(name) and weights[name]]
    check_rest((name for name in listed if weights[name]), {*tensors, *inputs, *_TOPS})
    if not inputs:
        return StoredWeights(tensors=tensors)
    mean, variance = (
        read_dataset(root, f"{inputs[0]}/{name}", (3,)) for name in weights[inputs[0]][:2]
    )
    between = listed[listed.index(inputs[0]) + 1 :]
    again = bool(between) and not between[0].startswith("stem_")
    return StoredWeights(tensors=tensors, stock=StockInput(mean, variance, again))


def _leaf(layer: Layer, names: list[str], number: int) -> str:
    """Return the one of `names` that is the weight `number` of a layer."""
    allowed = _LEAVES[layer.kind][number]
    for name in names:
        if name.rsplit("/", 1)[-1].split(":")[0] in allowed:
            return name
    raise LayoutError(f"{layer.name}/{allowed[0]} is missing")


def _texts(group: h5py.Group | h5py.Dataset, name: str) -> list[str]:
    values = group.attrs[name]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _read_by_number(
    file: h5py.File, layers: Iterable[Layer], hub_name: Callable[[str], str] | None = None
) -> StoredWeights:
    """Read a file of the second layout; without `hub_name` neither input, top nor names in it."""
    tensors: Tensors = {}
    taken = set()
    for layer, stored in numbered(layers):
        taken.add(stored)
        tensors[layer.name] = [
            read_dataset(file, f"layers/{stored}/vars/{number}", shape)
            for number, shape in enumerate(layer.shapes)
        ]
        name = member(file, f"layers/{stored}/vars").attrs.get("name", layer.name)
        if hub_name is not None and name not in (layer.name, hub_name(layer.name)):
            raise LayoutError(f"layers/{stored} is {name}, expected is {layer.name}")
    group = member(file, "layers")
    held = {name for name in group if _holds_weights(group, name)}
    known = () if hub_name is None else (f"layers/{_INPUT}", "layers/dense")
    check_rest((f"layers/{name}" for name in sorted(held - taken)), known)
    if _INPUT not in held:
        return StoredWeights(tensors=tensors)
    mean, variance = (read_dataset(group, f"{_INPUT}/vars/{n}", (3,)) for n in (0, 1))
    again = any(_has(group, name) for name in _AGAIN)
    return StoredWeights(tensors=tensors, stock=StockInput(mean, variance, again))


def _holds_weights(layers: h5py.Group, name: str) -> bool:
    layer = member(layers, name)
    if not isinstance(layer, h5py.Group) or not _has(layer, "vars"):
        return False
    found = member(layer, "vars")
    if not isinstance(found, h5py.Group):
        raise LayoutError(f"layers/{name}/vars is not a group")
    return len(found) > 0


def _has(group: h5py.Group, name: str) -> bool:
    """Return true for a member of that name. A link counts and is not followed."""
    return group.get(name, getlink=True) is not None


def numbered(layers: Iterable[Layer]) -> Iterator[tuple[Layer, str]]:
    """Yield each layer with its name in a `.weights.h5` file: conv2d, conv2d_1, ..."""
    counts: dict[str, int] = {}
    for layer in layers:
        count = counts[layer.kind] = counts.get(layer.kind, -1) + 1
        yield layer, f"{layer.kind}_{count}" if count else layer.kind
