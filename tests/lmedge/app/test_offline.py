"""The page without a network, and new versions of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.studies.screenshots import wait_until
from lmedge.app.folder import model_name, write_app
from lmedge.model_file import read_model
from tests import tiny_file as tiny
from tests.lmedge.app.serving import (
    CHROMIUM,
    PHONE,
    needs_chromium,
    ready,
    serving,
    stored,
    write_file,
)
from tests.lmedge.app.test_page import in_the_page, png

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Playwright

pytestmark = needs_chromium


@pytest.fixture
def folder(colours: Path, tmp_path: Path) -> Path:
    write_app(read_model(colours), tmp_path / "site", name="a", title="first")
    return tmp_path / "site"


def opened(playwright: Playwright, profile: Path) -> BrowserContext:
    """Start a browser that keeps what it stores in `profile`."""
    return playwright.chromium.launch_persistent_context(
        profile, executable_path=CHROMIUM, viewport=PHONE
    )


def visited(context: BrowserContext, url: str) -> Page:
    """Return the page behind its first visit, when all of it is stored."""
    page = context.new_page()
    page.goto(url)
    ready(page)
    stored(page)
    return page


def version(page: Page) -> str:
    found: str = page.evaluate("lmedge.file().version.version")
    return found


def assert_classifies(page: Page) -> None:
    assert in_the_page(page, png(tiny.image("blue")))["prediction"]["landmark"] == "blue"


def test_without_the_server_and_after_a_restart_it_classifies(
    playwright: Playwright, folder: Path, tmp_path: Path
) -> None:
    context = opened(playwright, tmp_path / "profile")
    with serving(folder) as server:
        url = server.url
        page = visited(context, url)
        wait_until(page, "document.getElementById('facts').textContent.includes('stored on')")
    page.reload()
    assert ready(page)["verification"]["identical"]
    context.close()
    context = opened(playwright, tmp_path / "profile")
    page = context.new_page()
    page.goto(url)
    assert ready(page)["verification"]["identical"]
    assert_classifies(page)
    page.click("#more")
    assert "colours.tflite" in page.inner_text("#facts")
    assert "stored on this device" in page.inner_text("#facts")
    context.close()


def test_a_new_version_is_offered_and_a_broken_one_leaves_the_old(
    playwright: Playwright, folder: Path, tmp_path: Path
) -> None:
    context = opened(playwright, tmp_path / "profile")
    with serving(folder) as server:
        page = visited(context, server.url)
        old = version(page)
        other = write_file(tmp_path / "newer.tflite", decoding={"category_weight": 0.2})
        model = read_model(other)
        write_app(model, folder, name="a", title="second")
        whole = (folder / model_name(model)).read_bytes()
        (folder / model_name(model)).write_bytes(whole[: len(whole) // 2])  # the copy broke off

        page.reload()
        ready(page)
        assert version(page) == old and page.title() == "first"
        load = page.locator("[data-key=update] button").first
        load.click()
        page.wait_for_selector("[data-key=update].bad")
        assert "this one goes on" in page.inner_text("[data-key=update]")
        page.reload()
        ready(page)
        assert version(page) == old
        assert_classifies(page)

        (folder / model_name(model)).write_bytes(whole)
        page.reload()
        ready(page)
        with page.expect_navigation():
            page.locator("[data-key=update] button").first.click()
        ready(page)
        assert version(page) != old and page.title() == "second"
        assert page.evaluate("lmedge.file().loaded.facts.categoryWeight") == 0.2
        keys = page.evaluate("caches.keys()")
        assert len([key for key in keys if key.startswith("lmedge http")]) == 1
    page.reload()  # the server is gone
    ready(page)
    assert page.title() == "second"
    assert_classifies(page)
    context.close()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut_short, zeroed, Path.unlink])
@pytest.mark.parametrize("spared", ["none", "large", "small"])
def test_what_a_power_cut_damaged_is_loaded_from_the_host_and_stored_again(
    playwright: Playwright,
    folder: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    spared: str,
) -> None:
    profile = tmp_path / "profile"
    context = opened(playwright, profile)
    with serving(folder) as server:
        url = server.url
        visited(context, url)
        context.close()
        files = [*profile.glob("Default/Service Worker/CacheStorage/*/*/*_[0-9s]")]
        assert len(files) > 5
        for path in files:
            large = path.stat().st_size > 100_000
            if spared == "none" or large == (spared == "small"):
                damage(path)
        context = opened(playwright, profile)
        page = context.new_page()
        page.goto(url)
        assert ready(page)["verification"]["identical"]
        wait_until(page, "document.getElementById('facts').textContent.includes('stored on')")
    page.reload()  # the server is gone
    ready(page)
    assert_classifies(page)
    context.close()


def test_a_stored_file_that_was_damaged_is_loaded_again(
    playwright: Playwright, folder: Path, tmp_path: Path
) -> None:
    context = opened(playwright, tmp_path / "profile")
    with serving(folder) as server:
        page = visited(context, server.url)
        page.evaluate(
            """async () => {
              const name = (await caches.keys()).find((key) => key.startsWith('lmedge http'));
              const cache = await caches.open(name);
              const file = `./${lmedge.file().version.model.file}`;
              await cache.put(file, new Response(new Uint8Array(100)));
            }"""
        )
        page.reload()
        assert ready(page)["verification"]["identical"]
        assert_classifies(page)
    context.close()
