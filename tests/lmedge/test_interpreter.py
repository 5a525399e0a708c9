"""How an image comes into the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lmedge.interpreter import Interpreter
from lmedge.model_file import read_model
from tests import tiny_file as tiny


def test_a_image_is_copied_or_written_in_place(tiny_file: Path) -> None:
    interpreter = Interpreter(read_model(tiny_file))
    for name in tiny.COLOURS:
        image = tiny.image(name, 32, 32)
        copied = interpreter.run(image)
        written = interpreter.run(lambda out, shown=image: np.copyto(out, shown))
        assert written.landmark.tobytes() == copied.landmark.tobytes()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 32, 1), np.uint8),  # would fit if it were repeated
        np.zeros((3,), np.uint8),
        np.zeros((16, 32, 3), np.uint8),
        np.zeros((32, 32, 3), np.float32),
    ],
)
def test_another_shape_or_dtype_is_refused(tiny_file: Path, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Cannot set tensor"):
        Interpreter(read_model(tiny_file)).set_image(image)
