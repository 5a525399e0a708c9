"""Confusion matrices: who is taken for whom, at 4 and at 300 classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from lmedge.evaluation.metrics import score_head
from lmedge.report.canvas import DPI
from lmedge.report.confusion import plot_confusion
from lmedge.report.fonts import choose_fonts
from tests.train.reports import fakes


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Collects the visible words of every figure that is saved."""
    found: list[list[str]] = []
    save = Figure.savefig

    def keep(self, *arguments, **options):
        save(self, *arguments, **options)
        from matplotlib.text import Text

        words = [text.get_text() for text in self.findobj(Text) if text.get_visible()]
        found.append([word for word in words if word])

    monkeypatch.setattr(Figure, "savefig", keep)
    return found


def draw(path: Path, landmarks: int, categories: int) -> Path:
    taxonomy = fakes.taxonomy(landmarks, categories)
    groups = [taxonomy.categories[parent] for parent in taxonomy.parents]
    score = fakes.score(taxonomy.landmarks)
    plot_confusion(score, "landmark", path, choose_fonts(taxonomy), groups)
    return path


def test_thirty_classes_show_every_name_and_every_count(
    tmp_path: Path, drawn: list[list[str]]
) -> None:
    pixels = fakes.image(draw(tmp_path / "30.png", 30, 6))
    assert min(pixels.shape[:2]) >= 30 * 0.25 * DPI  # a quarter of an inch a class: legible
    taxonomy = fakes.taxonomy(30, 6)
    score = fakes.score(taxonomy.landmarks)
    (words,) = drawn
    for name in taxonomy.landmarks:
        assert words.count(name) == 2  # row and column
    assert set(taxonomy.categories) <= set(words)
    counts = [word for word in words if word.isdigit()]
    assert sorted(map(int, counts)) == sorted(score.confusion[score.confusion > 0])


def test_three_hundred_classes_show_categories_and_the_worst_pairs(
    tmp_path: Path, drawn: list[list[str]]
) -> None:
    pixels = fakes.image(draw(tmp_path / "300.png", 300, 20))
    assert max(pixels.shape[:2]) < 2600  # a screen, not a poster
    (words,) = drawn
    assert sum(word.startswith("category ") for word in words) == 2 * 20
    assert sum("\ntaken for " in word for word in words) == 20
    assert not [word for word in words if word.isdigit()]


def test_tick_labels_do_not_overlap_with_more_categories_than_fit(
    tmp_path: Path, drawn: list[list[str]]
) -> None:
    draw(tmp_path / "many.png", 300, 90)
    (words,) = drawn
    assert 30 <= sum(word.startswith("category ") for word in words) / 2 <= 56


def test_every_mistake_of_three_hundred_classes_can_be_seen(tmp_path: Path) -> None:
    taxonomy = fakes.taxonomy(300, 20)
    truth = np.repeat(np.arange(300), 50)
    guess = truth.copy()
    groups = [taxonomy.categories[parent] for parent in taxonomy.parents]
    marks = []
    for name, wrong in (("none", []), ("one", [(0, 250)])):
        for place, other in wrong:
            guess[place] = other
        path = tmp_path / f"{name}.png"
        score = score_head(truth, guess, taxonomy.landmarks)
        plot_confusion(score, "landmark", path, choose_fonts(taxonomy), groups)
        field = fakes.image(path)[:, :1150]  # without the colour keys
        marks.append(int((field[..., 0].astype(int) - field[..., 2] > 60).sum()))
    assert marks[0] == 0
    assert marks[1] >= 16  # four pixels by four


@pytest.mark.parametrize("count", [2, 61])
def test_no_mistakes_and_classes_without_images_are_drawn(tmp_path: Path, count: int) -> None:
    names = tuple(f"class {number}" for number in range(count))
    score = score_head(np.zeros(3, int), np.zeros(3, int), names)
    plot_confusion(score, "category", tmp_path / "a.png", choose_fonts(fakes.taxonomy(2, 2)))
    assert fakes.image(tmp_path / "a.png").std() > 1
