"""Addresses, servers and special files: the reason in a message, no secret, and an end at once."""

from __future__ import annotations

import base64
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from lmedge.camera import Frame, LiveSource, VideoSource, open_source
from lmedge.camera.address import parse, without_secrets
from lmedge.errors import SourceError
from tests.in_process import lmedge
from tests.lmedge.camera.streams import (
    Connection,
    Numbered,
    numbered_jpeg,
    scripted_server,
    write_video,
)

MULTIPART = "multipart/x-mixed-replace;boundary=frame"
PASSWORDS = [
    "secret",
    "p@ss",
    "pa/ss",
    "p?s",
    "p#s",
    "p:s",
    "p%s",
    "p s",
    "p&s=1",
    "pä/ß",
    "@",
    "][",
]


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_of_any_letters_is_found_and_not_shown(password: str) -> None:
    address = parse(f"http://admin:{password}@127.0.0.1:81/live?channel=1")
    assert address is not None
    assert (address.user, address.password) == ("admin", password)
    assert address.plain == "http://127.0.0.1:81/live?channel=1"
    assert address.shown == "http://127.0.0.1:81/live?***"
    again = parse(address.quoted)
    assert again is not None and again.password == password


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://camera.local/live", "rtsp://camera.local/live"),
        ("http://cam/video@main", "http://cam/***"),
        ("http://cam/x?user=a&password=b&c#d", "http://cam/x?***"),
        ("http://cam/#token=b", "http://cam/?***"),
        ("rtsp://cam:554/user=admin_password=b_channel=1.sdp", "rtsp://cam:554/***"),
        ("http://a:b@[::1]:80/x", "http://[::1]:80/x"),
        # A password, or a part of one, that cannot be told from host and port
        ("http://admin:12/3@cam/", "http://***"),
        ("http://a:b@c/d@cam/", "http://***"),
        ("http://a:b@c/@cam:80/live", "http://***"),
        ("http://admin:secret", "http://***"),
        ("http://admin:secret@", "http://***"),
        ("rtsp:/admin:secret@cam", "rtsp:/***"),
        ("walk@noon.mp4", "walk@noon.mp4"),
    ],
)
def test_an_address_as_messages_show_it(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


SECRET = "hunter2/öß"
SECRET_SOURCES = [
    "http://me:{}@127.0.0.1:9/live",
    "rtsp://me:{}@127.0.0.1:9/live",
    "http://127.0.0.1:9/live?password={}",
    "rtsp://127.0.0.1:9/live?key={}#x",
    "ftp://me:{}@127.0.0.1/x",
    "http://me:{}@no-such-host.invalid/x",
    "http://me:{}@127.0.0.1:99999/x",
    "rtsp:/me:{}@127.0.0.1/x",
    "http://me:{}@",
    "http://12:3@4/{}@cam/",
]


@pytest.mark.parametrize("source", SECRET_SOURCES)
def test_no_message_has_a_secret(source: str, tiny_file: Path) -> None:
    done = lmedge("-vv", "camera", tiny_file, "--headless", "--source", source.format(SECRET))
    assert done.returncode == 7
    for secret in ("hunter2", "öß", "%C3"):
        assert secret not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1


def login(viewer: Connection) -> bool:
    wanted = base64.b64encode(f"me:{SECRET}".encode()).decode()
    return f"Authorization: Basic {wanted}".encode() in viewer.request


def test_user_and_password_are_sent_to_a_server_that_asks(tiny_file: Path, tmp_path: Path) -> None:
    def script(viewer: Connection) -> None:
        if not login(viewer):
            viewer.answer("text/plain", 'WWW-Authenticate: Basic realm="c"', status="401 No")
            return
        viewer.answer(MULTIPART)
        for number in itertools.cycle(range(8)):
            jpeg = numbered_jpeg(number)
            viewer.write(b"--frame\r\n\r\n" + (jpeg[:900] if number == 3 else jpeg))
            time.sleep(0.01)

    with scripted_server(script) as host:
        words = ["camera", tiny_file, "--headless", "--frames", 9, "--jsonl", tmp_path / "a.jsonl"]
        for url in (
            f"http://me:{SECRET}@{host}/live?key=hunter2",
            f"http://me:no@{host}/hunter2=1",
        ):
            done = lmedge("-vv", *words, "--source", url)
            written = done.stdout + done.stderr + (tmp_path / "a.jsonl").read_text()
            assert "hunter2" not in written and "öß" not in written
            if "me:no" in url:
                assert done.returncode == 7
                assert re.search(r"127\.0\.0\.1:\d+/\*\*\* does not open: .*HTTP 401", done.stderr)
            else:
                assert done.returncode == 0, done.stderr
                assert "an image arrived damaged" in done.stderr and " damaged; " in done.stderr


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        ("404 Not Found", "text/plain", "nothing under this path"),
        ("403 No", "text/plain", "denies access"),
        ("503 Busy", "text/plain", "one viewer only"),
        ("500 Oh", "text/plain", "refuses (HTTP 500)"),
        ("200 OK", "text/html; charset=utf-8", "sends a page and no video"),
        ("200 OK", "video/mp4", "answers with nothing"),
    ],
)
def test_the_reason_of_a_server_is_in_the_message(status: str, kind: str, reason: str) -> None:
    def script(viewer: Connection) -> None:
        viewer.answer(kind, status=status)

    with (
        scripted_server(script) as host,
        pytest.raises(SourceError, match=re.escape(reason)) as caught,
    ):
        open_source(f"http://{host}/live")
    assert f"http://{host}/live does not open" in str(caught.value)


