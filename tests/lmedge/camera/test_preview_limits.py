"""The preview page against other pages, other people and programs: it stays the owner's."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lmedge import Classifier, LmedgeError
from lmedge.camera import Frame, FrameResult
from lmedge.camera.guarded_pages import Attempts
from lmedge.camera.preview import Preview
from lmedge.camera.preview_server import CONNECTIONS
from lmedge.camera.preview_token import SHORTEST, find_token, kept_token
from tests.lmedge.camera.test_preview import get

TOKEN = "a-word-of-the-owner"
FLOOD = """
import http.client, sys, threading, time
port, end = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
def ask():
    while time.monotonic() < end:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            while time.monotonic() < end:
                connection.request("GET", "/newest?after=999999")
                connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.001)
threads = [threading.Thread(target=ask) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.fixture
def page(tiny_file: Path) -> Iterator[Preview]:
    image = np.zeros((480, 640, 3), np.uint8)
    prediction = Classifier(tiny_file).classify(image, color="bgr")
    frame = Frame(image=image, index=0, seconds=0.0)
    page = Preview("127.0.0.1", 0)
    page.take(FrameResult(frame=frame, prediction=prediction, frames_per_second=None))
    yield page
    page.close()


@pytest.fixture
def guarded() -> Iterator[Preview]:
    page = Preview("127.0.0.1", 0, TOKEN)
    yield page
    page.close()


def raw(port: int, data: bytes, seconds: float = 5.0) -> bytes:
    """Send bytes and return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        found = b""
        with contextlib.suppress(OSError):
            while chunk := connection.recv(65536):
                found += chunk
    return found


class TestToken:
    @pytest.fixture(autouse=True)
    def own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("LMEDGE_TOKEN", raising=False)

    def test_one_is_made_and_kept(self) -> None:
        made = find_token("0.0.0.0")
        assert made is not None
        assert len(made) >= SHORTEST
        assert find_token("192.168.0.2") == made
        assert stat.S_IMODE(kept_token().stat().st_mode) == 0o600
        assert find_token("127.0.0.1") is None

    @pytest.mark.parametrize("token", ["", "short", "a b" * 9, "x\n" * 9, "fifteen-letters"])
    def test_a_short_one_is_refused(self, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for host in ("0.0.0.0", "127.0.0.1"):
            with pytest.raises(LmedgeError, match="16 characters"):
                Preview(host, 0, token)
            monkeypatch.setenv("LMEDGE_TOKEN", token)
            with pytest.raises(LmedgeError, match="16 characters"):
                find_token(host)

    def test_it_comes_from_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text(TOKEN + "\n")
        assert find_token("127.0.0.1", file=file) == TOKEN
        file.write_bytes(bytes(range(40)))
        with pytest.raises(LmedgeError, match="holds no token"):
            find_token("127.0.0.1", file=file)
        file.unlink()
        with pytest.raises(LmedgeError, match="cannot be read"):
            find_token("127.0.0.1", file=file)
        os.mkfifo(file)
        with pytest.raises(LmedgeError, match="cannot be read"):
            find_token("127.0.0.1", file=file)

    def test_it_is_not_logged(self, guarded: Preview) -> None:
        assert TOKEN not in guarded.shown()  # the tests have no terminal
        assert TOKEN in guarded.url


class TestWrongTokens:
    def test_they_wait_longer_and_longer(self) -> None:
        attempts = Attempts()
        waits = []
        for _ in range(12):
            attempts.wrong("10.0.0.1")
            waits.append(round(attempts.wait("10.0.0.1"), 1))
        assert waits[:2] == [0.0, 0.0]
        assert waits == sorted(waits)
        assert waits[-1] == 4.0
        assert attempts.wait("10.0.0.2") == 0.0
        attempts.right("10.0.0.1")
        assert attempts.wait("10.0.0.1") == 0.0

    def test_an_ipv6_network_is_one_person(self) -> None:
        attempts = Attempts()
        for number in range(9):
            attempts.wrong(f"2001:db8::{number}")
        assert attempts.wait("2001:db8::ffff") > 0
        assert attempts.wait("2001:db8:0:1::1") == 0

    def test_the_table_is_bounded(self) -> None:
        attempts = Attempts()
        for number in range(5000):
            attempts.wrong(f"10.{number >> 8}.{number & 255}.1")
        assert len(attempts._wrong) == 1024

    def test_the_owner_stays_in(self, guarded: Preview) -> None:
        owner = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=10)
        owner.request("GET", f"/?token={TOKEN}")
        answer = owner.getresponse()
        assert answer.read()
        cookie = str(answer.headers["Set-Cookie"]).partition(";")[0]
        assert "HttpOnly; SameSite=Strict" in answer.headers["Set-Cookie"]
        found = [get(guarded.address + f"newest?token=guess{n}")[0] for n in range(9)]
        assert found[:3] == [403] * 3
        assert 429 in found
        headers = {"Cookie": cookie, "Authorization": f"Bearer {TOKEN}"}
        for _ in range(3):
            assert get(guarded.address + "newest", **headers)[0] == 204
        owner.close()
        assert get(guarded.address + "newest", Cookie=cookie)[0] == 403  # it is no token


class TestOtherPages:
    def test_headers(self, page: Preview) -> None:
        for path in ("", "newest", "nothing"):
            headers = get(page.url + path)[1]
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert headers["X-Frame-Options"] == "DENY"
            policy = headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert "Server" not in headers

    def test_the_page_needs_no_inline_styles(self, page: Preview) -> None:
        text = get(page.url)[2].decode()
        assert not re.search(r"\sstyle=|\son[a-z]+=", text)
        assert text.count("<script>") == text.count("<style>") == 1

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    def test_requests_of_other_sites_are_refused(self, page: Preview, site: str) -> None:
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
        assert get(page.url + "newest", **headers)[0] == 403
        assert get(page.url, **headers)[0] == 403
        framed = {**headers, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
        assert get(page.url, **framed)[0] == 403
        link = {**headers, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert get(page.url, **link)[0] == 200
        assert get(page.url + "newest", **link)[0] == 403
        assert get(page.url + "newest", **{"Sec-Fetch-Site": "same-origin"})[0] == 200


class TestRequests:
    @pytest.mark.parametrize(
        "head",
        [
            "GET /newest HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: abc",
            "GET /newest HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1",
            "GET /newest HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: nonsense",
            "GET /newest HTTP/1.1\r\nno colon",
            "GET /newest HTTP/9.9.9\r\nHost: 127.0.0.1",
            "GET /\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\nX: \x00",
            "nonsense",
            "GET /newest?a&b&c&d&e&f&g&h&i&j&k&l HTTP/1.1\r\nHost: 127.0.0.1",
            "GET /newest HTTP/1.1\r\nHost: 127.0.0.1\r\nA: " + 9000 * "x",
        ],
    )
    def test_malformed_ones(
        self, page: Preview, head: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        answer = raw(page.port, f"{head}\r\n\r\n".encode("latin-1"))
        status = answer.split(b" ")[1]
        assert status[:1] == b"4" or status in {b"501", b"505"}, answer[:200]
        assert b"Traceback" not in answer
        assert "Traceback" not in capfd.readouterr().err

    @pytest.mark.parametrize(
        ("path", "header"),
        [
            ("/newest?token=%ff%fe", "X: y"),
            ("/newest?token=%ed%a0%80", "X: y"),
            ("/newest", "Authorization: Bearer \xff\xfe"),
            ("/newest", "Authorization: \xe4"),
            ("/newest", "Cookie: lmedge=\xff; ;;=;"),
            ("/newest", "Host: [::1"),
            ("/newest?after=%c2%b2", "X: y"),
        ],
    )
    def test_odd_ones(
        self,
        page: Preview,
        guarded: Preview,
        path: str,
        header: str,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        for one in (page, guarded):
            host = "" if header.startswith("Host") else "Host: 127.0.0.1\r\n"
            head = f"GET {path} HTTP/1.1\r\n{host}{header}\r\nConnection: close\r\n\r\n"
            status = raw(one.port, head.encode("latin-1")).split(b" ")[1]
            assert status in {b"200", b"400", b"403"}
        assert "Traceback" not in capfd.readouterr().err

    def test_bodies_are_not_read(self, page: Preview) -> None:
        head = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n"
        began = time.monotonic()
        assert raw(page.port, head.encode()).split(b" ")[1] == b"413"
        assert time.monotonic() - began < 4
        chunked = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        body = 2 * (b"400\r\n" + 1024 * b"x" + b"\r\n")
        assert raw(page.port, chunked.encode() + body).split(b" ")[1] == b"413"
        small = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\nab"
        assert raw(page.port, small.encode()).split(b" ")[1] == b"405"


class TestConnections:
    def test_slow_and_many_do_not_shut_the_owner_out(self, page: Preview) -> None:
        slow = []
        try:
            for number in range(3 * CONNECTIONS):
                one = socket.create_connection(("127.0.0.1", page.port), timeout=5)
                one.sendall(b"GET /newest HT" if number % 2 else b"")
                slow.append(one)
            for _ in range(5):
                assert get(page.url + "newest")[0] == 200
                for one in slow:
                    with contextlib.suppress(OSError):
                        one.send(b"x")
        finally:
            for one in slow:
                one.close()

    def test_an_unfinished_request_ends(
        self, page: Preview, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lmedge.camera.preview_server.FIRST_SECONDS", 0.3)
        with socket.create_connection(("127.0.0.1", page.port), timeout=10) as one:
            one.sendall(b"GET /newest HTTP/1.1\r\n")
            began = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() - began < 8:
                    one.sendall(b"A: b\r\n")  # always active, never done
                    time.sleep(0.05)
            assert time.monotonic() - began < 8

    def test_a_flood_takes_less_than_a_tenth_of_the_camera(self, page: Preview) -> None:
        """The interpreter's time that sixteen greedy connections take away from the loop."""
        flood = subprocess.Popen([sys.executable, "-c", FLOOD, str(page.port), "3"])
        time.sleep(0.5)
        began, used = time.monotonic(), time.process_time()
        time.sleep(2.0)
        share = (time.process_time() - used) / (time.monotonic() - began)
        answers = get(page.url + "newest")[0]
        flood.wait()
        assert answers == 200
        assert share < 0.1, share


def test_figures_are_harmless(tmp_path: Path, page: Preview) -> None:
    headers = get(page.url + "newest")[1]
    assert set(json.loads(headers["X-Figures"])) >= {"landmark", "category", "known"}
