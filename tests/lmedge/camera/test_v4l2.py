"""Formats, sizes and rates of cameras, as the kernel of Linux tells them."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from lmedge.camera import CaptureOptions, Frame, open_source
from lmedge.camera.cameras import find_cameras
from lmedge.camera.command import camera
from lmedge.camera.offer import CameraOffer, OfferedFormat, OfferedSize
from lmedge.camera.sources import _camera
from lmedge.camera.v4l2 import CAPABILITY, FORMAT, INTERVAL, SIZE, read_offer
from lmedge.errors import SourceError
from tests.lmedge.camera import kernel
from tests.lmedge.camera.kernel import Kernel, Node
from tests.lmedge.camera.streams import Numbered

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="V4L2 is a part of Linux"
)
HEADER = Path("/usr/include/linux/videodev2.h")
WEBCAM: dict[str, kernel.Sizes] = {
    "YUYV": {(640, 480): [(1, 30), (1, 15)], (1280, 720): [(1, 10)]},
    "MJPG": {(640, 480): [(1, 30), (1, 15)], (1280, 720): [(1001, 30000)]},
    "H264": {(1920, 1080): [(1, 30)]},
}


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """What is set on the OpenCV device that every camera becomes."""
    found: dict[int, float] = {}

    class Device(Numbered):
        def isOpened(self) -> bool:  # noqa: N802
            return True

        def get(self, what: int) -> float:
            return 0.0

        def set(self, what: int, value: float) -> bool:
            found[what] = value
            return True

    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: Device())
    return found


def code(value: float) -> str:
    return int(value).to_bytes(4, "little").decode()


@pytest.fixture
def webcam(linux: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a camera whose node is not in /dev."""
    path = linux.add(Node(tmp_path / "dev" / "video0", formats=WEBCAM))
    monkeypatch.setattr("lmedge.camera.sources.names_camera", lambda text: text == str(path))
    return str(path)


