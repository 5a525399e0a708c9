"""Pages of real files, served to a real Chromium."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.studies.phone_screenshots import ASK, FAKE_CAMERA
from benchmarks.studies.screenshots import wait_until
from lmedge.app.folder import write_app
from lmedge.app.server import AppServer
from lmedge.golden import golden_answers
from lmedge.model_file import read_model
from tests import tiny_file as tiny

__all__ = ["ASK", "FAKE_CAMERA"]  # for the tests of this folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
PHONE = {"width": 360, "height": 740}
INSECURE = "insecure.test"  # a name of this machine that browsers do not trust
NAMES = f"--host-resolver-rules=MAP {INSECURE} 127.0.0.1"


def write_file(path: Path, *, known: bool = True, **more: Any) -> Path:
    """Write a file of four colours with everything that the page reads: golden answers too."""
    from lmedge.metadata import Card, pack

    info: dict[str, Any] = {
        "preprocessing": {"size": tiny.SIZE, "resize": "crop"},
        "provenance": {},
        "decoding": {"category_weight": 0.7},
        "rejection": {"threshold": 0.6, "score": "known" if known else "agreement"},
        "smoothing": {"smoothing": 0.3, "margin": 0.3, "dwell": 0.5},
        **more,
    }
    card = Card(
        name="tiny",
        description="four colours",
        version="0.1.0",
        taxonomy=tiny.TAXONOMY,
        size=tiny.SIZE,
        info=info,
    )
    graph = tiny.graph(known=known)
    path.write_bytes(pack(graph, card))
    answers = golden_answers(read_model(path), trusted=True)
    path.write_bytes(pack(graph, dataclasses.replace(card, info={"golden": answers, **info})))
    return path


@contextlib.contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[AppServer]:
    """Serve a folder on loopback."""
    server = AppServer(folder, "127.0.0.1", port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def site(file: Path, folder: Path, title: str = "Four colours") -> Iterator[str]:
    """Write the page of a file and serve it; give its address."""
    write_app(read_model(file), folder, name="colours", title=title)
    with serving(folder) as server:
        yield server.url


@contextlib.contextmanager
def chromium(playwright: Playwright, *arguments: str) -> Iterator[Browser]:
    """Start Chromium without a window."""
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(arguments))
    try:
        yield browser
    finally:
        browser.close()


class Watch:
    """Everything that a page asks for, and every error that nothing in it catches."""

    def __init__(self, context: BrowserContext) -> None:
        """Watch all pages and workers of a context."""
        self.requests: list[str] = []
        self.errors: list[str] = []
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("weberror", lambda error: self.errors.append(str(error.error)))


def ready(page: Page) -> Any:
    """Wait until the file is loaded and return what the page knows of it."""
    wait_until(page, "window.lmedge !== undefined")
    return page.evaluate("async () => { await lmedge.ready(); return lmedge.file().loaded; }")


def stored(page: Page) -> None:
    """Wait until the page is stored for use without a network."""
    wait_until(
        page,
        """async () => {
          const keys = await caches.keys();
          const notes = keys.find((key) => key.startsWith('lmedge-notes'));
          return notes !== undefined && (await (await caches.open(notes)).keys()).length > 0;
        }""",
    )
