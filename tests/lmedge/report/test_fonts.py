"""Names of any script: drawn where a font has the letters, numbered where none has."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest
from matplotlib import font_manager

from lmedge.report.confusion import plot_confusion
from lmedge.report.fonts import PLAIN, Font, Fonts, choose_fonts
from lmedge.taxonomy import Taxonomy
from tests.train.reports import fakes

NAMES = Taxonomy.from_pairs(
    [
        ("寺", "北京天坛"),
        ("寺", "Αθήνα"),
        ("مسجد", "مسجد الحسن الثاني"),
        ("مسجد", "$x^2 $ ^_{"),
        ("مسجد", "Кремль 🏰"),
    ]
)


def test_plain_names_need_no_search() -> None:
    found = choose_fonts(Taxonomy.from_pairs([("a", "Große Brücke"), ("b", "Мост")]), fonts=None)
    assert found == Fonts((PLAIN,), {})


def test_a_name_no_font_has_is_its_number_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "lmedge"):
        found = choose_fonts(NAMES, fonts=())
    number = NAMES.landmarks.index("北京天坛") + 1
    assert found.label("北京天坛") == f"landmark {number}"
    assert found.label("寺") == f"category {NAMES.categories.index('寺') + 1}"
    assert found.label("Кремль 🏰") == "Кремль"
    assert found.label("مسجد الحسن الثاني") == "مسجد الحسن الثاني"
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.INFO


def test_a_font_that_has_the_letters_is_taken_and_others_are_not() -> None:
    mathematical = Taxonomy.from_pairs([("a", "⟦one⟧ \U0001d56c"), ("a", "two")])
    # STIX has mathematical fraktur letters that the plain font lacks; both come with matplotlib.
    useless = Font("Computer Modern", Path(font_manager.findfont("cmr10")))
    stix = Font("STIXGeneral", Path(font_manager.findfont("STIXGeneral")))
    found = choose_fonts(mathematical, fonts=(useless, stix))
    assert found.families == (PLAIN, "STIXGeneral")
    assert not found.stand_ins


def test_a_file_that_is_no_font_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    found = choose_fonts(NAMES, fonts=(Font("broken", broken), Font("gone", tmp_path / "gone.ttf")))
    assert found.families == (PLAIN,)


@pytest.mark.parametrize("letters", [None, Fonts()], ids=["chosen", "without any glyph"])
def test_names_of_any_script_are_drawn_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, letters: Fonts | None
) -> None:
    chosen = letters or choose_fonts(NAMES)
    caplog.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups = [NAMES.categories[parent] for parent in NAMES.parents]
        score = fakes.score(NAMES.landmarks)
        plot_confusion(score, "landmark", tmp_path / "a.png", chosen, groups)
    assert not caplog.records
    assert fakes.image(tmp_path / "a.png").std() > 5


def test_long_names_keep_their_end() -> None:
    shown = Fonts().label("Basilica of the Immaculate Conception, north tower", 20)
    assert shown == "Basilica of t…tower"
    assert len(shown) <= 20


def test_names_that_differ_at_their_end_stay_different() -> None:
    names = [
        f"church of the holy trinity in the old town, {end}"
        for end in ("northern tower", "southern tower", "porch")
    ]
    labels = [Fonts().label(name, 24) for name in names]
    assert Fonts().label("short", 24) == "short"
    assert all(len(label) <= 24 and label.startswith("church of") for label in labels)
    assert labels[0] != labels[2]
    assert labels[1].endswith("tower")


def test_greek_and_cyrillic_need_no_other_font_than_the_plain_one() -> None:
    found = choose_fonts(Taxonomy.from_pairs([("a", "Kölner Dom"), ("b", "Παρθενών Кремль")]))
    assert found.families == (PLAIN,)


def test_an_svg_shows_names_that_no_font_here_has() -> None:
    found = choose_fonts(NAMES, fonts=())
    assert found.label("北京天坛") != "北京天坛"
    assert found.without_stand_ins().label("北京天坛") == "北京天坛"


def test_a_system_without_fonts_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    with caplog.at_level(logging.INFO, "lmedge"):
        found = choose_fonts(Taxonomy.from_pairs([("a", "東京"), ("a", "Kyoto")]))
    assert found.families == (PLAIN,)
    assert "東京" in caplog.text
    assert "install a font" in caplog.text
