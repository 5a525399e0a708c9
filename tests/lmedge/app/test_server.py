"""`lmedge app --serve`: on this machine alone, or with a certificate."""

from __future__ import annotations

import http.client
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmedge.app.server import AppServer
from lmedge.errors import LmedgeError
from tests.certificates import self_signed
from tests.in_process import lmedge
from tests.lmedge.app.serving import serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "site"
    (made / "litert").mkdir(parents=True)
    (made / "index.html").write_text("page")
    (made / "litert" / "a.wasm").write_bytes(b"\0asm")
    (tmp_path / "secret").write_text("outside")
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[AppServer]:
    with serving(folder) as started:
        yield started


def ask(server: AppServer, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.content = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def test_files_have_their_types_and_are_asked_for_again(server: AppServer) -> None:
    assert ask(server, "/").content == b"page"  # type: ignore[attr-defined]
    wasm = ask(server, "/litert/a.wasm")
    assert wasm.headers["Content-Type"] == "application/wasm"
    assert wasm.headers["Cache-Control"] == "no-cache"
    same = ask(server, "/litert/a.wasm", **{"If-Modified-Since": wasm.headers["Last-Modified"]})
    assert same.status == 304


def test_nothing_outside_the_folder_and_no_list_of_it(server: AppServer) -> None:
    for path in ("/../secret", "/%2e%2e/secret", "/litert/", "//etc/passwd"):
        assert ask(server, path).status in {301, 404}


def test_another_name_that_points_here_is_refused(server: AppServer) -> None:
    assert ask(server, "/", Host="evil.example").status == 403
    assert ask(server, "/", Host=f"localhost:{server.server_port}").status == 200
    assert ask(server, "/", Host=f"[::1]:{server.server_port}").status == 200


def test_a_network_needs_a_certificate(folder: Path) -> None:
    with pytest.raises(LmedgeError, match="--cert"):
        AppServer(folder, "0.0.0.0", 0)


def test_a_port_in_use_is_one_line(server: AppServer, folder: Path) -> None:
    with pytest.raises(LmedgeError, match="choose another port"):
        AppServer(folder, "127.0.0.1", server.server_port)


def test_https_with_a_certificate(folder: Path, tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    server = AppServer(folder, "127.0.0.1", 0, cert, key)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        assert server.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(cert))
        address = f"https://localhost:{server.server_port}/"
        with urllib.request.urlopen(address, timeout=10, context=trusted) as answer:
            assert answer.read() == b"page"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    with pytest.raises(LmedgeError, match="cannot be used"):
        AppServer(folder, "127.0.0.1", 0, key, cert)


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--cert", "C"], "need --serve"), (["--serve", "1", "--key", "C"], "needs --cert")],
)
def test_a_certificate_belongs_to_a_server(
    options: list[str], words: str, tiny_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "pem").write_text("")
    given = [tmp_path / "pem" if one == "C" else one for one in options]
    result = lmedge("app", tiny_file, "-o", tmp_path / "site", *given)
    assert result.returncode == 2 and words in result.stderr
