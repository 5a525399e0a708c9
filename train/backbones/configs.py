"""The JSON files beside pretrained weights: config.json of timm, and those of a KerasHub preset."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .convention import Convention
from .graphs import STAGES
from .tensors import STOCK_EPSILON, LayoutError, NetworkDetails

CONFIG = "config.json"
LARGEST_CONFIG = 2**24
# PyTorch's default, which the timm networks without tf_ in their name have.
TORCH_EPSILON = 1e-5
_TIMM = {
    "tf_efficientnet_b0": NetworkDetails(epsilon=STOCK_EPSILON, symmetric=False),
    "efficientnet_b0": NetworkDetails(epsilon=TORCH_EPSILON, symmetric=True),
}
_HUB_CLASS = "EfficientNetBackbone"
# The values of a preset that no shape of a weight shows, as EfficientNetB0 has them.
_HUB = {
    "stackwise_strides": [stage.strides for stage in STAGES],
    "stackwise_block_types": ["v1"] * len(STAGES),
    "include_stem_padding": True,
    "stem_conv_padding": "valid",
    "projection_activation": None,
}
_SWISH = ("swish", "silu")


def timm_details(folder: Path) -> NetworkDetails:
    """Read the architecture and the input from the config.json of a timm repository.

    Raises:
        LayoutError: if the file is missing, damaged or of another network.
    """
    config = read_json(folder / CONFIG)
    architecture = config.get("architecture")
    if not isinstance(architecture, str) or architecture not in _TIMM:
        raise LayoutError(f"{CONFIG} is of {architecture}; known are {', '.join(_TIMM)}")
    if config.get("model_args"):
        raise LayoutError(f"{CONFIG} has model_args, which change the network")
    trained = config.get("pretrained_cfg", config)  # older files have its keys at the top
    mean, std = (_numbers(CONFIG, trained, key) for key in ("mean", "std"))
    if not all(value > 0 for value in std):
        raise LayoutError(f"{CONFIG} has a std that is not positive")
    details = _TIMM[architecture]
    return NetworkDetails(
        convention=Convention.scaled([255 * m for m in mean], [255 * s for s in std]),
        epsilon=details.epsilon,
        symmetric=details.symmetric,
    )


def hub_details(folder: Path) -> NetworkDetails:
    """Read the network and the input from the JSON files of a KerasHub preset.

    Raises:
        LayoutError: if a file is missing, damaged or of another network.
    """
    about = read_json(folder / CONFIG)
    if about.get("class_name") != _HUB_CLASS:
        raise LayoutError(f"{CONFIG} is of {about.get('class_name')}, expected is {_HUB_CLASS}")
    config = _mapping(CONFIG, about, "config")
    for key, value in _HUB.items():
        if config.get(key) != value:
            raise LayoutError(f"{CONFIG} has {key} {config.get(key)}, expected is {value}")
    if config.get("activation") not in _SWISH:
        raise LayoutError(f"{CONFIG} has the activation {config.get('activation')}, not swish")
    epsilon: Any = config.get("batch_norm_epsilon")
    if not _is_number(epsilon) or not 0 < epsilon < 1:
        raise LayoutError(f"{CONFIG} has batch_norm_epsilon {epsilon}")
    return NetworkDetails(convention=_hub_input(folder), epsilon=float(epsilon), symmetric=True)


def _hub_input(folder: Path) -> Convention | None:
    """Return pixel * scale + offset of the preset, None if no file contains it."""
    if (folder / "image_converter.json").exists():
        about = read_json(folder / "image_converter.json")
    elif (folder / "preprocessor.json").exists():
        config = _mapping("preprocessor.json", read_json(folder / "preprocessor.json"), "config")
        about = _mapping("preprocessor.json", config, "image_converter")
    else:
        return None
    name = "the image converter"
    config = _mapping(name, about, "config")
    scale, offset = (_numbers(name, config, key) for key in ("scale", "offset"))
    if not all(value > 0 for value in scale):
        raise LayoutError(f"{name} has a scale that is not positive")
    return Convention(np.diag(scale), np.asarray(offset, np.float64))


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON object from a plain file of moderate size, or raise LayoutError."""
    if not path.is_file():
        raise LayoutError(f"{path.name} is missing in its folder; fetch it from the same place")
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise LayoutError(f"{path.name} is larger than {LARGEST_CONFIG >> 20} MB")
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LayoutError(f"{path.name} cannot be read: {type(error).__name__}") from error
    if not isinstance(value, dict):
        raise LayoutError(f"{path.name} is not a JSON object")
    return value


def _mapping(name: str, values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = values.get(key)
    if not isinstance(value, dict):
        raise LayoutError(f"{name} has no {key}")
    return value


def _numbers(name: str, values: Any, key: str) -> Sequence[float]:
    """Return three finite numbers; one number stands for three."""
    found = values.get(key) if isinstance(values, dict) else None
    found = [found] * 3 if _is_number(found) else found
    if not (isinstance(found, list) and len(found) == 3 and all(map(_is_number, found))):
        raise LayoutError(f"{name} has no {key} of three numbers")
    return [float(value) for value in found]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
