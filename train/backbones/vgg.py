"""VGG16 (arXiv:1409.1556, configuration D) as a flat graph, layers named as in stock Keras."""

from __future__ import annotations

from ..backend import keras
from .layers import BorderPad, initializer

# (convolutions, filters) of each block; a pooling layer ends it.
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
GROUPS = tuple(f"block{number}" for number in range(1, len(BLOCKS) + 1))


def vgg16(image: keras.KerasTensor) -> keras.KerasTensor:
    """VGG16 without its dense layers, up to the average over block5_pool.

    image: (N, H, W, 3) float32, (pixel - PIXEL_MEAN) / PIXEL_SCALE, RGB, H and W at least 32.
    Returns (N, 512).
    """
    x = BorderPad(kernel_size=3, strides=1, name="block1_pad")(image)
    for number, (convolutions, filters) in enumerate(BLOCKS, start=1):
        for repeat in range(1, convolutions + 1):
            name = f"block{number}_conv{repeat}"
            x = keras.layers.Conv2D(
                filters,
                3,
                padding="valid" if name == "block1_conv1" else "same",  # block1_pad did it
                # Nothing normalises in between: "fan_in" keeps the size of the activations.
                kernel_initializer=initializer("fan_in"),
                name=name,
            )(x)
            x = keras.layers.ReLU(name=f"{name}_activation")(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{number}_pool")(x)
    return keras.layers.GlobalAveragePooling2D(name="features")(x)
