"""The page of `lmedge label`: over HTTP, from the command line, and in a browser."""

from __future__ import annotations

import concurrent.futures
import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lmedge.camera.preview_server import PreviewServer, open_server
from lmedge.cli import main
from lmedge.evaluation.folders import scan
from lmedge.field.label_pages import BODY_BYTES, LabelPages
from lmedge.field.labelling import Labeller
from tests import quick
from tests.lmedge.camera.test_preview import get
from tests.lmedge.field.collecting import write_collected

KNOWN, UNKNOWN = ("red", "red"), ("blue", "green", "red")


@pytest.fixture
def field(tiny_file: Path, tmp_path: Path) -> Path:
    frames = [(name, True, ("undecided",)) for name in KNOWN]
    frames += [(name, False, ("unknown",)) for name in UNKNOWN]
    write_collected(tmp_path / "field", tiny_file, frames)
    return tmp_path / "field"


@pytest.fixture
def server(field: Path, tmp_path: Path) -> Iterator[PreviewServer]:
    pages = LabelPages(Labeller(field, tmp_path / "photographs"), None)
    found = open_server(pages, "127.0.0.1", 0, option="--serve", body_bytes=BODY_BYTES)
    yield found
    found.close()


def state(server: PreviewServer) -> dict[str, Any]:
    status, headers, body = get(f"http://127.0.0.1:{server.port}/state")
    assert status == 200 and headers["Content-Type"] == "application/json"
    return dict(json.loads(body))


def post(server: PreviewServer, body: object, **headers: str) -> tuple[int, str]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"http://127.0.0.1:{server.port}/decide"
    request = urllib.request.Request(url, data=data, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_what_the_page_shows_and_does(server: PreviewServer, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.port}/"
    status, headers, page = get(url)
    assert status == 200 and b"None of them" in page
    assert "script-src 'sha256-" in headers["Content-Security-Policy"]
    first = state(server)
    assert (first["total"], first["left"], first["undo"]) == (5, 5, False)
    group = first["group"]
    names = [one["name"] for one in group["images"]]
    assert len(names) == 2 and group["candidates"][0]["landmark"] == "red"
    status, headers, jpeg = get(f"{url}image?name={names[0]}")
    assert (
        status == 200 and jpeg.startswith(b"\xff\xd8") and headers["Content-Type"] == "image/jpeg"
    )
    status, text = post(
        server, {"do": "label", "images": names, "landmark": "red", "category": "towers"}
    )
    assert status == 200 and json.loads(text)["left"] == 3
    assert [one.landmark for one in scan(tmp_path / "photographs")] == ["red", "red"]
    assert json.loads(post(server, {"do": "undo"})[1])["left"] == 5


def test_requests_that_no_page_makes(server: PreviewServer) -> None:
    name = state(server)["group"]["images"][0]["name"]
    url = f"http://127.0.0.1:{server.port}/"
    assert get(f"{url}image?name=../../etc/passwd")[0] == 404
    assert get(f"{url}decide")[0] == 405 and get(f"{url}other")[0] == 404
    bodies = [b"", b"[]", b"{", b"[" * 8000, {"do": 3}, {"do": "label", "images": [3]}]
    assert [post(server, body)[0] for body in bodies] == [400] * len(bodies)
    odd = [
        {"do": "discard", "images": ["none.jpg"]},
        {"do": "label", "images": [name], "landmark": "..", "category": "x"},
        {"do": "undo"},
    ]
    assert [post(server, body)[0] for body in odd] == [409] * len(odd)
    discard = {"do": "discard", "images": [name]}
    link = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://elsewhere.example"},
        {"Host": "elsewhere.example"},
        {"Sec-Fetch-Site": "cross-site", **link},
    ):
        assert post(server, discard, **headers)[0] == 403
    assert post(server, b"x" * (BODY_BYTES + 1))[0] == 413
    assert state(server)["left"] == 5


def test_mistakes_on_the_command_line(field: Path, tmp_path: Path) -> None:
    for words, code in (
        ([str(field)], 2),
        ([str(tmp_path / "none"), "--data", str(tmp_path / "p")], 3),
        ([str(field), "--data", str(tmp_path / "p"), "--serve", "x:y"], 2),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["label", *words])
        assert caught.value.code == code, words


def test_the_command_prints_its_address_and_ends_with_a_summary(
    field: Path, tmp_path: Path
) -> None:
    quick.needs_process()
    words = ["label", field, "--data", tmp_path / "photographs", "--serve", "127.0.0.1:0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lmedge", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert get(url)[0] == 200
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "5 of 5 images to label" in errors and "0 labelled" in errors


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_keys_alone_label_everything(server: PreviewServer, tmp_path: Path) -> None:
    quick.needs_process()
    with concurrent.futures.ThreadPoolExecutor(1) as apart:  # from the Playwright of other tests
        apart.submit(press_keys, f"http://127.0.0.1:{server.port}/").result()
    labels = sorted(one.landmark for one in scan(tmp_path / "photographs"))
    assert labels == ["green", "new tower", "red"]


def press_keys(url: str) -> None:
    """Label the five images of a page."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page()
        page.goto(url)
        left = page.locator("#left")
        sync_api.expect(left).to_have_text("5 left of 5")
        page.keyboard.press("ArrowRight")
        page.keyboard.press(" ")  # not this one
        page.keyboard.press("Enter")
        sync_api.expect(left).to_have_text("4 left of 5")
        page.keyboard.press("n")
        page.keyboard.type("new tower")
        page.keyboard.press("Tab")
        page.keyboard.type("towers")
        page.keyboard.press("Enter")
        sync_api.expect(left).to_have_text("3 left of 5")
        page.keyboard.press("g")
        confirm = page.locator("#confirm")
        sync_api.expect(confirm).to_contain_text("gre")  # two begin with it, the likelier first
        if "grey stone" in (confirm.text_content() or ""):
            page.keyboard.press("g")
        sync_api.expect(confirm).to_contain_text("green")
        page.keyboard.press("Enter")
        sync_api.expect(left).to_have_text("2 left of 5")
        page.focus("#discard")  # as Tab does
        page.keyboard.press("Enter")
        sync_api.expect(left).to_have_text("1 left of 5")
        page.keyboard.press("Shift+U")  # a letter, which no landmark begins with
        sync_api.expect(page.locator("#message")).to_contain_text("begins with u")
        page.click("#undo")
        sync_api.expect(left).to_have_text("2 left of 5")
        page.keyboard.press("x")
        page.keyboard.press("x")
        sync_api.expect(page.locator("#end h1")).to_be_visible()
        browser.close()
