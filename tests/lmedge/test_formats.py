"""Photographs as people have them: every container is read, upright, and opaque on white."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from lmedge.errors import DataError
from lmedge.formats import kind_of, read_size
from lmedge.image import decode_image
from lmedge.pixels import on_white

Rgb = npt.NDArray[np.uint8]
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112
# 128 x 64 pixels in four colours, lying on its side: `irot` turns it clockwise
LYING_HEIC = base64.b85decode(
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004@ZDn*}000000000XXk=`10000000000aA{+70000000000000"
    "0000000G-+&aV*mgE07O6l0ssL300001#Q*^S00000002M$0ssI200IR70RR9100000Bme*aIB98aW&i*H000620"
    "00$fZf0cy000000RRAKc4ILB0000LX>Mj^0ssI300IC2MR;ju000004sdC7Z2$lO00031007`=aB^?}006*gaAR)"
    "(004Msc4I>U18@KU0FVFx0000U@BsY%`1k+-4+CHT0RR|40Sp2E{{wIU00RJ!0009300RIXx&lC90096iLID8-Z~"
    "y=U0FVFx0{{R603M(aAVFoil1givfQEwt00093G5`Pr00IzV00968L;=Baup&SJ000wXZ)|dIV{CW;0RRmE27mwn"
    "02FC+aAg1h000000Du4h06+i$01$9#cxeCt0009B2nYZG010VwZ*&6y000<iaBX1#00000000310R@2q0|bQt000"
    "_ka%E-!00000000hSWOHKx0ssL30RR91Y;9y=bN~PVJSYLL8G!eEg*X5Bp@;r!TK})XWe@-EJ6ip1n*YO&`_Mz^h"
    "@Cup(k1=?#{U)jk()yPn1y|}hxPXR#{d8T21R&jW&i+9O#mtY000O80Ra*K0{{R30RRR70000000"
)
TRANSPARENT_HEIC = base64.b85decode(
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0006;ZDn*}000000000XXk=`10000000000aA{+70000000000000"
    "0000000G-+&aV*mgE07O6l0ssL300002Y5)NM00000002M$0ssI200OE20RR91000009RL6TIB98aW&i*H000620"
    "00$fZf0cy000000RRAKc4ILB0000LX>Mj^0ssI200IC2Xm(>U000004sdC7Z2$lO0003100D(*aB^?}00CcVaAR)"
    "(004Msc4I>U18@KU0FVFx0000U@BsY%`1k+-4+CHT0RR|40Sp2E{{wIU00RJ!0009300RIXx&lC90096iLID8-Z~"
    "y=U0FVFx0{{R603M(aAVFoil1givfQEwt00093G5`Pr00IzV00968L;=Baup&SJ000wXZ)|dIV{CW;0RRmE27mwn"
    "02FC+aAg1h000000Du4h06+i$01$9#cxeCt0009B2nYZG0CQ+|V?zN12mk;8pZEX(0018F0Q~&;_y7P817H9F02e"
    "?33<3ZD1PA~C0|1}+0009303NymKw$s@04G8L0R#vD00RJ@_y7O{0017qK!F98>PacCYzP1V0|3YX00RIBKw<y^0"
    "0%??!E&%7KmY&$4sdCBX#fBK009U9001Xpb$CMn0001Wa&9_paAjvYXk~U|Ix;XZH9BE+cxhxhF#rGn03K;@ZD9Z"
    "a0000000IC31c3qr1ONgAg#!kM0000QX>w&|000000000EVRd+H00IC3009610A+1tVRQfh06ZuGuNi>%e1$jv_@"
    "RgXYg+%W!DSEs?mJrjZJPhXj{DF<=!l&>d(tKT0LK3n`;nVM{+NY*w}<ui`^NwP02wF&t~27W;Q#-ll<)PQ%*oOM"
    "(GT6f!}j0"
)


def quarters(height: int = 16, width: int = 32) -> Rgb:
    """Draw red, green / blue, white."""
    image = np.zeros((height, width, 3), np.uint8)
    for rows, columns, color in ((0, 0, RED), (0, 1, GREEN), (1, 0, BLUE), (1, 1, WHITE)):
        h, w = height // 2, width // 2
        image[rows * h : (rows + 1) * h, columns * w : (columns + 1) * w] = color
    return image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif(order: str, tag_type: int, value: int = 6) -> bytes:
    """Return EXIF with the orientation alone, as SHORT (3) or LONG (4)."""
    head = b"MM\x00*" if order == ">" else b"II*\x00"
    packed = struct.pack(order + ("HH" if tag_type == 3 else "I"), value, *[0] * (tag_type == 3))
    entry = struct.pack(f"{order}HHI", ORIENTATION, tag_type, 1) + packed
    return head + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def raw_profile(payload: bytes, packed: bool) -> PngImagePlugin.PngInfo:
    """Return the text chunk in which ImageMagick kept EXIF before PNG had a chunk for it."""
    digits = payload.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(payload):8}\n{lines}\n", zip=packed)
    return info


CONTAINERS: dict[str, Callable[[Image.Image, bytes], bytes]] = {
    "JPEG": lambda image, tags: saved(
        image, "JPEG", quality=95, subsampling=0, exif=b"Exif\0\0" + tags
    ),
    "PNG": lambda image, tags: saved(image, "PNG", exif=tags),
    "PNG, its header in front": lambda image, tags: saved(image, "PNG", exif=b"Exif\0\0" + tags),
    "PNG, old profile": lambda image, tags: saved(
        image, "PNG", pnginfo=raw_profile(b"Exif\0\0" + tags, False)
    ),
    "PNG, old packed profile": lambda image, tags: saved(
        image, "PNG", pnginfo=raw_profile(b"Exif\0\0" + tags, True)
    ),
    "WebP": lambda image, tags: saved(image, "WEBP", lossless=True, exif=tags),
    "WebP, its header in front": lambda image, tags: saved(
        image, "WEBP", lossless=True, exif=b"Exif\0\0" + tags
    ),
}


@pytest.mark.parametrize("tag_type", [3, 4], ids=["SHORT", "LONG"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_an_image_is_upright_in_every_container(container: str, order: str, tag_type: int) -> None:
    lying = CONTAINERS[container](Image.fromarray(quarters()), exif(order, tag_type))
    image = decode_image(lying, "lying")
    assert image.shape == (32, 16, 3)
    np.testing.assert_allclose(image, np.rot90(quarters(), -1).astype(int), atol=40)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "AVIF"])
def test_all_eight_orientations_are_those_of_pillow(kind: str, orientation: int) -> None:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    options: dict[str, object] = {"exif": tags.tobytes()}
    if kind == "AVIF":
        options |= {"quality": 100, "subsampling": "4:4:4"}
    if kind == "TIFF":
        options = {"tiffinfo": {ORIENTATION: orientation}}
    encoded = saved(Image.fromarray(quarters()), kind, **options)
    png = saved(Image.fromarray(quarters()), "PNG", exif=tags.tobytes())
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(png))).convert("RGB")
    np.testing.assert_allclose(decode_image(encoded, "x"), np.asarray(expected, int), atol=3)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_a_value_that_is_no_orientation_counts_as_upright(value: int) -> None:
    image = Image.fromarray(quarters())
    encoded = CONTAINERS["PNG"](image, exif("<", 3, value))
    np.testing.assert_array_equal(decode_image(encoded, "x"), quarters())


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "AVIF"])
def test_further_containers_are_read(kind: str) -> None:
    encoded = saved(Image.fromarray(quarters()), kind)
    assert kind_of(encoded) == kind
    assert read_size(encoded, "x") == (32, 16)
    found = decode_image(encoded, "x")[[4, 4, 12, 12], [8, 24, 8, 24]]
    np.testing.assert_allclose(found, np.array([RED, GREEN, BLUE, WHITE], int), atol=60)


def test_a_heic_is_read_upright_and_on_white() -> None:
    pytest.importorskip("pi_heif", reason="the extra `heic` is not installed")
    assert kind_of(LYING_HEIC) == "HEIC"
    assert read_size(LYING_HEIC, "x") == (128, 64)
    image = decode_image(LYING_HEIC, "x")
    assert image.shape == (128, 64, 3)
    np.testing.assert_allclose(image, np.rot90(quarters(64, 128), -1).astype(int), atol=30)
    expected = quarters(64, 128)
    expected[:32, :64] = WHITE
    np.testing.assert_allclose(decode_image(TRANSPARENT_HEIC, "x"), expected.astype(int), atol=30)


def test_a_heic_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pi_heif", None)
    with pytest.raises(DataError, match=r"a\.heic: .*pip install 'lmedge\[heic\]'"):
        decode_image(LYING_HEIC, "a.heic")


@pytest.mark.parametrize("kind", ["GIF", "AVIF"])
def test_pillow_reads_what_this_opencv_does_not(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rgba = np.dstack([quarters(), np.full((16, 32), 255, np.uint8)])
    rgba[:8, :16, 3] = 0
    encoded = saved(Image.fromarray(rgba), kind)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)  # as OpenCV 4.11 does
    image = decode_image(encoded, "x")
    np.testing.assert_array_equal(image[2:6, 2:14], 255)
    np.testing.assert_allclose(image[4, 24], np.array(GREEN, int), atol=60)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(DataError, match=f"reads no {kind} images; run .*pillow"):
        decode_image(encoded, "x")


STRAIGHT = np.array([[(200, 100, 50, a) for a in (0, 1, 100, 128, 254, 255)]] * 6, np.uint8)


def white(straight: Rgb) -> Rgb:
    """Return the documented formula, in exact fractions."""
    color, opacity = straight[..., :3].astype(float), straight[..., 3:].astype(float)
    return np.asarray(np.rint((color * opacity + 255 * (255 - opacity)) / 255), np.uint8)


def test_the_formula_is_the_documented_one_for_every_value() -> None:
    color, opacity = np.meshgrid(np.arange(256), np.arange(256))
    straight = np.dstack([color, color, color, opacity]).astype(np.uint8)
    np.testing.assert_array_equal(on_white(straight), white(straight))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_is_white(kind: str) -> None:
    options: dict[str, object] = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    encoded = saved(Image.fromarray(STRAIGHT), kind, **options)
    np.testing.assert_array_equal(decode_image(encoded, "x"), white(STRAIGHT))


def test_transparency_in_other_forms() -> None:
    grey = Image.fromarray(np.ascontiguousarray(STRAIGHT[..., [0, 3]]), "LA")
    expected = white(STRAIGHT[..., [0, 0, 0, 3]])
    np.testing.assert_array_equal(decode_image(saved(grey, "PNG"), "grey"), expected)
    tiff = decode_image(saved(Image.fromarray(STRAIGHT), "TIFF"), "tiff")
    np.testing.assert_allclose(tiff, white(STRAIGHT).astype(int), atol=1)  # libtiff rounds first
    for depth in ("L", "RGB"):
        colors = Image.fromarray(STRAIGHT[..., :3]).convert(depth)
        key = colors.getpixel((0, 0))
        image = decode_image(saved(colors, "PNG", transparency=key), "key")
        assert (image == 255).all()
    palette = Image.fromarray(np.array([[0, 1, 2]] * 4, np.uint8), "P")
    palette.putpalette([200, 100, 50, *GREEN, *BLUE])
    for encoded in (
        saved(palette, "PNG", transparency=bytes([0, 255, 255])),
        saved(palette, "GIF", transparency=0),
    ):
        np.testing.assert_array_equal(decode_image(encoded, "p")[0], [WHITE, GREEN, BLUE])


def test_sixteen_bits_are_taken_from_above() -> None:
    pixels = np.array([[(51455, 25700, 12799, 0), (51455, 25700, 12799, 65535)]], ">u2")
    body = b"\x00" + pixels.tobytes()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    encoded = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 6, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(decode_image(encoded, "x")[0], [WHITE, (200, 100, 49)])


def test_an_opaque_image_with_opacity_has_the_pixels_of_one_without() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (70, 50, 3), np.uint8)
    with_opacity = np.dstack([noise, np.full((70, 50), 255, np.uint8)])
    np.testing.assert_array_equal(
        decode_image(saved(Image.fromarray(with_opacity), "PNG"), "x"), noise
    )


def bmp(header: bytes, pixels: bytes) -> bytes:
    at = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", at + len(pixels), 0, 0, at) + header + pixels


def test_a_bmp_of_os2_is_read() -> None:
    header = struct.pack("<IHHHH", 12, 3, 2, 1, 24)
    row = bytes([0, 0, 255] * 3) + bytes(3)
    assert read_size(bmp(header, row * 2), "x") == (3, 2)
    np.testing.assert_array_equal(decode_image(bmp(header, row * 2), "x"), [[RED] * 3] * 2)


@pytest.mark.parametrize(("opacity", "expected"), [(0, (200, 100, 50)), (51, (244, 224, 214))])
def test_a_bmp_whose_fourth_byte_is_never_set_is_opaque(
    opacity: int, expected: tuple[int, int, int]
) -> None:
    header = struct.pack("<IiiHHIIiiII", 124, 2, 2, 1, 32, 3, 16, 0, 0, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(124 - 56)
    image = decode_image(bmp(header, bytes([50, 100, 200, opacity] * 4)), "x")
    np.testing.assert_array_equal(image, [[expected] * 2] * 2)


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"%PDF-1.7", "PDF"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2", "MP4"),
        (b"\xff\x0a\x00\x00", "JPEG XL"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"<html>", "HTML or XML"),
        (b"II+\x00\x08\x00\x00\x00", "BigTIFF"),
    ],
)
def test_what_is_not_read_is_named(start: bytes, what: str) -> None:
    with pytest.raises(DataError, match=f"a.jpg: not a JPEG.* but {what}; replace or remove it"):
        decode_image(start + bytes(60), "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF", "BMP"])
def test_every_beginning_of_a_file_is_an_error_or_an_image(kind: str) -> None:
    options = {} if kind in {"GIF", "BMP"} else {"exif": exif(">", 4)}
    whole = saved(Image.fromarray(quarters()), kind, **options)
    for length in range(0, len(whole), max(1, len(whole) // 150)):
        try:
            image = decode_image(whole[:length], "cut")
        except DataError as error:
            assert str(error).startswith("cut: ")
        else:
            assert image.dtype == np.uint8
