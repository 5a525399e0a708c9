"""Small images for the documentation."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.studies.palette_png import encode


def read(png: bytes) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return found


def test_few_colours_are_kept_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 5, (30, 40, 3), np.uint8) * 60
    assert np.array_equal(read(encode(image)), image)


def test_many_are_brought_to_a_palette_that_is_near_and_smaller() -> None:
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    image = np.asarray(cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8)
    image[100:104, 100:104] = (0, 0, 255)  # a few pixels of a colour of their own
    image[:40] = (250, 251, 252)
    encoded = encode(image)
    found = read(encoded)
    assert len(np.unique(found.reshape(-1, 3), axis=0)) <= 200
    assert np.abs(found.astype(int) - image).mean() < 12
    assert np.abs(found[101, 101].astype(int) - (0, 0, 255)).max() < 70
    assert found[0, 0].tolist() == [250, 251, 252]
    assert len(encoded) < len(cv2.imencode(".png", image)[1]) / 2
