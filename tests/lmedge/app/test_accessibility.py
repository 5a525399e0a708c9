"""The page for everyone: axe-core, small screens, screen readers, reduced motion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.studies.screenshots import wait_until
from tests import tiny_file as tiny
from tests.lmedge.app.serving import ASK, needs_chromium, ready
from tests.lmedge.app.test_page import png
from tests.locations import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AXE = ROOT / "page" / "node_modules" / "axe-core" / "axe.min.js"
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="no axe-core: run `npm ci` in page/")
pytestmark = needs_chromium
SCREENS = [(320, 568), (360, 740), (740, 360), (1280, 800)]


def violations(page: Page) -> list[Any]:
    """Return what axe-core finds, with the elements."""
    found: list[Any] = page.evaluate(
        "async (source) => { (0, eval)(source); return (await axe.run()).violations"
        ".map((one) => [one.id, one.nodes.map((node) => node.html)]); }",
        AXE.read_text("utf-8"),
    )
    return found


def overflow(page: Page) -> int:
    """Return the CSS pixels by which the page is wider than the screen."""
    return int(page.evaluate("document.body.scrollWidth - document.documentElement.clientWidth"))


def bare_page(browser: Browser, url: str, scheme: Any, width: int, height: int) -> Page:
    """Open the page without its policy: axe-core is no part of it, and would be refused."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True
    )
    context.add_init_script(ASK)
    page = context.new_page()
    page.goto(url)
    ready(page)
    return page


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_in_any_view(
    scheme: Any, browser: Browser, url: str, tmp_path: Path
) -> None:
    page = bare_page(browser, url, scheme, 360, 740)
    assert violations(page) == []
    page.click("#start")
    wait_until(page, "document.getElementById('figures').textContent !== ''")
    page.click("#top summary")
    assert violations(page) == []
    page.click("#more")
    assert violations(page) == []
    page.click("#close")
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path in paths:
        path.write_bytes(png(tiny.image("red")))
    page.locator("#images").set_input_files(paths)
    wait_until(page, "document.querySelectorAll('#rows tr').length === 2")
    assert violations(page) == []
    page.locator("#file").set_input_files(paths[0])
    page.wait_for_selector(".notice.bad")
    assert violations(page) == []
    page.context.close()


@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_the_page_fits_the_screen_and_every_button_a_thumb(
    width: int, height: int, page: Page
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    assert overflow(page) == 0
    page.click("#start")
    wait_until(page, "document.getElementById('figures').textContent !== ''")
    assert overflow(page) == 0
    for button in page.locator("button:visible").all():
        box = button.bounding_box()
        assert box is not None and min(box["width"], box["height"]) >= 44
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert box["y"] >= 0 and box["y"] + box["height"] <= height
        assert button.get_attribute("aria-label") or button.inner_text()


def test_labels_are_announced_politely_and_not_with_every_frame(page: Page) -> None:
    page.evaluate(
        "() => { window.spoken = 0; new MutationObserver(() => window.spoken++).observe("
        "document.getElementById('announcer'), { childList: true, characterData: true,"
        " subtree: true }); }"
    )
    page.click("#start")
    wait_until(page, "window.spoken > 0")
    page.wait_for_timeout(2000)
    assert page.evaluate("window.spoken") <= 3
    assert page.get_attribute("#announcer", "aria-live") == "polite"
    assert page.inner_text("#announcer") != ""


def test_reduced_motion_is_respected(page: Page) -> None:
    style = "getComputedStyle(document.getElementById('landmark-bar')).transitionDuration"
    assert page.evaluate(style) != "0s"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(style) == "0s"


def test_every_text_stands_in_one_file(page: Page) -> None:
    """Elements get their texts from texts.ts: index.html has none but the title's place."""
    html = (ROOT / "page" / "index.html").read_text("utf-8")
    body = html[html.index("<main") :]
    import re

    texts = [text.strip() for text in re.findall(r">([^<>]+)<", body) if text.strip()]
    assert texts == ["lmedge"]
    missing = page.evaluate(
        "[...document.querySelectorAll('[data-text], [data-label]')].filter((one) =>"
        " !(one.textContent.trim() || one.getAttribute('aria-label'))).map((one) => one.outerHTML)"
    )
    assert missing == []
