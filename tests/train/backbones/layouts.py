"""EfficientNetB0 with random weights, written in each layout and computed in plain NumPy.

The statistics of the batch norms are those of random images, so that activations keep their size.
Kernels are small, so that variances are of the size of the constants that are added to them.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy

from lmedge.errors import WeightsError

# Of each stage: repeats, kernel, stride, expansion (table 1 of arXiv:1905.11946)
STAGES = (
    (1, 3, 1, 1),
    (2, 3, 2, 6),
    (2, 5, 2, 6),
    (3, 3, 2, 6),
    (3, 5, 1, 6),
    (4, 5, 2, 6),
    (1, 3, 1, 6),
)
# Of each block: stage, repeat, kernel, stride, expansion
BLOCKS = tuple(
    (stage, repeat, kernel, stride if repeat == 0 else 1, expansion)
    for stage, (repeats, kernel, stride, expansion) in enumerate(STAGES)
    for repeat in range(repeats)
)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
ADVPROP = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
EVEN, ODD = 64, 65  # sides of images; at the second both rules pad alike
Named = dict[str, np.ndarray]


def images(size: int) -> np.ndarray:
    """Return (4, size, size, 3) uint8 images with large shapes in them."""
    coarse = np.random.default_rng(5).integers(0, 256, (4, 5, 5, 3), np.uint8)
    return coarse.repeat(-(-size // 5), 1).repeat(-(-size // 5), 2)[:, :size, :size]


def stock_model(size: int = 64, *, mean: Any = IMAGENET[0], std: Any = IMAGENET[1]) -> Any:
    """Return Keras' own network with top, random weights and an input of these statistics."""
    from lmedge.train.backend import keras

    keras.utils.set_random_seed(3)
    model = keras.applications.EfficientNetB0(weights=None, classes=7, input_shape=(size, size, 3))
    set_input(model, mean, std)
    norms = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    for layer in model.layers:
        if "conv" in layer.name and layer.weights:
            layer.set_weights([value * 0.1 for value in layer.get_weights()])
    for norm in norms:
        norm.momentum, norm.epsilon = 0.0, 1e-5  # the statistics become those of the batch
    model(images(size).astype(np.float32), training=True)
    rng = np.random.default_rng(3)
    for norm in norms:
        norm.epsilon = 1e-3
        gamma, beta, average, variance = norm.get_weights()
        gamma, beta = rng.uniform(0.8, 1.2, gamma.shape), rng.uniform(-0.2, 0.2, beta.shape)
        norm.set_weights([gamma, beta, average, variance * rng.uniform(0.7, 1.4, gamma.shape)])
    return model


def set_input(model: Any, mean: Any, std: Any) -> None:
    """Give the Normalization layer of a stock model these statistics."""
    layer = next(one for one in model.layers if one.name.startswith("normalization"))
    layer.set_weights([np.array(mean), np.square(std), layer.get_weights()[2]])
    layer.finalize_state()


def stock_features(model: Any, pixels: np.ndarray) -> np.ndarray:
    """Return the features of a stock model, (N, 1280), for raw pixels."""
    from lmedge.train.backend import keras

    body = keras.Model(model.input, model.get_layer("top_activation").output)
    return body.predict(pixels.astype(np.float32), verbose=0).mean(axis=(1, 2))


def weighted(model: Any) -> Iterator[tuple[str, list[str], list[np.ndarray]]]:
    """Yield (layer, leaf names, values) of each layer of the stock backbone, in its order."""
    for layer in model.layers:
        if layer.weights and not layer.name.startswith(("normalization", "predictions")):
            leaves = [weight.name.split("/")[-1] for weight in layer.weights]
            yield layer.name, leaves, layer.get_weights()


def write_named(path: Path, model: Any, *, top: bool = False) -> Path:
    """Write the layout of Keras 2 without input layers, as of qubvel's efficientnet."""
    with h5py.File(path, "w") as file:
        names = ["input_1"]
        file.create_group("input_1").attrs["weight_names"] = np.zeros(0)
        held = list(weighted(model))
        if top:
            held.append(("probs", ["kernel:0", "bias:0"], [np.ones((1280, 9)), np.ones(9)]))
        for name, leaves, values in held:
            names.append(name)
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{leaf}".encode() for leaf in leaves]
            for leaf, value in zip(leaves, values, strict=True):
                group[f"{name}/{leaf}"] = value
        file.attrs["layer_names"] = [name.encode() for name in names]
    return path


