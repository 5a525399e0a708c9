"""The page's camera: the labels of `lmedge camera`, frame after frame."""

from __future__ import annotations

import functools
import http.server
import itertools
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from benchmarks.studies.screenshots import wait_until
from lmedge.app.folder import write_app
from lmedge.model_file import read_model
from tests import tiny_file as tiny
from tests.in_process import lmedge
from tests.lmedge.app.serving import (
    ASK,
    FAKE_CAMERA,
    INSECURE,
    PHONE,
    chromium,
    needs_chromium,
    ready,
    site,
)
from tests.lmedge.camera.streams import write_video

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

pytestmark = needs_chromium

RATE = 30
ORDER = ("red", "blue", "green")
# Every label that the page shows, in their order, without repetitions.
RECORD = """() => {
  window.seen = [];
  const place = document.getElementById('landmark');
  const note = () => {
    const text = place.textContent;
    if (text && window.seen.at(-1) !== text) window.seen.push(text);
  };
  new MutationObserver(note).observe(place,
    { childList: true, characterData: true, subtree: true });
}"""


def changes(labels: list[str]) -> list[str]:
    """Return labels without repetitions in a row."""
    return [name for name, _ in itertools.groupby(labels)]


def test_the_same_sequence_of_labels_as_lmedge_camera(
    playwright: Playwright, colours: Path, tmp_path: Path
) -> None:
    frames = [
        np.ascontiguousarray(tiny.image(name, 240, 320)[..., ::-1])
        for name in ORDER
        for _ in range(2 * RATE)
    ]
    clip = write_video(tmp_path / "clip.avi", frames, RATE, codec="MJPG")
    stream = tmp_path / "clip.mjpeg"
    stream.write_bytes(
        b"".join(
            cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            for frame in frames
        )
    )
    result = lmedge("camera", colours, "--source", clip, "--headless", "--jsonl", "-")
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    expected = changes([line["landmark"] for line in lines])
    assert expected == list(ORDER) and all(line["known"] for line in lines)
    with (
        site(colours, tmp_path / "site") as url,
        chromium(playwright, *FAKE_CAMERA, f"--use-file-for-fake-video-capture={stream}") as shown,
    ):
        page = shown.new_page(viewport=PHONE)
        page.add_init_script(ASK)
        page.add_init_script(f"addEventListener('DOMContentLoaded', {RECORD})")
        page.goto(url)
        ready(page)
        page.click("#start")
        wait_until(page, "window.seen.length >= 5")
        waiting, *seen = page.evaluate("window.seen")
    assert waiting in {"Looking", "Loading the file"}
    turns = itertools.cycle(ORDER)
    first = seen[0]
    assert first in ORDER
    while next(turns) != first:
        pass
    assert seen == [first, *(next(turns) for _ in seen[1:])]


@pytest.fixture
def live(page: Page) -> Page:
    """The page with its camera started."""
    page.click("#start")
    wait_until(page, "document.getElementById('figures').textContent !== ''")
    return page


def test_the_labels_lie_over_the_image_and_the_image_can_be_frozen(live: Page) -> None:
    assert live.locator("#video").is_visible() and live.locator("#panel").is_visible()
    assert "frames/s" in live.inner_text("#figures")
    assert live.inner_text("#check") == "verified on this device"
    live.click("#shutter")
    assert live.locator("#share").is_visible()
    assert live.evaluate("document.getElementById('video').paused")
    with live.expect_download() as saved:
        live.click("#share")
    assert saved.value.suggested_filename.endswith(".jpg")
    live.click("#shutter")
    wait_until(live, "!document.getElementById('video').paused")
    live.wait_for_selector("#share", state="hidden")


@pytest.mark.slow  # a clock: other work on the machine makes tasks long
def test_the_main_thread_is_never_busy_for_long_and_the_image_goes_on(live: Page) -> None:
    """60 frames a second are drawn; no task takes 50 ms while the network runs."""
    found = live.evaluate(
        """async () => {
          const long = [];
          new PerformanceObserver((list) => long.push(...list.getEntries()
            .map((entry) => entry.duration))).observe({ type: 'longtask', buffered: false });
          let drawn = 0;
          const start = performance.now();
          while (performance.now() - start < 2000) {
            await new Promise(requestAnimationFrame);
            drawn++;
          }
          return { long, drawn: drawn / ((performance.now() - start) / 1000) };
        }"""
    )
    assert max([0, *found["long"]]) < 50
    assert found["drawn"] > 0


def test_the_camera_stops_while_the_page_is_hidden(live: Page) -> None:
    live.evaluate(
        "Object.defineProperty(document, 'hidden', { value: true, configurable: true });"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    assert live.evaluate("document.getElementById('video').srcObject") is None
    live.evaluate(
        "Object.defineProperty(document, 'hidden', { value: false, configurable: true });"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    wait_until(live, "document.getElementById('video').srcObject !== null")


REFUSALS = {
    "NotAllowedError": "The camera is not allowed",
    "NotFoundError": "There is no camera",
    "NotReadableError": "Another program uses the camera",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_camera_that_does_not_open_is_one_sentence(name: str, page: Page) -> None:
    page.evaluate(
        "name => { navigator.mediaDevices.getUserMedia ="
        " () => Promise.reject(new DOMException('', name)); }",
        name,
    )
    page.click("#start")
    page.wait_for_selector(".notice.bad")
    assert REFUSALS[name] in page.inner_text(".notice.bad p")
    assert page.locator("#pick").is_visible()


def test_a_camera_that_goes_away_is_one_sentence(live: Page) -> None:
    live.evaluate(
        "document.getElementById('video').srcObject.getTracks()[0]"
        ".dispatchEvent(new Event('ended'))"
    )
    live.wait_for_selector(".notice.bad")
    assert "went away" in live.inner_text(".notice.bad p")
    live.click(".notice.bad button")  # try again
    live.wait_for_selector("#panel", state="visible")


def test_without_https_the_page_says_so_and_classifies_photographs(
    browser: Browser, url: str, colours: Path, tmp_path: Path
) -> None:
    write_app(read_model(colours), tmp_path / "site", name="a", title="a")
    handler = functools.partial(QuietHandler, directory=str(tmp_path / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    context = browser.new_context(viewport=PHONE)
    page = context.new_page()
    page.goto(f"http://{INSECURE}:{server.server_port}/")
    assert not page.evaluate("isSecureContext")
    assert ready(page)["verification"]["identical"]
    assert "https or localhost" in page.inner_text(".notice.bad p")
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), tiny.image("red")[..., ::-1])
    page.locator("#images").set_input_files(path)
    wait_until(page, "document.getElementById('landmark').textContent === 'red'")
    page.click("#more")
    assert "needs https" in page.inner_text("#facts")
    context.close()
    server.shutdown()
    server.server_close()
    thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Any static server."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""
