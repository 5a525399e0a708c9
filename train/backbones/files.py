"""EfficientNetB0 from the files that are published, each recognised by its contents.

| layout | recognised by | input |
|---|---|---|
| stock Keras, with or without top | HDF5 with a Normalization layer | its own input layers |
| qubvel's efficientnet, with or without top | HDF5 by layer name, no Normalization | SHA-256 |
| KerasHub preset | HDF5 by number, no Normalization | config.json, image_converter.json |
| timm | safetensors | config.json |

`PATH@imagenet` or `PATH@advprop` gives the input where a file does not contain it, and takes the
place of that of a file.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from lmedge.base_file import BaseFile, read_base
from lmedge.errors import ModelFileError, WeightsError
from lmedge.regular import check_regular

from ..backend import keras
from ..options import find_weights
from .base_weights import BASE, read_base_weights
from .configs import CONFIG, hub_details, timm_details
from .convention import Convention, fold
from .hdf5 import check_hdf5, look, read_keras
from .pretrained import HDF5_SIGNATURE, IMAGENET, StockModel
from .tensors import (
    LayoutError,
    NetworkDetails,
    StockInput,
    check_variances,
    layers_of,
    with_epsilon,
)
from .timm import check_safetensors, is_safetensors, read_timm

INPUTS = {
    "imagenet": Convention.scaled(
        mean=(0.485 * 255, 0.456 * 255, 0.406 * 255), scale=(0.229 * 255, 0.224 * 255, 0.225 * 255)
    ),
    "advprop": Convention.scaled(mean=(127.5,) * 3, scale=(127.5,) * 3),
}
WANTED = (
    "EfficientNetB0 weights: .h5 or .weights.h5 of Keras, a KerasHub preset, or model.safetensors "
    "of timm with its config.json"
)
# Strided convolutions pad alike on both sides at every size of 32 n + 1, whatever their rule.
TOTAL_STRIDE = 32
SYMMETRIC_SIZE = 7 * TOTAL_STRIDE + 1
# The files of qubvel's efficientnet (efficientnet/weights.py there), all for ImageNet's mean and
# deviation: SHA-256 of the AutoAugment files and MD5 of the noisy-student files, with and without
# top.
QUBVEL_FILES = {
    "163292582f1c6eaca8e7dc7b51b01c615b0dbc0039699b4dcd0b975cc21533dc",
    "c1421ad80a9fc67c2cc4000f666aa50789ce39eedb4e06d531b0c593890ccff3",
    "5e376ca93bc6ba60f5245d13d44e4323",
    "a5b48ae7547fc990c7e4f3951230290d",
}
_PRESET_FILE, _TIMM_FILE = "model.weights.h5", "model.safetensors"
_HUB_PARTS = {"bn": "dwconv_bn", "project_conv": "project"}
_ARCHIVES = (b"PK\x03\x04", b"\x80")  # zip archive, pickle


@dataclasses.dataclass(frozen=True)
class Source:
    """The file that `--weights` names, and the input convention that it gives, or None."""

    path: Path
    given: Convention | None


@dataclasses.dataclass(frozen=True)
class EfficientNetFiles(StockModel):
    """The stock EfficientNetB0: downloaded, of the base, or from a file of a layout above."""

    def check(self, backbone: str, weights: str, size: int | None = None) -> None:
        """Check the values of the file and the JSON files beside it; a download is not tried."""
        if weights == IMAGENET:
            return
        if weights == BASE:
            _base()
            return
        path, _ = _look(backbone, weights, size)
        try:
            (check_safetensors if is_safetensors(path) else check_hdf5)(path)
        except LayoutError as error:
            raise _refused(path, backbone, error) from error

    def load(self, model: keras.Model, backbone: str, weights: str) -> None:
        """Read and check every weight of the backbone, then set them all and fold the input."""
        if weights == IMAGENET:
            super().load(model, backbone, weights)
            return
        if weights == BASE:
            self._load_base(model)
            return
        path, details = _look(backbone, weights, model.get_layer(self.stem.pad).input_shape[1])
        layers = layers_of(model)
        try:
            stored = (
                read_timm(path, layers)
                if is_safetensors(path)
                else read_keras(path, layers, _hub_name)
            )
            check_variances(stored.tensors, layers)
            convention = details.convention or self._of_stock(path, stored.stock)
        except LayoutError as error:
            raise _refused(path, backbone, error) from error
        for name, values in stored.tensors.items():
            layer = model.get_layer(name)
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.set_weights(with_epsilon(values, details.epsilon, layer.epsilon))
            else:
                layer.set_weights(values)
        fold(model, self.stem, convention)

    def _load_base(self, model: keras.Model) -> None:
        base = _base()
        try:
            tensors, border = read_base_weights(base, layers_of(model))
        except LayoutError as error:
            raise WeightsError(f"{base.path} does not hold these weights: {error}") from error
        for name, values in tensors.items():
            model.get_layer(name).set_weights(values)
        model.get_layer(self.stem.pad).set_weights([border])

    def _of_stock(self, path: Path, stored: StockInput | None) -> Convention:
        """Measure the input layers of the stock model with the values of a file."""
        if stored is None:
            raise LayoutError("its normalization layer has no weights")
        stock = self.build(include_top=False, weights=None, input_shape=(64, 64, 3))
        layer = next(one for one in stock.layers if isinstance(one, keras.layers.Normalization))
        layer.set_weights([stored.mean, stored.variance, *layer.get_weights()[2:]])
        layer.finalize_state()
        found = Convention.measured(self._front(stock))
        if self.download is None:
            return found
        downloaded = _digests(path) & {self.download.md5, self.download.md5_top}
        return found.times(self.download.gain) if stored.again or downloaded else found


def _base() -> BaseFile:
    try:
        return read_base()
    except ModelFileError as error:
        raise WeightsError(f"{error}; or pass --weights imagenet or PATH") from error


def find(weights: str) -> Source:
    """Return the file of `PATH`, `PATH@INPUT` or a folder with one known file.

    Raises:
        WeightsError: if there is none, or it is a pickle.
    """
    found = find_weights(weights)
    path, name = found or (Path(weights), None)
    if name is not None and name not in INPUTS:
        raise WeightsError(f"{weights}: {name!r} is not an input; allowed are {', '.join(INPUTS)}")
    if found is not None and path.is_dir():
        path = _inside(path)
    _check_kind(path)
    return Source(path, None if name is None else INPUTS[name])


def _inside(folder: Path) -> Path:
    """Return the weights file of the folder of a preset or repository."""
    held = [name for name in (_PRESET_FILE, _TIMM_FILE) if (folder / name).exists()]
    if len(held) == 1:
        return folder / held[0]
    problem = "holds more than one of" if held else "holds none of"
    raise WeightsError(
        f"{folder} {problem} {_PRESET_FILE} and {_TIMM_FILE}; pass --weights PATH of a file. "
        "PyTorch's .bin and .pth are not read"
    )


def _check_kind(path: Path) -> None:
    """Raise WeightsError for a path that is no HDF5 or safetensors file."""
    try:
        check_regular(path)
        with path.open("rb") as stream:
            begin = stream.read(len(HDF5_SIGNATURE))
        known = begin == HDF5_SIGNATURE or is_safetensors(path)
    except OSError as error:
        raise WeightsError(
            f"cannot read the weights {path}: {error.strerror}; pass --weights PATH of {WANTED}, "
            "or --weights none"
        ) from error
    if known:
        return
    if begin.startswith(_ARCHIVES):
        raise WeightsError(
            f"{path} is a PyTorch pickle or another archive, which could run code; take "
            f"{_TIMM_FILE} and {CONFIG} of the same repository"
        )
    raise WeightsError(f"{path} is not an HDF5 weights file or safetensors; pass {WANTED}")


def _look(backbone: str, weights: str, size: int | None) -> tuple[Path, NetworkDetails]:
    """Return the file and its details, or raise WeightsError for what a first look shows."""
    source = find(weights)
    try:
        details = _details(source)
    except LayoutError as error:
        raise _refused(source.path, backbone, error) from error
    if details.symmetric and size is not None and size % TOTAL_STRIDE != 1:
        raise WeightsError(
            f"{source.path} is of a network that pads both sides alike, which this one does at "
            f"image sizes of {TOTAL_STRIDE} n + 1 alone; pass --image-size {SYMMETRIC_SIZE}, or "
            "take the weights of a timm/tf_efficientnet_b0 repository"
        )
    return source.path, details


def _details(source: Source) -> NetworkDetails:
    """Return what the shapes do not show, with no convention only for a stock model's file.

    Raises:
        LayoutError: if a JSON file beside the weights is missing or does not fit.
        WeightsError: if the input that the weights expect is unknown.
    """
    path = source.path
    if is_safetensors(path):
        found = timm_details(path.parent)
    else:
        held = look(path)
        hub = held.numbered and not held.stock
        found = hub_details(path.parent) if hub else NetworkDetails()
        if held.stock and source.given is None:
            return found
    own = found.convention
    if own is None and source.given is None and _digests(path) & QUBVEL_FILES:
        own = INPUTS["imagenet"]
    convention = own if source.given is None else source.given
    if convention is None:
        raise WeightsError(
            f"{path} does not contain the input that its weights expect; pass --weights "
            "PATH@imagenet (AutoAugment and noisy-student weights: mean and deviation of "
            "ImageNet) or PATH@advprop (AdvProp weights: pixel / 127.5 - 1)"
        )
    return dataclasses.replace(found, convention=convention)


def _refused(path: Path, backbone: str, error: LayoutError) -> WeightsError:
    return WeightsError(f"{path} does not hold {backbone} weights: {error}")


def _digests(path: Path) -> set[str]:
    with path.open("rb") as stream:
        found = {hashlib.file_digest(stream, "sha256").hexdigest()}
        stream.seek(0)
        return found | {hashlib.file_digest(stream, "md5").hexdigest()}


def _hub_name(name: str) -> str:
    """Return the name that KerasHub gives a layer: block1a_bn -> block1a_dwconv_bn."""
    block, _, part = name.partition("_")
    if not block.startswith("block"):
        return name
    return f"{block}_{_HUB_PARTS.get(part, part)}"
