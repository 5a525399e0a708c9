"""Screenshots of the page of `lmedge app` for the documentation.

    python -m benchmarks.studies.phone_screenshots lmedge-demo --out docs/images

The argument is the folder of `lmedge demo`, or another one with a .tflite and a clip.mp4. The clip
is what Chromium's fake camera shows. A lesson is shown with `taught.tflite` of the folder, which
the demo has taught. A Chromium must be on PATH.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np

from lmedge import files
from lmedge.app.folder import write_app
from lmedge.app.server import AppServer
from lmedge.errors import LmedgeError
from lmedge.model_file import read_model

from .common import PATH, run_study
from .screenshots import DESK, PHONE, Pixels, Screen, chromium, encode, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LANDSCAPE = Screen(width=740, height=360, scale=1.5, phone=True)
DARK = Screen(width=360, height=740, scale=1.5, phone=True, dark=True)
# For a page that waits for a touch: a browser whose camera is always allowed tells it to ask
ASK = "navigator.permissions.query = async () => ({ state: 'prompt' })"
FAKE_CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
TAUGHT = "taught.tflite"
SLOWER = 4  # a label needs half a second to follow a cut of the clip
_LABEL = "document.getElementById('figures').textContent !== ''"
_KNOWN = "!document.getElementById('row-category').hidden"
_LANDMARK = "document.getElementById('landmark').textContent"


def fake_camera(clip: Path, path: Path) -> Path:
    """Write the frames of a clip as one file of JPEG images, which Chromium's fake camera plays.

    Each frame comes SLOWER times.
    """
    capture = cv2.VideoCapture(str(clip))
    with path.open("wb") as stream:
        while True:
            good, frame = capture.read()
            if not good:
                break
            image = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
            stream.write(image * SLOWER)
    capture.release()
    if not path.stat().st_size:
        raise LmedgeError(f"{clip}: no frames; run `lmedge demo` again")
    return path


def page_images(browser: Browser, url: str, work: Path) -> Iterator[tuple[str, Pixels]]:
    """Yield the views of the page, by the name of the image."""
    for name, screen in (("phone", PHONE), ("landscape", LANDSCAPE), ("desk", DESK)):
        page = _opened(browser, url, screen, camera=True)
        wait_until(page, _LABEL)
        if name == "phone":
            page.click("#top summary")
        _follow_a_cut(page)
        yield f"page-{name}", _shot(page)
    page = _opened(browser, url, DARK, camera=True)
    wait_until(page, "document.getElementById('facts').textContent.includes('stored on')")
    page.click("#more")
    yield "page-dark", _shot(page)
    noise = np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8)
    unknown = work / "unknown.png"
    cv2.imwrite(str(unknown), cv2.resize(noise, (720, 1080), interpolation=cv2.INTER_CUBIC))
    page = _opened(browser, url, PHONE, camera=False)
    page.locator("#images").set_input_files(unknown)
    wait_until(page, _LABEL)
    yield "page-unknown", _shot(page)
    page = _opened(browser, url, PHONE, camera=False)
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia ="
        " () => Promise.reject(new DOMException('', 'NotFoundError')); }"
    )
    page.click("#start")
    page.wait_for_selector(".notice.bad")
    yield "page-no-camera", _shot(page)


def lesson_images(browser: Browser, url: str) -> Iterator[tuple[str, Pixels]]:
    """Yield the views of a lesson, by the name of the image."""
    for name, screen in (("lesson", PHONE), ("taught", PHONE), ("lessons", DARK)):
        page = _opened(browser, url, screen, camera=True)
        wait_until(page, _LABEL)
        _follow_a_cut(page)
        page.evaluate("document.getElementById('teach').click()")
        page.wait_for_selector("#lesson[open]")
        page.fill("#lesson-landmark", "white gate")
        page.fill("#lesson-category", "gates")
        page.check("#lesson-keep")
        if name != "lesson":
            page.click("#lesson-teach")
            wait_until(page, "lmedge.teacher.lessons.length === 1", 120)
            page.wait_for_timeout(2500)
        if name == "lessons":
            page.click("#more")
            page.evaluate("document.getElementById('lesson-choices').scrollIntoView()")
        yield f"page-{name}", _shot(page)


def _follow_a_cut(page: Page) -> None:
    """Wait until the label has followed a cut of the clip to another landmark, and is steady."""
    before = page.evaluate(_LANDMARK)
    wait_until(page, f"{_KNOWN} && {_LANDMARK} !== {json.dumps(before)}", 120)
    page.wait_for_timeout(1500)


def _opened(browser: Browser, url: str, screen: Screen, *, camera: bool) -> Page:
    settings: dict[str, Any] = {"permissions": ["camera"]} if camera else {}
    context = browser.new_context(
        viewport={"width": screen.width, "height": screen.height},
        device_scale_factor=screen.scale,
        is_mobile=screen.phone,
        color_scheme="dark" if screen.dark else "light",
        **settings,
    )
    if not camera:
        context.add_init_script(ASK)
    page = context.new_page()
    page.goto(url)
    page.evaluate("async () => lmedge.ready()")
    return page


def _shot(page: Page) -> Pixels:
    png = np.frombuffer(page.screenshot(), np.uint8)
    page.context.close()
    return np.asarray(cv2.imdecode(png, cv2.IMREAD_COLOR), np.uint8)


@click.command()
@click.argument("demo", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--title", default="Landmarks", show_default=True, help="Title of the page.")
@click.option("--out", type=PATH, default=Path("docs/images"), show_default=True)
def main(demo: Path, title: str, out: Path) -> None:
    """Show the page of the file in DEMO, with its clip as the camera."""
    found = sorted(one for one in demo.glob("*.tflite") if one.name != TAUGHT)
    if not found or not (demo / "clip.mp4").exists():
        raise LmedgeError(f"{demo} holds no .tflite or no clip.mp4; run `lmedge demo --out {demo}`")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_app(read_model(found[0]), work / "site", name=title, title=title)
        stream = fake_camera(demo / "clip.mp4", work / "clip.mjpeg")
        with chromium(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={stream}") as browser:
            with _serving(work / "site") as url:
                _write(out, page_images(browser, url, work))
            if (demo / TAUGHT).exists():
                write_app(read_model(demo / TAUGHT), work / "taught", name=title, title=title)
                with _serving(work / "taught") as url:
                    _write(out, lesson_images(browser, url))


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[str]:
    server = AppServer(folder, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.url
    server.shutdown()
    server.server_close()


def _write(out: Path, images: Iterator[tuple[str, Pixels]]) -> None:
    for name, image in images:
        encoded = encode(image)
        files.write_bytes(out / f"{name}.png", encoded)
        click.echo(f"{out / name}.png: {len(encoded) / 1e3:.0f} kB")


if __name__ == "__main__":
    run_study(main)
