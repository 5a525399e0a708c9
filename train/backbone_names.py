"""The names of the backbones, for whoever must not wait for TensorFlow; see `backbones`."""

from __future__ import annotations

BACKBONE_NAMES = ("efficientnetb0", "efficientnet-lite0", "vgg16")
