"""Decoding at reduced scale: as large as needed, upright, and nearly the same input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lmedge.image import Resize, decode_image, prepare

SIDE = 64


def encoded(height: int, width: int, suffix: str = ".jpg") -> bytes:
    """Draw an image with detail at all scales; its left upper corner is red."""
    random = np.random.default_rng(0)
    image = np.zeros((height, width, 3), np.float32)
    for cells in (4, 16, 64):
        coarse = random.uniform(-40, 40, (cells, cells, 1)).astype(np.float32)
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    image = np.clip(image + 128, 0, 255)
    image[: height // 4, : width // 4] = (0, 0, 255)
    return cv2.imencode(suffix, image.astype(np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (150, 200, (150, 200)),  # less than 2.5 times the side
        (160, 200, (80, 100)),
        (400, 720, (100, 180)),
        (1000, 1400, (125, 175)),
        (2400, 3200, (300, 400)),  # an eighth is the least there is
    ],
)
def test_the_scale_is_that_of_the_halving(
    height: int, width: int, expected: tuple[int, int]
) -> None:
    data = encoded(height, width)
    reduced = decode_image(data, "a.jpg", SIDE)
    assert reduced.shape == (*expected, 3)
    assert decode_image(data, "a.jpg").shape == (height, width, 3)
    assert reduced[5, 5, 0] > 180 > 60 > reduced[5, 5, 2]  # RGB
    for resize in Resize:
        a, b = (
            prepare(decode_image(data, "a.jpg", side), SIDE, resize).astype(np.int16)
            for side in (None, SIDE)
        )
        assert np.abs(a - b).mean() < 2


def test_other_formats_are_decoded_in_full() -> None:
    assert decode_image(encoded(800, 900, ".png"), "a.png", SIDE).shape == (800, 900, 3)


def test_a_reduced_image_is_upright() -> None:
    plain = encoded(400, 800)
    # An APP1 segment with one EXIF entry: orientation 6, to be turned clockwise.
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    turned = plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + plain[2:]
    image = decode_image(turned, "a.jpg", SIDE)
    assert image.shape == (200, 100, 3)
    assert image[5, -5, 0] > 180 > 60 > image[5, -5, 2]  # the red corner is at the right


@pytest.mark.parametrize(("height", "width"), [(480, 640), (100, 90), (224, 300), (500, 223)])
def test_bytes_are_those_of_the_exact_interpolation(height: int, width: int) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    expected = cv2.resize(frame, (224, 224), interpolation=cv2.INTER_LINEAR_EXACT)
    for color, order in (("rgb", frame), ("bgr", np.ascontiguousarray(frame[..., ::-1]))):
        found = prepare(order, 224, Resize.SQUASH, color=color)
        np.testing.assert_array_equal(found, expected)
