from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from lmedge.camera import annotate, text
from lmedge.camera.overlay import CATEGORY, LANDMARK, notice, panel
from lmedge.classifier import Prediction

SIZES = [(320, 240), (240, 320), (640, 480), (1280, 720), (1080, 1920), (3840, 2160), (4000, 300)]


def prediction(landmark: str = "Hagia Sophia", probability: float = 0.5) -> Prediction:
    nothing = np.zeros(1, np.float32)
    return Prediction(
        landmark=landmark,
        landmark_probability=probability,
        category="domes",
        category_probability=probability,
        top=(),
        joint=nothing,
        landmark_marginal=nothing,
        category_marginal=nothing,
        milliseconds=12.3,
    )


def count(image: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((image == color).all(axis=-1).sum())


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_only_a_copy_changes_and_only_inside_the_panel(width: int, height: int) -> None:
    frame = np.full((height, width, 3), 170, np.uint8)
    before = frame.copy()
    drawn = annotate(frame, prediction("x" * 200), frames_per_second=24.9)
    assert np.array_equal(frame, before)
    assert drawn.shape == frame.shape and drawn.dtype == np.uint8
    box = panel(width, height)
    assert box is not None
    assert box.left >= 0 and box.top >= 0
    assert box.left + box.width <= width and box.top + box.height <= height
    changed = (drawn != frame).any(axis=-1)
    rows, columns = np.nonzero(changed)
    assert rows.min() >= box.top and rows.max() < box.top + box.height
    assert columns.min() >= box.left and columns.max() < box.left + box.width
    # A capital one can read: 10 pixels, and a thirty-second of the shorter side on large frames.
    assert box.unit >= max(10, min(width, height) / 33)


@pytest.mark.parametrize(("width", "height"), [(320, 240), (1920, 1080)])
def test_bars_are_as_long_as_the_probability(width: int, height: int) -> None:
    frame = np.zeros((height, width, 3), np.uint8)
    for color in (LANDMARK, CATEGORY):
        whole = count(annotate(frame, prediction(probability=1.0)), color)
        quarter = count(annotate(frame, prediction(probability=0.25)), color)
        assert quarter / whole == pytest.approx(0.25, abs=0.02)
        assert count(annotate(frame, prediction(probability=0.0)), color) == 0


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20, 500), (48, 48), (64, 48), (160, 120)])
def test_small_frames_do_not_fail(width: int, height: int) -> None:
    frame = np.full((height, width, 3), 90, np.uint8)
    assert annotate(frame, prediction(), frames_per_second=1.0).shape == frame.shape


def test_long_names_end_in_an_ellipsis_and_fit() -> None:
    name = "Basilica of the National Shrine of the Immaculate Conception"
    short = text.cut_to_width(name, 20, 300)
    assert short.endswith(text.ELLIPSIS) and name.startswith(short.removesuffix(text.ELLIPSIS))
    assert text.width(short, 20) <= 300
    assert text.cut_to_width("Big Ben", 20, 300) == "Big Ben"
    assert text.cut_to_width(name, 20, 1) == ""


def test_letters_that_cannot_be_drawn_are_replaced() -> None:
    assert text.drawable("Straße, Łódź, café", unicode=False) == "Strasse, Lodz, cafe"
    assert text.drawable("故宫 x", unicode=False) == "?? x"
    assert text.drawable("Straße 故宫 Храм", unicode=True) == "Straße 故宫 Храм"
    assert text.drawable("ताज", unicode=True) == "???"
    assert text.drawable("a\tb", unicode=False) == "a?b"
    assert text.drawable("61 °C", unicode=False) == "61 C"
    assert text.drawable("61 °C", unicode=True) == "61 °C"


@pytest.fixture
def dejavu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A font with Arabic letters, whatever the system has; matplotlib carries it."""
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    monkeypatch.setattr(text, "_font_for", lambda _: str(font))


@pytest.mark.usefixtures("dejavu")
def test_other_scripts_are_shaped_and_drawn_in_a_font_that_has_them() -> None:
    name = "قصر الحمراء"
    image = np.zeros((60, 300, 3), np.uint8)
    text.draw_text(image, name, (20, 40), 20, (255, 255, 255))
    columns = np.nonzero(image.any(axis=(0, 2)))[0]
    assert abs(int(np.ptp(columns)) - text.width(name, 20)) < 8
    # Joined letters are narrower than the same ones apart.
    assert text.width(name, 20) < 0.9 * sum(text.width(letter, 20) for letter in name)
    short = text.cut_to_width(name, 20, text.width(name, 20) / 2)
    assert name.startswith(short.removesuffix(text.ELLIPSIS)) and "?" not in short
    for at in ((-30, 10), (290, 59), (-500, -500), (400, 400)):  # beyond the edges
        text.draw_text(image, name, at, 20, (255, 255, 255))


def test_without_a_font_there_are_question_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    text._font_for.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")  # no fc-list
    assert text._font_for("قصر") is None
    assert text.cut_to_width("قصر", 20, 300) == "???"
    text._font_for.cache_clear()


def test_a_frame_that_is_not_known_has_no_label_and_no_bar() -> None:
    frame = np.zeros((480, 640, 3), np.uint8)
    drawn = annotate(frame, prediction(), known=False, celsius=61.0)
    assert count(drawn, LANDMARK) == count(drawn, CATEGORY) == 0
    assert not np.array_equal(drawn, annotate(frame, prediction(), known=False))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (60, 40), (320, 240), (3840, 2160)])
def test_a_notice_fits_its_card(width: int, height: int) -> None:
    card = notice(
        "http://192.168.0.12:8080/stream: no frames for 12 s, trying again", width, height
    )
    assert card.shape == (height, width, 3)
    if width >= 320:
        ink = np.nonzero((card > 100).any(axis=(0, 2)))[0]
        assert ink.min() > 0 and ink.max() < width - 1
