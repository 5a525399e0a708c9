"""The network in whole numbers; that the file computes the same is held by test_equality.py."""

from __future__ import annotations

import numpy as np

from lmedge.export.quantization.integer import all_steps, run_integer
from lmedge.train.arrays import normalise
from lmedge.train.backend import keras, tf
from tests.export.conftest import Exported


def test_every_tensor_is_whole_numbers_within_its_grid(exported: Exported) -> None:
    images = tf.constant(normalise(exported.run.images("val")))
    found = all_steps(exported.quantized, images)
    layers = [x for x in exported.quantized.layers if not isinstance(x, keras.layers.InputLayer)]
    assert set(found) == {layer.name for layer in layers}
    for name, steps in found.items():
        values = steps.values.numpy()
        assert np.array_equal(values, np.rint(values)), name
        assert steps.grid.lowest <= values.min() <= values.max() <= steps.grid.highest, name
        if name != "stem_pad":
            assert values.min() < values.max(), name


def test_the_network_answers_with_them_and_is_trained_close_to_them(exported: Exported) -> None:
    network = exported.quantized
    images = tf.constant(normalise(exported.run.images("val")))
    whole, answers, trained = (
        run_integer(network, images),
        network(images),
        network(images, training=True),
    )
    assert list(whole) == list(answers) == list(trained)
    for head, values in whole.items():
        assert np.array_equal(values, answers[head])
        step = np.ptp(values) / 255
        assert np.abs(values - trained[head]).max() < 8 * step
        assert np.abs(values - trained[head]).mean() < step