@pytest.mark.skipif(
    shutil.which("gcc") is None or not HEADER.is_file(), reason="gcc or linux/videodev2.h missing"
)
def test_the_structures_are_those_of_the_kernel(tmp_path: Path) -> None:
    requests = "VIDIOC_QUERYCAP VIDIOC_ENUM_FMT VIDIOC_ENUM_FRAMESIZES VIDIOC_ENUM_FRAMEINTERVALS"
    sizes = "v4l2_capability v4l2_fmtdesc v4l2_frmsizeenum v4l2_frmivalenum"
    offsets = (
        ("v4l2_capability", "device_caps"),
        ("v4l2_fmtdesc", "pixelformat"),
        ("v4l2_frmsizeenum", "stepwise"),
        ("v4l2_frmivalenum", "stepwise"),
    )
    values = [f"(unsigned long){name}" for name in requests.split()]
    values += [f"sizeof(struct {name})" for name in sizes.split()]
    values += [f"offsetof(struct {name}, {field})" for name, field in offsets]
    prints = "".join(f'printf("%lu\\n", (unsigned long)({value}));' for value in values)
    (tmp_path / "show.c").write_text(
        "#include <stddef.h>\n#include <stdio.h>\n#include <linux/videodev2.h>\n"
        f"int main(void) {{{prints}}}\n"
    )
    subprocess.run(["gcc", "show.c", "-o", "show"], cwd=tmp_path, check=True)
    shown = subprocess.run(["./show"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert [int(line) for line in shown.stdout.split()] == [
        *(kernel.QUERYCAP, kernel.ENUM_FMT, kernel.ENUM_FRAMESIZES, kernel.ENUM_FRAMEINTERVALS),
        *(CAPABILITY.size, FORMAT.size, SIZE.size, INTERVAL.size),
        *(88, 44, 12, 20),  # the offsets of tests/lmedge/camera/kernel.py
    ]


def test_formats_sizes_and_rates_are_read(linux: Kernel, tmp_path: Path) -> None:
    path = linux.add(Node(tmp_path / "video0", formats=WEBCAM))
    offer = read_offer(path)
    assert offer is not None and linux.all_closed()
    assert (offer.name, offer.driver, offer.bus) == ("HD Webcam", "uvcvideo", "usb-0000:1.2")
    assert [one.code for one in offer.formats] == ["YUYV", "MJPG", "H264"]
    assert [one.description for one in offer.formats] == ["pixels"] * 3
    assert [(size.most, size.rates) for size in offer.formats[1].sizes] == [
        ((640, 480), (30.0, 15.0)),
        ((1280, 720), (29.97,)),
    ]
    quick = read_offer(path, readable_only=True)
    assert quick is not None and [bool(one.sizes) for one in quick.formats] == [True, True, False]


def test_ranges_of_sizes_and_rates(linux: Kernel, tmp_path: Path) -> None:
    path = linux.add(
        Node(
            tmp_path / "video0",
            can=kernel.CAPTURE_PLANES,
            kind=9,
            formats={"NV12": {(32, 16): ((1, 120), (1, 1)), (1920, 1080): ((1, 60), (1, 1))}},
            steps={"NV12": (32, 16, 1920, 1080, 2, 4)},
        )
    )
    offer = read_offer(path)
    assert offer is not None
    (size,) = offer.formats[0].sizes
    assert (size.least, size.most, size.step) == ((32, 16), (1920, 1080), (2, 4))
    assert size.between and (size.rates[0], size.rates[-1]) == (120.0, 1.0)
    assert size.has((640, 480)) and not size.has((641, 480)) and not size.has((640, 482))
    assert not size.has((1922, 1080))
    assert size.gives(7.5) and not size.gives(0.5) and not size.gives(130)
    assert size.text() == "32x16 to 1920x1080 in steps of 2x4"
    assert size.rates_text() == "1 to 120"


@pytest.mark.parametrize(
    ("can", "of_device"),
    [
        (kernel.META | kernel.STREAMING, kernel.CAPTURE | kernel.META),  # a webcam's second node
        (0x2, 0x2),  # output
        (kernel.CAPTURE | 0x8000, None),  # a codec: memory to memory
        (kernel.CAPTURE_PLANES | 0x4000, None),
    ],
)
def test_nodes_that_take_no_images(
    linux: Kernel, tmp_path: Path, can: int, of_device: int | None
) -> None:
    path = linux.add(Node(tmp_path / "video1", can=can, of_device=of_device, formats=WEBCAM))
    assert read_offer(path) is None
    (tmp_path / "file").touch()  # no video device at all
    assert read_offer(tmp_path / "file") is None


def test_a_driver_that_tells_neither_sizes_nor_an_end(linux: Kernel, tmp_path: Path) -> None:
    class Endless(dict):  # type: ignore[type-arg]
        def __iter__(self):  # type: ignore[no-untyped-def]
            return iter(["YUYV"] * 1000)

    path = linux.add(Node(tmp_path / "video0", formats=Endless(YUYV={})))
    offer = read_offer(path)
    assert offer is not None and len(offer.formats) == 256 and not offer.formats[0].sizes
    assert offer.unmet("YUYV", (641, 480), 17.0) is None  # nobody knows
    assert offer.format_for((641, 480), 17.0) == "YUYV"


def test_what_is_not_offered_is_named_with_what_is() -> None:
    def size(width: int, height: int, *rates: float) -> OfferedSize:
        return OfferedSize(least=(width, height), most=(width, height), rates=rates)

    offer = CameraOffer(
        name="webcam",
        formats=(
            OfferedFormat(code="YUYV", sizes=(size(640, 480, 30, 15), size(320, 240, 30))),
            OfferedFormat(code="MJPG", sizes=(size(1280, 720, 29.97),)),
            OfferedFormat(code="H264", sizes=(size(1920, 1080, 30),)),
        ),
    )
    assert offer.unmet(None, None, None) is None
    assert offer.unmet(None, (1280, 720), 30) is None  # 29.97 is as good
    assert offer.unmet("NV12", None, None) == ("format NV12", "YUYV, MJPG")
    assert offer.unmet("H264", None, None) == ("H264, which lmedge does not read", "YUYV, MJPG")
    assert offer.unmet(None, (1920, 1080), None) == (
        "1920x1080",
        "320x240, 640x480, 1280x720",
    )
    assert offer.unmet("YUYV", (1280, 720), 30) == ("1280x720 as YUYV", "320x240, 640x480")
    assert offer.unmet(None, (640, 480), 20) == ("20 frames a second at 640x480", "30, 15")
    assert offer.unmet(None, None, 60) == ("60 frames a second", "30, 29.97, 15")
    assert offer.format_for((1280, 720), None) == "MJPG"
    assert offer.format_for((640, 480), 15) == "YUYV"
    assert offer.format_for(None, 15) is None
    assert CameraOffer(name="silent").unmet("MJPG", (1, 1), 1) is None


def test_a_camera_is_asked_for_what_it_offers(webcam: str, asked: dict[int, float]) -> None:
    options = CaptureOptions(size=(640, 480), rate=15.0, format="YUYV", exact=True)
    with open_source(webcam, options=options) as source:
        assert isinstance(next(iter(source)), Frame)
    assert code(asked[cv2.CAP_PROP_FOURCC]) == "YUYV"
    assert asked[cv2.CAP_PROP_FRAME_WIDTH] == 640 and asked[cv2.CAP_PROP_FPS] == 15
    asked.clear()
    with open_source(webcam, options=CaptureOptions(size=(1280, 720), rate=10.0, exact=True)):
        assert code(asked[cv2.CAP_PROP_FOURCC]) == "YUYV"  # MJPG has the size, not the rate


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"size": (800, 600)}, "does not offer 800x600; pass one of 640x480, 1280x720"),
        ({"rate": 60.0}, "does not offer 60 frames a second; pass one of 30, 29.97, 15, 10"),
        ({"format": "NV12"}, "does not offer format NV12; pass one of YUYV, MJPG"),
    ],
)
def test_what_a_camera_does_not_offer_is_one_line(
    webcam: str,
    asked: dict[int, float],
    options: dict,  # type: ignore[type-arg]
    line: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(webcam, options=CaptureOptions(exact=True, **options))
    assert str(caught.value) == f"camera {webcam} {line}" and not asked
    # A service goes on: another camera may have taken the place of its own.
    with caplog.at_level(logging.WARNING), open_source(webcam, options=CaptureOptions(**options)):
        pass
    assert line.split(";", maxsplit=1)[0] in caplog.text and "the nearest of" in caplog.text


def test_another_camera_may_return(webcam: str, linux: Kernel, asked: dict[int, float]) -> None:
    """The one that was there offered the size, the one that came offers another."""
    options = CaptureOptions(size=(1280, 720), exact=True)
    opener = _camera(webcam, options)
    assert opener is not None
    opener().release()
    linux.nodes[Path(webcam)].formats = {"MJPG": {(640, 480): [(1, 30)]}}
    asked.clear()
    opener().release()
    assert code(asked[cv2.CAP_PROP_FOURCC]) == "MJPG" and asked[cv2.CAP_PROP_FRAME_WIDTH] == 1280


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errno.EBUSY, "in use by another program"),
        (errno.EIO, "no answer (Input/output error)"),
        (errno.EACCES, "no permission; run `sudo usermod -aG video $USER` and log in again"),
    ],
)
def test_a_camera_that_does_not_answer(
    linux: Kernel, webcam: str, monkeypatch: pytest.MonkeyPatch, error: int, reason: str
) -> None:
    linux.nodes[Path(webcam)].error = error
    with pytest.raises(SourceError) as caught:
        open_source(webcam)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_node_that_is_no_camera(linux: Kernel, webcam: str) -> None:
    linux.nodes[Path(webcam)].can = kernel.META
    with pytest.raises(SourceError, match="takes no images; pass one of `lmedge camera --list`"):
        open_source(webcam)
    linux.nodes[Path(webcam)].can = kernel.CAPTURE
    linux.nodes[Path(webcam)].formats = {"H264": {}}
    with pytest.raises(SourceError, match="offers H264 alone, which lmedge does not read"):
        open_source(webcam)


