"""Names of any script: drawn where a font has the letters, numbered where none has."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest
from matplotlib import font_manager

from lmedge.report.fonts import PLAIN, Font, Lettering, lettering
from lmedge.taxonomy import Taxonomy
from lmedge.train.reports.confusion import plot_confusion
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
    found = lettering(Taxonomy.from_pairs([("a", "Große Brücke"), ("b", "Мост")]), fonts=None)
    assert found == Lettering((PLAIN,), {})


def test_a_name_no_font_has_is_its_number_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "lmedge"):
        found = lettering(NAMES, fonts=())
    number = NAMES.landmarks.index("北京天坛") + 1
    assert found.shown("北京天坛") == f"landmark {number}"
    assert found.shown("寺") == f"category {NAMES.categories.index('寺') + 1}"
    assert found.shown("Кремль 🏰") == "Кремль"
    assert found.shown("مسجد الحسن الثاني") == "مسجد الحسن الثاني"
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.INFO


def test_a_font_that_has_the_letters_is_taken_and_others_are_not() -> None:
    mathematical = Taxonomy.from_pairs([("a", "⟦one⟧ \U0001d56c"), ("a", "two")])
    # STIX has mathematical fraktur letters that the plain font lacks; both come with matplotlib.
    useless = Font("Computer Modern", Path(font_manager.findfont("cmr10")))
    stix = Font("STIXGeneral", Path(font_manager.findfont("STIXGeneral")))
    found = lettering(mathematical, fonts=(useless, stix))
    assert found.families == (PLAIN, "STIXGeneral")
    assert not found.stand_ins


def test_a_file_that_is_no_font_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    found = lettering(NAMES, fonts=(Font("broken", broken), Font("gone", tmp_path / "gone.ttf")))
    assert found.families == (PLAIN,)


@pytest.mark.parametrize("letters", [None, Lettering()], ids=["chosen", "without any glyph"])
def test_names_of_any_script_are_drawn_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, letters: Lettering | None
) -> None:
    chosen = letters or lettering(NAMES)
    caplog.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups = [NAMES.categories[parent] for parent in NAMES.parents]
        score = fakes.score(NAMES.landmarks)
        plot_confusion(score, "landmark", tmp_path / "a.png", chosen, groups)
    assert not caplog.records
    assert fakes.image(tmp_path / "a.png").std() > 5


def test_long_names_keep_their_end() -> None:
    shown = Lettering().shown("Basilica of the Immaculate Conception, north tower", 20)
    assert shown == "Basilica of t…tower"
    assert len(shown) <= 20
