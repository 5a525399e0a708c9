"""Images of what a user sees, for the documentation: the report, the overlay, the preview.

    python -m benchmarks.studies.screenshots lmedge-demo --out docs/images

DEMO is the folder of `lmedge demo`, or any with a .tflite, photographs/ and clip.mp4: whatever is
in its photographs is in the images. Needs a Chromium on PATH, and poppler's pdftoppm for the
printed page.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt

# Absolute, unlike elsewhere: the file is also run by its path.
from lmedge import files
from lmedge.camera import FrameResult, annotate, open_source
from lmedge.camera.preview import Preview
from lmedge.classifier import Classifier
from lmedge.errors import LmedgeError, MissingDependencyError

from . import palette_png
from .browser import Browser, Screen, browser
from .common import run_study

Image = npt.NDArray[np.uint8]
DESK, PHONE = Screen(1000, 760), Screen(360, 740, scale=1.5, phone=True)
_SCENE = 20  # frame of the clip that is shown


def shots(page: Path, window: Browser) -> Iterator[tuple[str, Image]]:
    """Yield the report at two widths, light and dark. Raises LmedgeError when it overflows."""
    for name, screen in (("desk", DESK), ("phone", PHONE)):
        for scheme in ("light", "dark"):
            seen = Screen(screen.width, screen.height, screen.scale, scheme == "dark", screen.phone)
            window.open(page.resolve().as_uri(), seen)
            if window.overflow():
                raise LmedgeError(f"{page} is wider than {screen.width} pixels")
            yield f"report-{name}-{scheme}", _decoded(window.image())
            if name == "desk" and scheme == "light":
                top = _place_of(window, "Accuracy")
                yield "report-accuracy", _decoded(window.image(top=top, height=820))
            if name == "phone" and scheme == "dark":
                top = _place_of(window, "Accuracy")
                yield "report-phone-accuracy", _decoded(window.image(top=top, height=740))


def _place_of(window: Browser, heading: str) -> int:
    found = window.evaluate(
        "[...document.querySelectorAll('h2')].find(one => one.textContent === "
        f"'{heading}')?.getBoundingClientRect().top + scrollY"
    )
    return 0 if found is None else int(found) - 10


def printed(pdf: bytes, resolution: int = 50) -> Image:
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


def overlays(classifier: Classifier, clip: Path) -> Iterator[tuple[str, Image]]:
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


def preview(classifier: Classifier, clip: Path, window: Browser) -> Image:
    """Return the preview page on a phone."""
    page = Preview("127.0.0.1", 0)
    try:
        with open_source(str(clip)) as source:
            for frame in source:
                image = getattr(frame, "image", None)
                if image is None or getattr(frame, "index", 0) < _SCENE:
                    continue
                prediction = classifier.classify(image, color="bgr")
                page.take(FrameResult(frame, prediction, 30.0, prediction.known))  # type: ignore[arg-type]
                break
        window.open(page.url, PHONE, settle=1.5)
        return _decoded(window.image())
    finally:
        page.close()


def _frame(clip: Path) -> Image:
    capture = cv2.VideoCapture(str(clip))
    capture.set(cv2.CAP_PROP_POS_FRAMES, _SCENE)
    good, frame = capture.read()
    capture.release()
    if not good:
        raise LmedgeError(f"{clip}: no frame {_SCENE}")
    return np.asarray(frame, np.uint8)


def _decoded(png: bytes) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), np.uint8)


@click.command()
@click.argument("demo", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("docs/images"), show_default=True
)
def main(demo: Path, out: Path) -> None:
    """Show the report of DEMO, the camera's overlay and its preview."""
    found = sorted(demo.glob("*.tflite"))
    page, clip = demo / "report.html", demo / "clip.mp4"
    for needed in (page, clip):
        if not needed.exists():
            raise LmedgeError(f"{needed} is missing; run `lmedge demo --out {demo}` first")
    if not found:
        raise LmedgeError(f"{demo} holds no .tflite; run `lmedge demo --out {demo}` first")
    classifier = Classifier(found[0])
    with browser() as window:
        images = dict(shots(page, window))
        window.open(page.resolve().as_uri(), DESK)
        images["report-printed"] = printed(window.printed())
        images["preview-phone"] = preview(classifier, clip, window)
    images |= dict(overlays(classifier, clip))
    for name, image in images.items():
        encoded = palette_png.encode(image)
        files.write_bytes(out / f"{name}.png", encoded)
        click.echo(f"{out / name}.png: {len(encoded) / 1e3:.0f} kB")


if __name__ == "__main__":
    run_study(main)