def write_hub(folder: Path, model: Any, **changes: Any) -> Path:
    """Write a KerasHub preset: two JSON files, and the weights by kind and number."""
    folder.mkdir()
    names = {"bn": "dwconv_bn", "project_conv": "project"}
    counts: dict[str, int] = {}
    with h5py.File(folder / "model.weights.h5", "w") as file:
        file.create_group("layers/activation/vars").attrs["name"] = "stem_activation"
        for name, _, values in weighted(model):
            kind = "depthwise_conv2d" if name.endswith("dwconv") else "conv2d"
            kind = "batch_normalization" if name.endswith("bn") else kind
            number = counts[kind] = counts.get(kind, -1) + 1
            group = file.create_group(f"layers/{kind}_{number}/vars".replace("_0/", "/"))
            block, _, part = name.partition("_")
            known = f"{block}_{names.get(part, part)}" if block.startswith("block") else name
            group.attrs["name"] = known
            for index, value in enumerate(values):
                group[str(index)] = value
    config = {
        "activation": "swish",
        "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
        "stackwise_block_types": ["v1"] * 7,
        "include_stem_padding": True,
        "stem_conv_padding": "valid",
        "batch_norm_epsilon": 1e-5,
        "projection_activation": None,
        **changes,
    }
    write_json(folder / "config.json", {"class_name": "EfficientNetBackbone", "config": config})
    mean, std = (np.array(values) for values in IMAGENET)
    values = {"scale": list(1 / 255 / std), "offset": list(-mean / std)}
    write_json(folder / "image_converter.json", {"config": values})
    return folder


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def as_timm(model: Any) -> Named:
    """Return the weights by the names and in the axes of PyTorch."""
    held = weighted(model)
    found: Named = {}

    def take(name: str, *, norm: bool = False) -> None:
        layer, _, values = next(held)
        leaves = ("weight", "bias", "running_mean", "running_var") if norm else ("weight", "bias")
        if not norm:
            axes = (2, 3, 0, 1) if "dwconv" in layer else (3, 2, 0, 1)
            values = [np.transpose(values[0], axes), *values[1:]]
        for leaf, value in zip(leaves, values, strict=False):
            found[f"{name}.{leaf}"] = np.ascontiguousarray(value, np.float32)
        if norm:
            found[f"{name}.num_batches_tracked"] = np.array(7, np.int64)

    take("conv_stem")
    take("bn1", norm=True)
    for stage, repeat, _, _, expansion in BLOCKS:
        prefix, norms = f"blocks.{stage}.{repeat}.", itertools.count(1)
        if expansion > 1:
            take(f"{prefix}conv_pw")
            take(f"{prefix}bn{next(norms)}", norm=True)
        take(f"{prefix}conv_dw")
        take(f"{prefix}bn{next(norms)}", norm=True)
        take(f"{prefix}se.conv_reduce")
        take(f"{prefix}se.conv_expand")
        take(f"{prefix}{'conv_pwl' if expansion > 1 else 'conv_pw'}")
        take(f"{prefix}bn{next(norms)}", norm=True)
    take("conv_head")
    take("bn2", norm=True)
    assert next(held, None) is None
    return found


def write_timm(folder: Path, tensors: Named, architecture: str, statistics: Any) -> Path:
    """Write a timm repository: config.json and model.safetensors, with its classifier."""
    folder.mkdir()
    top = {"classifier.weight": np.ones((9, 1280), np.float32), "classifier.bias": np.ones(9)}
    safetensors.numpy.save_file({**tensors, **top}, folder / "model.safetensors", {"format": "pt"})
    mean, std = statistics
    trained = {"tag": "random", "mean": list(mean), "std": list(std)}
    write_json(folder / "config.json", {"architecture": architecture, "pretrained_cfg": trained})
    return folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainB0:
    """The network of timm in plain NumPy: (N, S, S, 3) pixels -> (N, 1280)."""

    tensors: Named
    epsilon: float
    symmetric: bool
    statistics: Any = IMAGENET

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        mean, std = (np.array(values) for values in self.statistics)
        x = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
        patches = self._patches(x, 3, 2)
        x = np.einsum("nchwij,ocij->nohw", patches, self.tensors["conv_stem.weight"])
        x = swish(self._norm(x, "bn1"))
        for stage, repeat, kernel, stride, expansion in BLOCKS:
            prefix, entry, norms = f"blocks.{stage}.{repeat}.", x, itertools.count(1)
            if expansion > 1:
                x = self._pointwise(x, f"{prefix}conv_pw")
                x = swish(self._norm(x, f"{prefix}bn{next(norms)}"))
            depthwise = self.tensors[f"{prefix}conv_dw.weight"][:, 0]
            x = np.einsum("nchwij,cij->nchw", self._patches(x, kernel, stride), depthwise)
            x = swish(self._norm(x, f"{prefix}bn{next(norms)}"))
            s = self._pointwise(x.mean(axis=(2, 3), keepdims=True), f"{prefix}se.conv_reduce")
            s = self._pointwise(swish(s), f"{prefix}se.conv_expand")
            x = x * sigmoid(s)
            x = self._pointwise(x, f"{prefix}{'conv_pwl' if expansion > 1 else 'conv_pw'}")
            x = self._norm(x, f"{prefix}bn{next(norms)}")
            if stride == 1 and x.shape == entry.shape:
                x = x + entry
        x = swish(self._norm(self._pointwise(x, "conv_head"), "bn2"))
        return x.mean(axis=(2, 3))

    def _patches(self, x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
        pads = [(0, 0), (0, 0)]
        for length in x.shape[2:]:
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            same = (total // 2, total - total // 2)
            pads.append((kernel // 2,) * 2 if self.symmetric else same)
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(x, pads), (kernel, kernel), (2, 3)
        )
        return windows[:, :, ::stride, ::stride]

    def _pointwise(self, x: np.ndarray, name: str) -> np.ndarray:
        y = np.einsum("nchw,oc->nohw", x, self.tensors[f"{name}.weight"][:, :, 0, 0], optimize=True)
        return y + self.tensors.get(f"{name}.bias", np.zeros(1))[:, None, None]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        gamma, beta, mean, variance = (
            self.tensors[f"{name}.{leaf}"][:, None, None]
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + self.epsilon) * gamma + beta


def sigmoid(x: np.ndarray) -> np.ndarray:
    return (1 + np.tanh(x / 2)) / 2


def swish(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def refused(model: Any, weights: object, told: str) -> None:
    """Assert that weights are refused in one line and the model stays as it was."""
    from lmedge.train.backbones import BACKBONES, load_stock_weights

    before = model.get_weights()
    with pytest.raises(WeightsError, match=told) as caught:
        load_stock_weights(model, BACKBONES["efficientnetb0"], str(weights))
    assert "\n" not in str(caught.value)
    for was, now in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(was, now)
