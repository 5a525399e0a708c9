"""How TensorFlow is started."""

from __future__ import annotations

import os
import platform

import pytest


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="not x86-64")
@pytest.mark.skipif(os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "1", reason="chosen otherwise")
def test_tensorflow_computes_with_onednn_on_every_x86_64() -> None:
    from lmedge.train.backend import tf  # chooses before the import

    assert tf.version.VERSION
    from tensorflow.python.util import _pywrap_util_port  # as TensorFlow's own tests ask

    assert _pywrap_util_port.IsMklEnabled()
