"""A file of `lmedge teach` in the page: heads that no converter wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.lmedge.app.serving import needs_chromium, ready, site
from tests.lmedge.teach import small

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_chromium


def test_the_page_gives_its_stored_answers(browser: Browser, tmp_path: Path) -> None:
    with site(small.write_taught(tmp_path), tmp_path / "site") as url:
        page = browser.new_page()
        page.goto(url)
        verification = ready(page)["verification"]
    assert verification["passed"]
    assert verification["largest"] < 1e-5
