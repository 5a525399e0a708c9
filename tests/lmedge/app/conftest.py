"""One Chromium and one page for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import quick
from tests.lmedge.app.serving import (
    ASK,
    FAKE_CAMERA,
    NAMES,
    PHONE,
    Watch,
    chromium,
    ready,
    site,
    write_file,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Playwright


@pytest.fixture(scope="package")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of four colours with the output `known`. Shared: not to be changed."""
    return write_file(tmp_path_factory.mktemp("file") / "colours.tflite")


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Playwright, which a process can start once."""
    quick.needs_process()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """A Chromium with a fake camera that is allowed without a question."""
    with chromium(playwright, *FAKE_CAMERA, NAMES) as started:
        yield started


@pytest.fixture(scope="package")
def url(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page of `colours`."""
    with site(colours, tmp_path_factory.mktemp("site") / "page") as address:
        yield address


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A phone that has not seen the page before."""
    opened = browser.new_context(viewport=PHONE)
    opened.add_init_script(ASK)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, url: str) -> Iterator[Page]:
    """The page with its file loaded; it fails if an error is left uncaught in it."""
    watch = Watch(context)
    opened = context.new_page()
    opened.goto(url)
    assert ready(opened) is not None
    yield opened
    assert not watch.errors