@pytest.fixture
def machine(linux: Kernel, tmp_path: Path) -> tuple[Path, Path]:
    """A webcam with two nodes, one that another program holds, and one that is gone."""
    system, devices = tmp_path / "sys", tmp_path / "dev"
    for number, index in ((10, 0), (2, 0), (11, 1), (3, 0), (4, 1)):
        entry = system / f"video{number}"
        entry.mkdir(parents=True)
        (entry / "name").write_text(f"Name {number}\n")
        (entry / "index").write_text(f"{index}\n")
    linux.add(Node(devices / "video10", formats=WEBCAM))
    linux.add(Node(devices / "video11", can=kernel.META, formats=WEBCAM))
    linux.add(Node(devices / "video2", error=errno.EBUSY))
    return system, devices


def test_cameras_are_listed(machine: tuple[Path, Path]) -> None:
    dev = machine[1]
    lines = [line for found in find_cameras(*machine) for line in found.lines()]
    assert lines == [
        f"{dev}/video2  Name 2  in use by another program; end that first",
        f"{dev}/video3  Name 3  no answer (No such file or directory); connect it again",
        f"{dev}/video10  HD Webcam",
        "    YUYV",
        "        640x480   30, 15 a second",
        "        1280x720  10 a second",
        "    MJPG",
        "        640x480   30, 15 a second",
        "        1280x720  29.97 a second",
        "    not read by lmedge: H264",
    ]


