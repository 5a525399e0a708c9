"""A file that stops before its end is found, also where a decoder is content with it."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from lmedge.train.data.inspection import end_is_missing, ends_grey, kind_of, quantization_of
from tests import small_run
from tests.locations import PHOTOGRAPHS, needs

FORMATS = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "BMP": ".bmp"}


def encoded(kind: str, progressive: bool = False) -> bytes:
    image = small_run.draw((40, 90, 160), 3, (96, 120))
    stream = io.BytesIO()
    options = {"progressive": True} if progressive else {}
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def with_thumbnail(jpeg: bytes) -> bytes:
    """Return the JPEG with another one in its EXIF segment, as cameras write it."""
    inside = b"Exif\x00\x00" + cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    return jpeg[:2] + b"\xff\xe1" + (len(inside) + 2).to_bytes(2, "big") + inside + jpeg[2:]


@pytest.mark.parametrize("kind", FORMATS)
def test_whole_files_are_whole(kind: str) -> None:
    data = encoded(kind)
    assert kind_of(data) == kind
    assert not end_is_missing(data, kind)
    assert not end_is_missing(data + b"a trailer", kind)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_is_found_wherever_it_is(kind: str, share: float) -> None:
    data = encoded(kind)
    assert end_is_missing(data[: int(share * len(data))], kind)


def test_the_end_of_a_thumbnail_is_not_the_end() -> None:
    data = with_thumbnail(encoded("JPEG"))
    assert not end_is_missing(data, "JPEG")
    half = data[: len(data) * 2 // 3]
    assert b"\xff\xd9" in half
    assert end_is_missing(half, "JPEG")


def test_only_the_end_marker_is_missing() -> None:
    """Some versions of OpenCV decode it, others do not; it is named the same with all."""
    cut = with_thumbnail(encoded("JPEG"))[:-2]
    assert end_is_missing(cut, "JPEG")


def test_the_scans_of_a_progressive_jpeg() -> None:
    data = encoded("JPEG", progressive=True)
    assert not end_is_missing(data, "JPEG")
    for share in (0.4, 0.7, 0.9):
        assert end_is_missing(data[: int(share * len(data))], "JPEG")


def test_a_half_that_was_closed_is_grey_below() -> None:
    data = encoded("JPEG")
    closed = data[: len(data) // 2] + b"\xff\xd9"
    assert not end_is_missing(closed, "JPEG")
    image = cv2.imdecode(np.frombuffer(closed, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert ends_grey(image.astype(np.uint8), "JPEG")
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB).astype(np.uint8)
    assert not ends_grey(whole, "JPEG")
    assert not ends_grey(np.full((64, 64, 3), 128, np.uint8), "JPEG")  # a grey image


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"GIF89a", "GIF"),
        (b"\x00\x00\x00\x20ftypavif", "AVIF"),
        (b"<!DOCTYPE html><title>404</title>", "HTML or XML"),
        (b"no image at all", None),
        (b"", None),
    ],
)
def test_what_else_stands_under_a_images_name(start: bytes, kind: str | None) -> None:
    assert kind_of(start) == kind


def test_quantization_tells_qualities_apart() -> None:
    names = set()
    for quality in (50, 75, 95):
        stream = io.BytesIO()
        Image.new("RGB", (16, 16)).save(stream, "JPEG", quality=quality)
        names.add(quantization_of(stream.getvalue(), "JPEG"))
    assert len(names) == 3
    assert quantization_of(encoded("PNG"), "PNG") is None
    assert quantization_of(b"\xff\xd8\xff nonsense", "JPEG") is None


@needs(PHOTOGRAPHS)
def test_real_photographs_are_whole_and_their_halves_are_not() -> None:
    paths = sorted(PHOTOGRAPHS.glob("*/*/*.jpg"))[::10]
    assert len(paths) > 30
    for path in paths:
        data = path.read_bytes()
        assert not end_is_missing(data, "JPEG"), path
        assert end_is_missing(data[:-100], "JPEG"), path
