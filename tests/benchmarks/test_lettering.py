"""Names in plots."""

from __future__ import annotations

import logging

import pytest

from lmedge.benchmarks.lettering import PLAIN, families, shortened


def test_a_long_name_keeps_both_ends() -> None:
    assert shortened("short") == "short"
    first = shortened("church of the holy trinity in the old town, northern tower")
    other = shortened("church of the holy trinity in the old town, southern tower")
    assert len(first) <= 24
    assert first.startswith("church of")
    assert first != shortened("church of the holy trinity in the old town, porch")
    assert other.endswith("tower")


def test_the_plain_font_serves_latin_greek_and_cyrillic() -> None:
    pytest.importorskip("matplotlib")
    assert families(["Kölner Dom", "Παρθενών", "Кремль"]) == [PLAIN]


def test_letters_without_a_font_are_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    font_manager = pytest.importorskip("matplotlib.font_manager")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    with caplog.at_level(logging.INFO, "lmedge"):
        found = families(["東京"])
    assert found[0] == PLAIN
    assert "boxes" in caplog.text
