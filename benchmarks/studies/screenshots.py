"""Screenshots for the documentation: the report, the overlay and the preview.

    python -m benchmarks.studies.screenshots lmedge-demo --out docs/images

The argument is the folder of `lmedge demo`, or another one with a .tflite, report.html and
clip.mp4. The screenshots show what is in the report and in the clip. A Chromium and, for the
printed page, poppler's pdftoppm must be on PATH.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from lmedge import files
from lmedge.camera import Absence, FrameResult, annotate, open_source
from lmedge.camera.preview import Preview
from lmedge.classifier import Classifier
from lmedge.errors import LmedgeError, MissingDependencyError

from .common import PATH, run_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Pixels = npt.NDArray[np.uint8]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
COLOURS = 200  # of the palette of a PNG
_SCENE = 20  # frame of the clip that is shown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Screen:
    """The screen that a page is shown on; sizes are in CSS pixels, each `scale` pixels wide."""

    width: int
    height: int
    scale: float = 1.0
    phone: bool = False
    dark: bool = False


DESK = Screen(width=1000, height=760)
PHONE = Screen(width=360, height=740, scale=1.5, phone=True)


@contextlib.contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """Start the system's own Chromium without a window, with more arguments, and end it.

    Raises MissingDependencyError without playwright or without a Chromium on PATH.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingDependencyError("playwright is missing: pip install 'lmedge[dev]'") from error
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        raise MissingDependencyError(
            f"no browser: none of {', '.join(CHROMIUM)} is on PATH; install one"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(arguments))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def shown(browser: Browser, url: str, screen: Screen, settle: float = 0.3) -> Iterator[Page]:
    """Show a page on a screen, `settle` seconds after it was loaded."""
    page = browser.new_page(
        viewport={"width": screen.width, "height": screen.height},
        device_scale_factor=screen.scale,
        is_mobile=screen.phone,
        color_scheme="dark" if screen.dark else "light",
    )
    try:
        page.goto(url)
        page.wait_for_timeout(1000 * settle)
        yield page
    finally:
        page.close()


