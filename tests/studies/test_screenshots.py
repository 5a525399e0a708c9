"""Images of pages, by the Chromium of this system."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.studies.screenshots import (
    CHROMIUM,
    Screen,
    chromium,
    cutout,
    encode,
    overflow,
    shown,
)
from lmedge.errors import MissingDependencyError
from tests.processes import lmedge
from tests.tiny_file import image

needs_chromium = pytest.mark.skipif(
    not any(map(shutil.which, CHROMIUM)), reason="no Chromium on PATH"
)
PAGE = """<!doctype html><meta name="viewport" content="width=device-width">
<style>body { margin: 0; background: #fff; height: 2000px }
@media (prefers-color-scheme: dark) { body { background: #000 } }
div { width: 500px; height: 10px }
h2 { position: absolute; top: 1500px; margin: 0; color: #f00 }</style><div></div><h2>Below</h2>"""


def brightness(png: bytes) -> tuple[tuple[int, ...], float]:
    seen = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert seen is not None
    return seen.shape, float(seen.mean())


@needs_chromium
def test_a_page_is_shown_as_asked(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    with chromium() as browser:
        with shown(browser, page.as_uri(), Screen(width=360, height=640, scale=2.0)) as window:
            assert overflow(window) == 140
            assert brightness(window.screenshot()) == ((1280, 720, 3), 255.0)
            assert cutout(window, "no such heading", 100).shape == (200, 720, 3)
            low = cutout(window, "Below", 100)  # 1500 pixels down, beyond the screen
            assert low.shape == (200, 720, 3)
            assert (low[..., 2] > low[..., 0]).any()
        with shown(browser, page.as_uri(), Screen(width=600, height=400, dark=True)) as window:
            assert overflow(window) == 0
            assert brightness(window.screenshot()) == ((400, 600, 3), 0.0)
            assert window.pdf(format="A4").startswith(b"%PDF")


def test_without_a_browser_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="chromium"), chromium():
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


def decoded(png: bytes) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return found


def test_few_colours_are_kept_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 5, (30, 40, 3), np.uint8) * 60
    assert np.array_equal(decoded(encode(image)), image)


def test_many_are_brought_to_a_palette_that_is_near_and_smaller() -> None:
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    image = np.asarray(cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8)
    image[100:104, 100:104] = (0, 0, 255)  # a few pixels of a colour of their own
    image[:40] = (250, 251, 252)
    encoded = encode(image)
    found = decoded(encoded)
    assert len(np.unique(found.reshape(-1, 3), axis=0)) <= 200
    assert np.abs(found.astype(int) - image).mean() < 12
    assert np.abs(found[101, 101].astype(int) - (0, 0, 255)).max() < 70
    assert found[0, 0].tolist() == [250, 251, 252]
    assert len(encoded) < len(cv2.imencode(".png", image)[1]) / 2
