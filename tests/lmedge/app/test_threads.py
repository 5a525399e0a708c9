"""Threads of the page: where browsers isolate it and they are faster; one thread otherwise."""

from __future__ import annotations

import contextlib
import functools
import http.server
import math
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lmedge.app.folder import write_app
from lmedge.classifier import Classifier
from lmedge.model_file import read_model
from tests.lmedge.app.serving import PHONE, Watch, needs_chromium, ready, serving, stored
from tests.lmedge.app.test_page import assert_equal, png

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CORES = os.cpu_count() or 1
pytestmark = [
    needs_chromium,
    pytest.mark.skipif(CORES < 2, reason="threads need two cores"),
]
MOST = min(4, CORES)
VERDICT = """(threads) => {
  const original = Storage.prototype.getItem;
  Storage.prototype.getItem = function (key) {
    if (key !== 'lmedge-threads') return original.call(this, key);
    const { userAgent, hardwareConcurrency } = navigator;
    const measured = `${userAgent} ${hardwareConcurrency} ${window.fileSize}`;
    return JSON.stringify({ measured, threads: window.wantedThreads });
  };
}"""
BUILDS = {
    "threaded": "litert/litert_wasm_threaded_internal",
    "relaxed": "litert/litert_wasm_internal",
    "compat": "litert/litert_wasm_compat_internal",
}


class _Plain(http.server.SimpleHTTPRequestHandler):
    """A host that sends no header of its own, as GitHub Pages."""

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""


@contextlib.contextmanager
def plain_host(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Plain, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def folder(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `colours`. Shared: not to be changed."""
    made = tmp_path_factory.mktemp("site") / "page"
    write_app(read_model(colours), made, name="a", title="first")
    return made


@pytest.fixture
def own_folder(folder: Path, tmp_path: Path) -> Path:
    """A page that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "page"))


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport=PHONE)
    yield opened
    opened.close()


def decided(context: BrowserContext, file: Path, threads: int) -> None:
    """Let pages of a context find a number of threads that was measured before."""
    size = round(2 * math.log2(file.stat().st_size))
    context.add_init_script(f"window.fileSize = {size}; window.wantedThreads = {threads};")
    context.add_init_script(f"({VERDICT})()")


def opened(context: BrowserContext, url: str) -> tuple[Page, Any]:
    """Return a page and what it knows of its file."""
    page = context.new_page()
    page.goto(url)
    return page, ready(page)


def isolated(page: Page) -> bool:
    return bool(page.evaluate("crossOriginIsolated"))


def loaded_builds(watch: Watch) -> set[str]:
    """Return the builds of the wasm that were asked for."""
    return {
        build
        for build, path in BUILDS.items()
        if any(one.endswith(f"{path}.wasm") for one in watch.requests)
    }


def kept_builds(page: Page) -> set[str]:
    """Return the builds of the wasm that are stored for use without a network."""
    paths = page.evaluate(
        """async () => {
          const name = (await caches.keys()).find((key) => key.startsWith('lmedge http'));
          return (await (await caches.open(name)).keys()).map((one) => one.url);
        }"""
    )
    return {
        build
        for build, path in BUILDS.items()
        if any(one.endswith(f"{path}.wasm") for one in paths)
    }


def images() -> list[bytes]:
    random = np.random.default_rng(3)
    shapes = [(40, 60), (96, 96), (301, 175)]
    return [png(random.integers(0, 256, (*shape, 3), np.uint8)) for shape in shapes]


def test_threads_compute_the_bits_of_python_if_the_page_is_isolated(
    context: BrowserContext, colours: Path, folder: Path
) -> None:
    decided(context, colours, MOST)
    watch = Watch(context)
    with serving(folder) as server:
        page, loaded = opened(context, server.url)
        assert isolated(page)
        assert (loaded["threads"], loaded["ratio"]) == (MOST, None)
        assert loaded["verification"]["identical"]
        assert loaded_builds(watch) == {"threaded"}
        # LiteRT.js's worker has one worker for each thread.
        assert len(page.workers) == 1 + MOST
        assert_equal(page, Classifier(colours), images())
    assert not watch.errors


def test_one_thread_computes_them_if_it_is_not(
    context: BrowserContext, colours: Path, folder: Path
) -> None:
    watch = Watch(context)
    context.route("**/service.js", lambda route: route.abort())
    with plain_host(folder) as url:
        page, loaded = opened(context, url)
        assert not isolated(page)
        assert (loaded["threads"], loaded["ratio"]) == (1, None)
        assert loaded_builds(watch) == {"relaxed"}
        assert len(page.workers) == 1
        assert_equal(page, Classifier(colours), images())
        page.click("#more")
        facts = page.inner_text("#facts")
    assert "Threads\n1" in facts
    assert not watch.errors