@pytest.mark.parametrize("announced", [True, False])
def test_a_finite_file_on_a_server_is_not_replayed(announced: bool, tmp_path: Path) -> None:
    images = [
        cv2.GaussianBlur(cv2.imdecode(_array(numbered_jpeg(n)), 1), (9, 9), 0) for n in range(20)
    ]
    film = write_video(tmp_path / "a.ts", images, rate=20.0).read_bytes()
    opened = []

    def script(viewer: Connection) -> None:
        opened.append(viewer.number)
        viewer.answer("video/mp2t", *([f"Content-Length: {len(film)}"] if announced else []))
        viewer.write(film)

    with scripted_server(script) as host, open_source(f"http://{host}/a.ts") as source:
        assert isinstance(source, VideoSource if announced else LiveSource)
        seen = [frame for frame in source if isinstance(frame, Frame)]
    assert 1 <= len(seen) <= 20 and (not announced or len(seen) >= 18)
    assert [frame.seconds for frame in seen] == sorted({frame.seconds for frame in seen})


def _array(data: bytes) -> object:
    import numpy as np

    return np.frombuffer(data, np.uint8)


# What a server that is silent has sent before.
SILENCES: dict[str, Callable[[Connection], None]] = {
    "http://{}/nothing": lambda viewer: None,
    "http://{}/headers": lambda viewer: viewer.answer(MULTIPART),
    "http://{}/headers-of-a-file": lambda viewer: viewer.answer(
        "video/mp4", "Content-Length: 9999"
    ),
    "http://{}/frames": lambda viewer: (
        viewer.answer(MULTIPART),
        [viewer.write(numbered_jpeg(number)) for number in range(3)],
    )[0],
    "http://{}/film": lambda viewer: (
        viewer.answer("image/jpeg", "Content-Length: 9999999"),
        [viewer.write(numbered_jpeg(number)) for number in range(3)],
    )[0],
    "rtsp://{}/nothing": lambda viewer: None,
}


@pytest.mark.parametrize("url", SILENCES)
def test_ctrl_c_ends_within_two_seconds_while_a_server_is_silent(url: str, tiny_file: Path) -> None:
    over, arrived = threading.Event(), threading.Event()

    def script(viewer: Connection) -> None:
        SILENCES[url](viewer)
        arrived.set()
        over.wait(60)

    number = signal.SIGTERM if url.endswith("frames") else signal.SIGINT
    command = [sys.executable, "-m", "lmedge", "camera", str(tiny_file), "--headless"]
    with (
        scripted_server(script) as host,
        subprocess.Popen(
            [*command, "--source", url.format(host)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            assert arrived.wait(60)
            time.sleep(0.5)
            start = time.monotonic()
            process.send_signal(number)
            said, _ = process.communicate(timeout=30)
            limit = 2.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
            assert time.monotonic() - start < limit, said
            assert "Traceback" not in said and process.returncode in {0, 130, -number}, said
        finally:
            over.set()
            process.kill()


@pytest.mark.parametrize("name", ["a.mp4", "a.jpg", "a.mjpeg"])
def test_a_pipe_is_refused_at_once(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match=rf"{name}: a pipe, which is not read; save the stream"):
        open_source(tmp_path / name)
    reader, writer = os.pipe()
    with pytest.raises(SourceError, match="a pipe"):
        open_source(f"/dev/fd/{reader}")
    os.close(reader)
    os.close(writer)


def test_a_socket_and_a_device_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s.mp4"))
        with pytest.raises(SourceError, match=r"s\.mp4: a socket"):
            open_source(tmp_path / "s.mp4")
    with pytest.raises(SourceError, match="/dev/zero: a device, no camera"):
        open_source("/dev/zero")


@pytest.mark.parametrize("stable", ["by-id", "by-path", "other"])
def test_a_link_to_a_video_device_is_a_camera(
    stable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after the camera came back under another number."""
    opened: list[object] = []
    link = tmp_path / stable / "usb-046d_HD_Webcam-video-index0"
    link.parent.mkdir()
    link.symlink_to("/dev/video41")

    class Device(Numbered):
        def isOpened(self) -> bool:  # noqa: N802
            return True

        def get(self, what: int) -> float:
            return 0.0

    def capture(index: object, *_: object) -> Device:
        opened.append(index)
        return Device(last=3)

    monkeypatch.setattr(cv2, "VideoCapture", capture)
    with open_source(link, give_up=5) as source:
        assert isinstance(source, LiveSource) and source.name == f"camera {link}"
        seen = 0
        for entry in source:
            seen += isinstance(entry, Frame)
            link.unlink(missing_ok=True)
            link.symlink_to("/dev/video42")
            if len(opened) > 1 and isinstance(entry, Frame):
                break
    assert opened[:2] == [41, 42]


def test_a_stable_name_that_is_gone_is_a_camera_that_is_gone() -> None:
    name = "/dev/v4l/by-id/usb-046d_HD_Webcam-video-index0"
    with pytest.raises(SourceError, match=f"camera {name} does not open: there is no {name}"):
        open_source(name)
