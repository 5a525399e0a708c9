"""TensorFlow and Keras 2, imported in one place and without their start-up talk.

Keras 2 (tf_keras) is what tensorflow-model-optimization works on; no Keras 3 object is ever made.
"""

from __future__ import annotations

import logging
import os
import platform
import warnings

from lmedge.progress import TALK, quiet_stderr

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
if platform.machine().lower() in ("x86_64", "amd64"):
    # Otherwise TensorFlow computes with oneDNN on processors with AVX-512 VNNI or newer alone.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
if not os.environ.get(TALK):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with quiet_stderr(), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow as tf
    import tf_keras as keras

    tf.config.list_physical_devices()  # the search for a GPU talks as well

if not os.environ.get(TALK):
    tf.get_logger().setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    tf.autograph.set_verbosity(0)

__all__ = ["keras", "tf"]