def wait_until(page: Page, condition: str, seconds: float = 30.0) -> None:
    """Wait until a condition in JavaScript is true.

    Playwright's own method evaluates text in the page, which a Content-Security-Policy refuses.
    Raises LmedgeError when the time is over.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        if time.monotonic() > end:
            raise LmedgeError(f"{page.url}: not within {seconds:g} s: {condition}; try again")
        page.wait_for_timeout(50)


def overflow(page: Page) -> int:
    """Return how many CSS pixels the page is wider than the screen, 0 if it fits."""
    element = "document.documentElement"
    return int(page.evaluate(f"{element}.scrollWidth - {element}.clientWidth"))


def cutout(page: Page, heading: str, height: int) -> Pixels:
    """Return `height` CSS pixels of a page from a heading on, at full width."""
    top = page.evaluate(
        "heading => ([...document.querySelectorAll('h2')].find(one => one.textContent === heading)"
        "?.getBoundingClientRect().top ?? 10) + scrollY - 10",
        heading,
    )
    width = page.evaluate("document.documentElement.clientWidth")
    shot = page.screenshot(
        clip={"x": 0, "y": int(top), "width": width, "height": height}, full_page=True
    )
    return _decoded(shot)


def report_images(report: Path, browser: Browser) -> Iterator[tuple[str, Pixels]]:
    """Yield the report at two widths, light and dark. Raises LmedgeError when it overflows."""
    for name, screen, cut, height in (
        ("desk", DESK, ("light", "report-accuracy"), 820),
        ("phone", PHONE, ("dark", "report-phone-accuracy"), 740),
    ):
        for scheme in ("light", "dark"):
            seen = dataclasses.replace(screen, dark=scheme == "dark")
            with shown(browser, report.resolve().as_uri(), seen) as page:
                if overflow(page):
                    raise LmedgeError(f"{report} is wider than {screen.width} pixels")
                yield f"report-{name}-{scheme}", _decoded(page.screenshot())
                if cut[0] == scheme:
                    yield cut[1], cutout(page, "Accuracy", height)


def encode(image: Pixels) -> bytes:
    """Encode (H, W, 3) uint8 BGR as PNG with a palette, a third of the bytes of a plain one.

    The method keeps rare colours that are far from all others.
    """
    plain = PIL.Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
    small = plain.quantize(
        COLOURS, PIL.Image.Quantize.MAXCOVERAGE, kmeans=1, dither=PIL.Image.Dither.NONE
    )
    stream = io.BytesIO()
    small.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def printed_pages(pdf: bytes, resolution: int = 50) -> Pixels:
    """Return the first pages of a PDF beside each other.

    Raises MissingDependencyError without pdftoppm.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.pdf"
        path.write_bytes(pdf)
        command = ["pdftoppm", "-r", str(resolution), "-l", "3", "-png", path.name, "page"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        except FileNotFoundError as error:
            raise MissingDependencyError("pdftoppm is missing: install poppler-utils") from error
        pages = [_decoded(one.read_bytes()) for one in sorted(Path(folder).glob("page*.png"))]
    edge = np.full((pages[0].shape[0], 6, 3), 128, np.uint8)
    return np.hstack([part for one in pages for part in (one, edge)][:-1])


def overlay_images(classifier: Classifier, clip: Path) -> Iterator[tuple[str, Pixels]]:
    """Yield the overlay on a phone's upright frame, and on one of 4K at a quarter of its size."""
    frame = _frame(clip)
    height, width = frame.shape[:2]
    upright = frame[:, (width - height * 9 // 16) // 2 :][:, : height * 9 // 16]
    for name, shown, size, scale in (
        ("overlay-phone", upright, (720, 1280), 0.5),
        ("overlay-4k", frame, (3840, 2160), 0.25),
    ):
        large = np.asarray(cv2.resize(shown, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        prediction = classifier.classify(large, color="bgr")
        drawn = annotate(large, prediction, frames_per_second=30.0, known=prediction.known)
        smaller = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        yield name, np.asarray(smaller, np.uint8)


def preview_image(classifier: Classifier, clip: Path, browser: Browser) -> Pixels:
    """Return the preview page on a phone."""
    preview = Preview("127.0.0.1", 0)
    try:
        with open_source(str(clip)) as source:
            for frame in source:
                if isinstance(frame, Absence) or frame.index < _SCENE:
                    continue
                prediction = classifier.classify(frame.image, color="bgr")
                preview.take(
                    FrameResult(
                        frame=frame,
                        prediction=prediction,
                        frames_per_second=30.0,
                        known=prediction.known,
                    )
                )
                break
        with shown(browser, preview.url, PHONE, settle=1.5) as page:
            return _decoded(page.screenshot())
    finally:
        preview.close()


def _frame(clip: Path) -> Pixels:
    capture = cv2.VideoCapture(str(clip))
    capture.set(cv2.CAP_PROP_POS_FRAMES, _SCENE)
    good, frame = capture.read()
    capture.release()
    if not good:
        raise LmedgeError(f"{clip}: no frame {_SCENE}")
    return np.asarray(frame, np.uint8)


def _decoded(png: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), np.uint8)


@click.command()
@click.argument("demo", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=PATH, default=Path("docs/images"), show_default=True)
def main(demo: Path, out: Path) -> None:
    """Show the report of DEMO, the camera's overlay and its preview."""
    found = sorted(demo.glob("*.tflite"))
    report, clip = demo / "report.html", demo / "clip.mp4"
    for needed in (report, clip):
        if not needed.exists():
            raise LmedgeError(f"{needed} is missing; run `lmedge demo --out {demo}` first")
    if not found:
        raise LmedgeError(f"{demo} holds no .tflite; run `lmedge demo --out {demo}` first")
    classifier = Classifier(found[0])
    with chromium() as browser:
        images = dict(report_images(report, browser))
        with shown(browser, report.resolve().as_uri(), DESK) as page:
            images["report-printed"] = printed_pages(page.pdf(format="A4"))
        images["preview-phone"] = preview_image(classifier, clip, browser)
    images |= dict(overlay_images(classifier, clip))
    for name, image in images.items():
        encoded = encode(image)
        files.write_bytes(out / f"{name}.png", encoded)
        click.echo(f"{out / name}.png: {len(encoded) / 1e3:.0f} kB")


if __name__ == "__main__":
    run_study(main)