def test_formats_with_the_same_sizes_share_lines(linux: Kernel, tmp_path: Path) -> None:
    sizes: kernel.Sizes = {(320, 180): [(1, 30)]}
    path = linux.add(Node(tmp_path / "video0", formats={"YUYV": sizes, "NV12": sizes}))
    entry = tmp_path / "sys" / "video0"
    entry.mkdir(parents=True)
    (found,) = find_cameras(tmp_path / "sys", path.parent)
    assert found.lines()[1:] == ["    YUYV, NV12", "        320x180  30 a second"]


def test_no_permission_is_told_in_the_list(
    machine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", denied)
    found = find_cameras(*machine)
    assert [one.source[-7:] for one in found] == ["/video2", "/video3", "video10"]  # index 0 alone
    assert {one.problem for one in found} == {
        "no permission; run `sudo usermod -aG video $USER` and log in again"
    }


def test_the_list_as_json(machine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmedge.camera.command.find_cameras", lambda: find_cameras(*machine))
    for words in (["--list", "--json"], ["--json", "--list"]):
        done = CliRunner().invoke(camera, words)
        assert done.exit_code == 0
        *_, last = (json.loads(line) for line in done.output.splitlines())
        assert last["source"] == f"{machine[1]}/video10" and last["problem"] is None
        assert last["driver"] == "uvcvideo" and last["bus"] == "usb-0000:1.2"
        assert last["formats"][1] == {
            "code": "MJPG",
            "description": "pixels",
            "readable": True,
            "sizes": [
                {
                    "least": [640, 480],
                    "most": [640, 480],
                    "step": [0, 0],
                    "rates": [30.0, 15.0],
                    "between": False,
                },
                {
                    "least": [1280, 720],
                    "most": [1280, 720],
                    "step": [0, 0],
                    "rates": [29.97],
                    "between": False,
                },
            ],
        }
    alone = CliRunner().invoke(camera, ["x.tflite", "--json"])
    assert alone.exit_code == 2 and "--json needs --list" in alone.output
    nothing = CliRunner().invoke(camera, [])
    assert nothing.exit_code == 2 and "Missing argument" in nothing.output


@pytest.mark.parametrize("words", ["mjpeg", "h-2", "YU"])
def test_a_format_has_three_or_four_letters(words: str) -> None:
    done = CliRunner().invoke(camera, ["x.tflite", "--format", words])
    assert done.exit_code == 2 and "is not a format such as MJPG" in done.output
