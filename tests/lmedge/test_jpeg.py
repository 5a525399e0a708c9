"""Damage of JPEG data: found if bytes are missing, and not where files are merely unusual."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lmedge.errors import DataError
from lmedge.image import decode_image, read_image
from lmedge.jpeg import EXTRANEOUS, decode_jpeg, find_damage
from tests.locations import PHOTOGRAPHS, needs

END = b"\xff\xd9"
KINDS = {
    "baseline": [],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 8],
}


def encoded(kind: str = "baseline", seed: int = 0) -> bytes:
    """A JPEG of 160 x 120 pixels with detail, so that its codes vary."""
    noise = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
    image = cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", image, KINDS[kind])[1].tobytes()


def scan(data: bytes) -> int:
    """The place behind the header of the first scan."""
    return data.index(b"\xff\xda") + 14


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [b"", END, b"\0" * 4000, b"\0" * 4000 + END])
def test_a_cut_image_is_found_wherever_it_stops(kind: str, end: bytes) -> None:
    data = encoded(kind)
    for at in np.linspace(scan(data), len(data) - 40, 40).astype(int):
        damaged = data[:at] + end
        assert find_damage(damaged), at
        assert decode_jpeg(damaged, "bgr") is None, at


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_lost_in_the_middle_are_found(kind: str) -> None:
    data = encoded(kind)
    places = np.linspace(scan(data), len(data) - 600, 60).astype(int)
    lost = [find_damage(data[:at] + data[at + 512 :]) for at in places]
    zeroed = [find_damage(data[:at] + bytes(512) + data[at + 512 :]) for at in places]
    assert sum(report is not None for report in lost) >= 57
    assert sum(report is not None for report in zeroed) >= 45  # some zeros are valid codes


@pytest.mark.parametrize("kind", KINDS)
def test_whole_images_are_decoded_to_the_bytes_of_opencv(kind: str) -> None:
    data = encoded(kind)
    frame = np.frombuffer(data, np.uint8)
    for color, flag in (("rgb", cv2.IMREAD_COLOR_RGB), ("bgr", cv2.IMREAD_COLOR)):
        found = decode_jpeg(frame, color)
        assert found is not None
        np.testing.assert_array_equal(found, cv2.imdecode(frame, flag))


def other(mode: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (90, 50), 90 if mode == "L" else None).save(stream, "JPEG", **options)
    return stream.getvalue()


def test_unusual_images_are_whole() -> None:
    data = encoded()
    body, jfif = data[: -len(END)], bytearray(data)
    jfif[11] = 2  # the major number of its version
    unusual = {
        "bytes behind the end": data + bytes(100) + b"\r\n--frame\r\n",
        "two images, as MPO files have": data + encoded(seed=1),
        "fill bytes before the end": body + b"\xff\xff" + END,
        "a few bytes before the end": body + bytes(EXTRANEOUS // 2) + END,
        "a later version": bytes(jfif),
        "grey": other("L"),
        "CMYK": other("CMYK"),
        "another sampling": other("RGB", subsampling="4:1:1"),
    }
    for name, image in unusual.items():
        assert find_damage(image) is None, name
        assert decode_jpeg(image, "rgb") is not None, name


def test_an_image_that_lost_bytes_is_refused_with_the_report(tmp_path: Path) -> None:
    data = encoded()
    (tmp_path / "a.jpg").write_bytes(data[:2000] + data[2700:])
    reason = r"a\.jpg: damaged JPEG data \(premature end of data segment\); replace or remove it"
    with pytest.raises(DataError, match=reason):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="damaged JPEG data"):
        decode_image(data[:2000] + END, "a.jpg", 8)


def test_without_simplejpeg_the_end_mark_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    data = encoded()
    assert find_damage(data) is None and decode_jpeg(data, "rgb") is not None
    assert find_damage(data[:2000]) == "no end of image"
    assert decode_jpeg(data[:2000], "rgb") is None


@needs(PHOTOGRAPHS)
def test_real_photographs_are_whole() -> None:
    paths = sorted(PHOTOGRAPHS.rglob("*.jpg"))[::4]
    assert len(paths) > 50
    assert [path.name for path in paths if find_damage(path.read_bytes())] == []
