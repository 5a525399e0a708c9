"""Plots in pages: colours and fonts are those of the page around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest

from lmedge.evaluation.metrics import score_head
from lmedge.report.confusion import draw_confusion
from lmedge.report.fonts import Fonts
from lmedge.report.pages import draw_for_page, render
from lmedge.report.palette import BLUE, ORANGE
from tests.train.reports import fakes


def matrix(axes: Any, fonts: Fonts) -> None:
    names = ("北京天坛", "b", "c")
    score = score_head(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), names)
    draw_confusion(axes, score, fonts, ("寺", "x", "x"))


def test_colours_are_variables_of_the_page(tmp_path: Path) -> None:
    def line(axes: Any, _: Fonts) -> None:
        axes.plot([0, 1], [0, 1], color=BLUE)

    svg = draw_for_page(tmp_path / "a", (3, 2), line)
    assert svg.startswith("<svg")
    assert "var(--blue)" in svg
    assert "currentColor" in svg
    assert "var(--font)" in svg
    assert BLUE.lower() not in svg.lower()
    kept = (tmp_path / "a.svg").read_text("utf-8")
    assert BLUE.lower() in kept.lower()
    assert draw_for_page(tmp_path / "b", (3, 2), line) == svg
    assert (tmp_path / "b.svg").read_text("utf-8") == kept


def test_a_png_has_stand_ins_and_a_page_the_names(tmp_path: Path) -> None:
    seen: list[str] = []

    def labels(axes: Any, fonts: Fonts) -> None:
        seen.append(fonts.label("北京天坛"))
        matrix(axes, fonts)

    svg = draw_for_page(tmp_path / "a", (4, 4), labels, Fonts(stand_ins={"北京天坛": "landmark 1"}))
    assert seen == ["landmark 1", "北京天坛"]
    assert "北京天坛" in svg
    assert "landmark 1" not in svg


def test_right_is_blue_and_wrong_is_orange(tmp_path: Path) -> None:
    draw_for_page(tmp_path / "a", (4, 4), matrix)
    pixels = fakes.image(tmp_path / "a.png")
    assert fakes.close_to(pixels, BLUE) > 1000
    assert fakes.close_to(pixels, ORANGE) > 1000


def test_values_are_escaped_and_unknown_names_refused(tmp_path: Path) -> None:
    (tmp_path / "a.html.jinja").write_text("<b>{{ title }}</b> {{ share|percent }}")
    assert render(tmp_path, "a.html", title="<i>", share=0.5) == "<b>&lt;i&gt;</b> 50.0\xa0%"
    with pytest.raises(jinja2.UndefinedError):
        render(tmp_path, "a.html", title="x")