@pytest.mark.slow
def test_threads_are_measured_once_and_used_if_they_are_faster(
    context: BrowserContext, folder: Path
) -> None:
    with serving(folder) as server:
        page, loaded = opened(context, server.url)
        ratio = loaded["ratio"]
        assert ratio > 0
        assert loaded["threads"] == (MOST if ratio < 0.9 else 1)
        page.reload()
        again = ready(page)
        assert (again["threads"], again["ratio"]) == (loaded["threads"], None)


@pytest.mark.slow
def test_one_thread_is_used_if_it_was_measured_as_faster(
    context: BrowserContext, colours: Path, folder: Path
) -> None:
    decided(context, colours, 1)
    with serving(folder) as server:
        page, loaded = opened(context, server.url)
        assert isolated(page) and loaded["threads"] == 1
        assert loaded["verification"]["identical"]


def test_a_host_without_headers_gets_threads_from_the_second_visit_on_and_offline(
    context: BrowserContext, colours: Path, folder: Path
) -> None:
    decided(context, colours, MOST)
    with plain_host(folder) as url:
        page, _ = opened(context, url)
        stored(page)
        assert not isolated(page)
        assert kept_builds(page) == {"threaded", "relaxed"}
        page.reload()
        assert ready(page)["threads"] == MOST
    page.reload()  # the host is gone
    loaded = ready(page)
    assert isolated(page) and loaded["threads"] == MOST
    assert loaded["verification"]["identical"]
    assert_equal(page, Classifier(colours), images()[:1])


@pytest.mark.parametrize("damage", ["missing", pytest.param("refused", marks=pytest.mark.slow)])
def test_without_the_threaded_build_one_thread_goes_on(
    damage: str, context: BrowserContext, colours: Path, own_folder: Path
) -> None:
    wasm = own_folder / f"{BUILDS['threaded']}.wasm"
    if damage == "missing":
        wasm.unlink()
    else:
        wasm.write_bytes(b"\0asm\1\0\0\0 damaged")
    watch = Watch(context)
    with serving(own_folder) as server:
        page, loaded = opened(context, server.url)
        assert isolated(page) and loaded["threads"] == 1
        assert "relaxed" in loaded_builds(watch)
        assert_equal(page, Classifier(colours), images()[:1])
    assert not watch.errors


@pytest.mark.slow
def test_a_browser_that_refuses_shared_memory_computes_with_one_thread(
    context: BrowserContext, own_folder: Path
) -> None:
    """Some phones do not reserve the memory that threads share."""
    source = (own_folder / f"{BUILDS['threaded']}.js").read_text("utf-8")
    refusing = (
        "WebAssembly.Memory = class { constructor() { throw new RangeError('no memory'); } };"
    )
    (own_folder / f"{BUILDS['threaded']}.js").write_text(refusing + source, "utf-8")
    with serving(own_folder) as server:
        page, loaded = opened(context, server.url)
        assert isolated(page) and loaded["threads"] == 1
        assert loaded["verification"]["identical"]


@pytest.mark.slow
def test_a_browser_without_relaxed_simd_uses_the_compatible_build(
    context: BrowserContext, colours: Path, folder: Path
) -> None:
    context.add_init_script("WebAssembly.validate = () => false")
    context.route("**/service.js", lambda route: route.abort())  # no script reaches it
    watch = Watch(context)
    with serving(folder) as server:
        page, loaded = opened(context, server.url)
        assert loaded["threads"] == 1 and loaded["verification"]["identical"]
        assert loaded_builds(watch) == {"compat"}
        assert_equal(page, Classifier(colours), images()[:1])


@pytest.mark.slow
def test_what_a_newer_browser_can_run_is_stored_too(
    context: BrowserContext, colours: Path, folder: Path
) -> None:
    with serving(folder) as server:
        page, _ = opened(context, server.url)
        stored(page)
        removed = page.evaluate(
            """async () => {
              const name = (await caches.keys()).find((key) => key.startsWith('lmedge http'));
              const cache = await caches.open(name);
              return cache.delete('./litert/litert_wasm_threaded_internal.wasm');
            }"""
        )
        assert removed and kept_builds(page) == {"relaxed"}
        page.reload()
        ready(page)
        page.wait_for_function("document.getElementById('facts').textContent !== ''")
        for _ in range(100):
            if kept_builds(page) == {"threaded", "relaxed"}:
                break
            page.wait_for_timeout(50)
        assert kept_builds(page) == {"threaded", "relaxed"}
