"""Cameras that ask for a log-in, and cameras with https."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from lmedge.camera.stream import open_stream
from lmedge.errors import SourceError
from tests.certificates import self_signed
from tests.lmedge.camera.streams import Connection, number_of, numbered_jpeg, scripted_server

PASSWORD = "hunter2/öß"
HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256, "": hashlib.md5}


class Camera:
    """Two frames for who logs in by Digest, as RFC 7616 computes it."""

    def __init__(self, *challenge: str, algorithm: str = "", qop: bool = True) -> None:
        more = [f"algorithm={algorithm}"] if algorithm else []
        more += ['qop="auth,auth-int"'] if qop else []
        words = ", ".join(['realm="cam"', 'nonce="n1"', *more])
        self.challenge = list(challenge) or [f"WWW-Authenticate: Digest {words}"]
        self.make = HASHES[algorithm]
        self.requests = 0

    def __call__(self, viewer: Connection) -> None:
        self.requests += 1
        if not self.admits(viewer.request.decode("latin-1")):
            viewer.answer("text/plain", *self.challenge, status="401 No")
            return
        viewer.answer("multipart/x-mixed-replace;boundary=frame")
        for number in (3, 5):
            viewer.write(b"--frame\r\n\r\n" + numbered_jpeg(number))

    def admits(self, request: str) -> bool:
        line = re.search(r"^Authorization: Digest (.*)$", request, re.MULTILINE)
        if line is None:
            return False
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', line[1]))
        first = self.digest(f"me:cam:{PASSWORD}")
        second = self.digest(f"GET:{given['uri']}")
        middle = [given[name] for name in ("nc", "cnonce", "qop") if name in given]
        wanted = self.digest(":".join([first, given["nonce"], *middle, second]))
        return (given["uri"], given["response"]) == ("/live?channel=1", wanted)

    def digest(self, text: str) -> str:
        return self.make(text.encode()).hexdigest()


def numbers(url: str) -> list[int]:
    capture = open_stream(url).capture
    try:
        return [number_of(frame) for delivered, frame in (capture.read(), capture.read())]
    finally:
        capture.release()


@pytest.mark.parametrize("algorithm", HASHES)
@pytest.mark.parametrize("qop", [True, False])
def test_digest(algorithm: str, qop: bool) -> None:
    camera = Camera(algorithm=algorithm, qop=qop)
    with scripted_server(camera) as host:
        assert numbers(f"http://me:{PASSWORD}@{host}/live?channel=1") == [3, 5]
    assert camera.requests == 2


def test_digest_before_basic_if_a_camera_takes_both() -> None:
    camera = Camera(
        'WWW-Authenticate: Digest realm="cam", nonce="n1"', 'WWW-Authenticate: Basic realm="cam"'
    )
    with scripted_server(camera) as host:
        assert numbers(f"http://me:{PASSWORD}@{host}/live?channel=1") == [3, 5]


@pytest.mark.parametrize(
    ("challenge", "requests"),
    [
        ('Digest realm="cam", nonce="n1", qop="auth"', 2),
        ('Digest realm="cam", nonce="n1", algorithm=SHA-512-256', 1),
        ('Bearer realm="cam"', 1),
        ("Negotiate", 1),
    ],
)
def test_a_refusal_is_one_line_and_no_password_is_tried_twice(
    challenge: str, requests: int
) -> None:
    camera = Camera(f"WWW-Authenticate: {challenge}")
    with scripted_server(camera) as host, pytest.raises(SourceError) as raised:
        open_stream(f"http://me:wrong@{host}/live?channel=1")
    assert str(raised.value).endswith(
        "/live?*** does not open: the server refuses user or password (HTTP 401)"
    )
    assert camera.requests == requests


def test_a_password_is_sent_again_if_its_number_was_too_old() -> None:
    camera = Camera('WWW-Authenticate: Digest realm="cam", nonce="n2", stale=TRUE, qop="auth"')
    admits: Callable[[str], bool] = camera.admits
    camera.admits = lambda request: camera.requests > 2 and admits(request)  # type: ignore[method-assign]
    with scripted_server(camera) as host:
        assert numbers(f"http://me:{PASSWORD}@{host}/live?channel=1") == [3, 5]
    assert camera.requests == 3


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A camera's own certificate, which nobody knows."""
    cert, key = self_signed(Path(tmp_path_factory.mktemp("tls")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def test_https_with_a_certificate_of_its_own(tls: ssl.SSLContext) -> None:
    with scripted_server(Camera(), tls) as host:
        assert numbers(f"https://me:{PASSWORD}@{host}/live?channel=1") == [3, 5]


def test_http_where_https_is_spoken(tls: ssl.SSLContext) -> None:
    with scripted_server(Camera(), tls) as host, pytest.raises(SourceError, match="does not open"):
        open_stream(f"http://{host}/")
