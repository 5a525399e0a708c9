"""Images of pages, by the Chromium of this system."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.studies import browser as room
from benchmarks.studies.browser import Screen, browser
from lmedge.errors import MissingDependencyError
from tests.processes import lmedge
from tests.tiny_file import image

needs_chromium = pytest.mark.skipif(
    not any(map(shutil.which, room.NAMES)), reason="no Chromium on PATH"
)
PAGE = """<!doctype html><meta name="viewport" content="width=device-width">
<style>body { margin: 0; background: #fff; height: 2000px }
@media (prefers-color-scheme: dark) { body { background: #000 } }
div { width: 500px; height: 10px }</style><div></div>"""


def brightness(png: bytes) -> tuple[tuple[int, ...], float]:
    seen = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert seen is not None
    return seen.shape, float(seen.mean())


@needs_chromium
def test_a_page_is_shown_as_asked(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    with browser() as window:
        window.open(page.as_uri(), Screen(360, 640, 2.0))
        assert window.overflow() == 140
        assert brightness(window.image()) == ((1280, 720, 3), 255.0)
        assert brightness(window.image(height=100))[0] == (200, 720, 3)
        window.open(page.as_uri(), Screen(600, 400, dark=True))
        assert window.overflow() == 0
        assert brightness(window.image()) == ((400, 600, 3), 0.0)
        assert window.printed().startswith(b"%PDF")


def test_without_a_browser_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="chromium"), browser():
        pass


@needs_chromium
@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="no pdftoppm on PATH")
def test_all_images_of_a_demo(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    done = lmedge("benchmark", tiny_file, "--data", photographs, "--runs", 5, "--out", demo)
    assert done.returncode == 0, done.stderr
    script = [sys.executable, "-m", "benchmarks.studies.screenshots", demo, "--out", tmp_path / "p"]
    refused = subprocess.run(script, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "clip.mp4 is missing; run `lmedge demo" in refused.stderr
    shutil.copy(tiny_file, demo / "tiny.tflite")
    writer = cv2.VideoWriter(
        str(demo / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 15, (640, 480)
    )
    for _ in range(25):
        writer.write(np.ascontiguousarray(image("red", 480, 640)[..., ::-1]))
    writer.release()
    process = subprocess.run(script, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    found = {path.stem: path.stat().st_size for path in (tmp_path / "p").glob("*.png")}
    assert len(found) == 10
    assert 0 < sum(found.values()) < 1_000_000
    shown = cv2.imread(str(tmp_path / "p" / "preview-phone.png"))
    assert shown is not None and shown.shape == (1110, 540, 3)
    red = (shown[..., 2] > 200) & (shown[..., :2].max(axis=2) < 60)
    assert red.mean() > 0.2  # the camera's image is on the page
