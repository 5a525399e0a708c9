"""Class-activation maps over images: the places that speak for a landmark."""

from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from lmedge.report.canvas import drawing
from lmedge.report.fonts import Fonts

from ..arrays import normalise
from ..backend import keras, tf
from ..data.store import ImageStore
from ..network import FEATURES
from .predictions import Predictions
from .tiles import Tiles

SHOWN = 12
PAIRS = 3  # images beside each other, each with its map
_SIDE = 2.1  # inches
COLOURS = "viridis"  # told apart by colour-blind people, and rising in lightness


def activation_maps(
    network: keras.Model, images: npt.NDArray[np.uint8], classes: npt.NDArray[np.integer]
) -> npt.NDArray[np.float32]:
    """Return the weight of each place in favour of a landmark.

    Each of the maps whose averages are the features is weighed by the mean gradient of the
    landmark's logit over it (Grad-CAM, Selvaraju et al., arXiv:1610.02391). If one linear layer
    follows the averages, the gradient is the weight of that layer over h x w. The result is then
    the exact CAM of Zhou et al. (arXiv:1512.04150) over h x w: its sum and the bias are the logit.

    Args:
        network: The float network.
        images: (N, S, S, 3) uint8 RGB.
        classes: (N,) landmark indices.

    Returns:
        (N, h, w) float32, not below zero, with h and w of those maps.
    """
    averaged = _averaged_maps(network)
    backbone = keras.Model(network.input, averaged)
    head = keras.Model(averaged, network.get_layer("landmark").output)
    maps = tf.nest.flatten(backbone(tf.constant(normalise(images)), training=False))
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logits = tf.gather(head(maps, training=False), classes, batch_dims=1)
    gradients = tape.gradient(logits, maps)
    weights = [tf.reduce_mean(one, axis=(1, 2), keepdims=True) for one in gradients]
    heat = [tf.reduce_sum(weight * one, axis=-1) for weight, one in zip(weights, maps, strict=True)]
    return np.asarray(tf.nn.relu(tf.add_n(heat)), np.float32)


def _averaged_maps(network: keras.Model) -> list[keras.KerasTensor]:
    """Return the maps, (N, h, w, C) each, whose averages are the features."""
    features = network.get_layer(FEATURES)
    if isinstance(features, keras.layers.GlobalAveragePooling2D):
        return [features.input]
    return [average._keras_history.layer.input for average in features.input]


def chosen(predictions: Predictions, most: int = SHOWN) -> list[int]:
    """Return the places of the images to show: the worst mistakes, at most half, then right ones.

    The right ones are spread evenly over the part, which is sorted by category and landmark.
    """
    wrong = predictions.mistakes()[: most // 2]
    right = np.flatnonzero(predictions.predicted == predictions.truth)
    wanted = min(most - len(wrong), len(right))
    spread = right[np.linspace(0, len(right) - 1, wanted).round().astype(int)] if wanted else right
    return [*wrong, *(int(place) for place in spread)]


def plot_activation_maps(
    network: keras.Model,
    predictions: Predictions,
    store: ImageStore,
    title: str,
    path: Path,
    fonts: Fonts,
) -> None:
    """Draw a few images beside the activation map of the predicted landmark, as PNG."""
    places = chosen(predictions)
    images = store.prepared_many([predictions.entries[place] for place in places])
    maps = activation_maps(network, images, predictions.predicted[places])
    heading = f"{title}: what spoke for the predicted landmark (yellow: most)"
    tiles = Tiles(len(places), PAIRS, 2 * _SIDE, _SIDE)
    with drawing(path, tiles.size, fonts) as figure:
        for axes, place, image, heat in zip(
            tiles.panels(figure, heading), places, images, maps, strict=True
        ):
            axes.imshow(np.hstack([image, overlay(image, heat)]))
            tiles.caption(axes, predictions, place, fonts)


def overlay(image: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Lay a map (h, w) in colour over an image made grey; both images are (S, S, 3) uint8 RGB.

    The highest place of the map has the last colour. Higher places cover more of the image.
    """
    smooth = cv2.resize(heat, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    share = np.clip(smooth / max(float(heat.max()), 1e-9), 0, 1)
    colours = 255 * mpl.colormaps[COLOURS](share)[..., :3]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    covered = (0.25 + 0.45 * share)[..., None]
    return np.asarray(np.rint(grey * (1 - covered) + colours * covered), np.uint8)
