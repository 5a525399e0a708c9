"""The page of `lmedge app` in Chromium: equality with Python, and what it costs.

    python -m benchmarks.studies.phone_page FILE.tflite PHOTOGRAPHS... --out phone_page.csv

Photographs are decoded here and handed to the page as PNG, so that both classify the same pixels.
They are compared with several threads and with one; for the ratio of their times both take turns.
The camera is Chromium's own test pattern. The budgets are those that the page was designed for; a
busy machine exceeds those of time.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click
import cv2
import numpy as np

from lmedge.app.folder import write_app
from lmedge.app.server import AppServer
from lmedge.classifier import Classifier
from lmedge.errors import LmedgeError
from lmedge.evaluation.folders import list_images
from lmedge.image import prepare, read_image
from lmedge.model_file import read_model
from lmedge.report.csv_files import study_command, write_csv

from .common import PATH, images_option, out_option, run_study
from .phone_screenshots import FAKE_CAMERA
from .screenshots import chromium, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PHONE = {"width": 360, "height": 740}
ONE, SEVERAL = "one thread", "threads"
Pages: TypeAlias = "dict[str, Page]"

THROTTLE = 4  # a phone's processor against that of the machine, as Lighthouse takes it
_SECONDS = 5.0  # of camera whose tasks and frames are counted
_LABEL = "performance.getEntriesByName('lmedge-label')[0]"

CLASSIFY = """async (encoded) => {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  const { prediction, milliseconds, detail } =
    await lmedge.engine.classify(new Blob([bytes]), null, true);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', detail.input));
  const outputs = {};
  for (const [name, values] of Object.entries(detail.outputs)) outputs[name] = [...values];
  const input = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return { prediction, milliseconds, input, outputs };
}"""
TASKS = """async (seconds) => {
  const long = [];
  const seen = (list) => long.push(...list.getEntries().map((entry) => entry.duration));
  new PerformanceObserver(seen).observe({ type: 'longtask' });
  const start = performance.now();
  const frames = () => document.getElementById('video').getVideoPlaybackQuality().totalVideoFrames;
  const before = frames();
  let drawn = 0;
  while (performance.now() - start < 1000 * seconds) {
    await new Promise(requestAnimationFrame);
    drawn++;
  }
  const passed = (performance.now() - start) / 1000;
  return {
    longest: Math.max(0, ...long),
    drawn: drawn / passed,
    video: (frames() - before) / passed,
  };
}"""
THREADS = """(threads) => {
  const verdict = JSON.parse(localStorage.getItem('lmedge-threads'));
  const most = Math.min(4, navigator.hardwareConcurrency);
  verdict.threads = threads ?? most;
  localStorage.setItem('lmedge-threads', JSON.stringify(verdict));
}"""
TURN = """async ([encoded, runs]) => {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  const image = new Blob([bytes]);
  const taken = [];
  for (let run = 0; run < runs; run++) {
    taken.push((await lmedge.engine.classify(image)).milliseconds);
  }
  return taken;
}"""
FRAMES = """async (count) => {
  const canvas = new OffscreenCanvas(640, 480);
  const context = canvas.getContext('2d');
  for (let number = 0; number < count; number++) {
    context.fillStyle = `hsl(${number % 360} 80% 50%)`;
    context.fillRect(0, 0, 640, 480);
    await lmedge.engine.classify(await createImageBitmap(canvas), number / 30);
  }
}"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured value; `budget` is the most or, for shares and rates, the least it may be."""

    measure: str
    value: float
    unit: str
    budget: float | None = None
    within: bool | None = None


def at_most(measure: str, value: float, unit: str, budget: float) -> Figure:
    """Return a figure that must not exceed its budget."""
    return Figure(measure=measure, value=value, unit=unit, budget=budget, within=value <= budget)


def at_least(measure: str, value: float, unit: str, budget: float) -> Figure:
    """Return a figure that must reach its budget."""
    return Figure(measure=measure, value=value, unit=unit, budget=budget, within=value >= budget)


def compare(pages: Pages, classifier: Classifier, paths: Sequence[Path]) -> Iterator[Figure]:
    """Yield the shares of photographs that both pages treat as Python does, and the times."""
    yield Figure(measure="photographs", value=len(paths), unit="photographs")
    rows: dict[str, list[Pair]] = {}
    for way, page in pages.items():
        page.bring_to_front()
        rows[way] = [_compare_one(page, classifier, path) for path in paths]
        same = f"{way}: same"
        yield at_least(f"{same} bytes into the network", _share(rows[way], "input"), "share", 1)
        labels = _share(rows[way], "labels")
        yield at_least(f"{same} landmark, category and known", labels, "share", 1)
        largest = max(one.largest for one in rows[way])
        yield at_most(f"{way}: largest difference of a probability", largest, "", 1e-6)
        equal = sum(one.largest == 0 for one in rows[way]) / len(paths)
        yield at_least(f"{way}: all probabilities bit-equal", equal, "share", 1)
    one = rows[ONE]
    there = statistics.median(row.page_ms for row in one)
    ratio = there / statistics.median(row.python_ms for row in one)
    yield Figure(measure="page against Python, one thread each", value=ratio, unit="times")


def turns(pages: Pages, image: bytes, rounds: int, runs: int) -> Iterator[Figure]:
    """Yield the time of an image in each page, in turns, and the ratio of the medians."""
    encoded = base64.b64encode(image).decode()
    taken: dict[str, list[float]] = {way: [] for way in pages}
    for number in range(rounds):
        for way in list(pages)[:: 1 if number % 2 else -1]:
            pages[way].bring_to_front()  # a page behind others gets less of a processor
            taken[way] += pages[way].evaluate(TURN, [encoded, runs])[1:]
    middle = {way: statistics.median(values) for way, values in taken.items()}
    for way, value in middle.items():
        yield Figure(measure=f"{way}: pixels to labels, median", value=value, unit="ms")
    ratio = middle[SEVERAL] / middle[ONE]
    yield at_most("time with threads against one thread", ratio, "times", 0.9)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """One photograph in the page and in Python."""

    input: bool
    labels: bool
    largest: float
    page_ms: float
    python_ms: float


def _share(rows: Sequence[Pair], name: str) -> float:
    return sum(bool(getattr(one, name)) for one in rows) / len(rows)


def _compare_one(page: Page, classifier: Classifier, path: Path) -> Pair:
    model = classifier.model
    image = read_image(path, model.size)
    png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    found = page.evaluate(CLASSIFY, base64.b64encode(png).decode())
    prepared = prepare(image, model.size, model.resize)
    outputs = classifier.interpreter.run(prepared)._asdict()
    one, there = classifier.classify(image), found["prediction"]
    differences = [
        np.abs(np.array(found["outputs"][name]) - values).max()
        for name, values in outputs.items()
        if values is not None
    ]
    return Pair(
        input=found["input"] == hashlib.sha256(prepared.tobytes()).hexdigest(),
        labels=all(there[name] == getattr(one, name) for name in ("landmark", "category", "known")),
        largest=float(max(*differences, np.abs(np.array(there["joint"]) - one.joint).max())),
        page_ms=found["milliseconds"],
        python_ms=one.milliseconds,
    )


def sizes(folder: Path) -> Iterator[Figure]:
    """Yield the bytes of the page, compressed as hosts do, with and without file and wasm."""
    packed = {
        path: len(gzip.compress(path.read_bytes(), 9))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in {".png", ".txt"}
    }
    needed = [path for path in packed if not {"compat", "threaded"} & set(path.name.split("_"))]
    page = sum(packed[path] for path in needed if path.suffix not in {".wasm", ".tflite"})
    yield at_most("page without file and wasm, gzip", page / 1000, "kB", 150)
    whole = sum(packed[path] for path in needed)
    yield Figure(measure="page with file and wasm, gzip", value=whole / 1000, unit="kB")
    threads = sum(packed[path] for path in packed if "_threaded_" in path.name)
    yield Figure(measure="threads more, gzip", value=threads / 1000, unit="kB")


def visits(context: BrowserContext, url: str) -> Iterator[Figure]:
    """Yield paint and first label of a first visit, and of a repeated one on a slow processor."""
    page = context.new_page()
    page.goto(url)
    wait_until(page, f"{_LABEL} !== undefined", 120)
    yield Figure(measure="first visit, first label", value=_seconds(page, _LABEL), unit="s")
    wait_until(page, "document.getElementById('facts').textContent.includes('stored')")
    page.close()
    page = context.new_page()
    context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": THROTTLE})
    page.goto(url)
    wait_until(page, f"{_LABEL} !== undefined", 120)
    paint = "performance.getEntriesByName('first-contentful-paint')[0]"
    slow = f"repeated visit, {THROTTLE} x slower main thread"
    yield at_most(f"{slow}, first paint", _seconds(page, paint), "s", 1)
    yield at_most(f"{slow}, first label", _seconds(page, _LABEL), "s", 3)
    page.close()


def _seconds(page: Page, entry: str) -> float:
    return float(page.evaluate(f"{entry}.startTime")) / 1000


def smoothness(context: BrowserContext, url: str) -> Iterator[Figure]:
    """Yield the longest task and the frames that are drawn while the network runs."""
    page = context.new_page()
    page.goto(url)
    wait_until(page, f"{_LABEL} !== undefined", 120)
    found = page.evaluate(TASKS, _SECONDS)
    yield at_most("longest task of the main thread", found["longest"], "ms", 50)
    yield at_least("animation frames", found["drawn"], "1/s", 60)
    yield Figure(measure="camera frames shown", value=found["video"], unit="1/s")
    page.close()


def memory(browser: Browser, page: Page, count: int) -> Iterator[Figure]:
    """Yield the memory of the page's process before and after many frames."""
    page.evaluate(FRAMES, max(1, count // 10))
    before = _resident(browser)
    page.evaluate(FRAMES, count)
    after = _resident(browser)
    yield Figure(measure="frames classified for the memory", value=count, unit="frames")
    yield Figure(measure="memory before them", value=before, unit="MB")
    yield at_most("memory more after them", after - before, "MB", 20)


def _with_threads(browser: Browser, url: str, way: str) -> Page:
    """Return a page of a new visitor that computes with one thread or with the most."""
    page = browser.new_context(viewport=PHONE).new_page()  # type: ignore[arg-type]
    page.goto(url)
    page.evaluate("async () => lmedge.ready()")
    page.evaluate(THREADS, 1 if way == ONE else None)
    page.reload()
    page.evaluate("async () => lmedge.ready()")
    threads = page.evaluate("lmedge.file().loaded.threads")
    if (threads == 1) != (way == ONE):
        raise LmedgeError(f"{url}: {threads} threads instead of {way}; are there two cores?")
    return page


def _resident(browser: Browser) -> float:
    """Return the resident memory of the browser's pages, in MB."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    pages = [one["id"] for one in processes["processInfo"] if one["type"] == "renderer"]
    total = 0
    for number in pages:
        status = Path(f"/proc/{number}/status").read_text("utf-8")
        total += sum(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line)
    return total / 1000


@click.command()
@click.argument("file", type=PATH)
@click.argument("photographs", type=PATH, nargs=-1, required=True)
@images_option(500)
@click.option("--frames", type=click.IntRange(1), default=10_000, show_default=True)
@out_option("phone_page.csv")
def main(file: Path, photographs: tuple[Path, ...], images: int, frames: int, out: Path) -> None:
    """Measure the page of FILE on PHOTOGRAPHS."""
    model = read_model(file)
    paths = [path for folder in photographs for path in list_images(folder)]
    step = max(1, len(paths) // images)
    paths = paths[::step][:images]
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as work, chromium(*FAKE_CAMERA) as browser:
        folder = Path(work) / "site"
        write_app(model, folder, name="page", title="page")
        figures += sizes(folder)
        server = AppServer(folder, "127.0.0.1", 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context(viewport=PHONE, permissions=["camera"])  # type: ignore[arg-type]
        figures += visits(context, server.url)
        figures += smoothness(context, server.url)
        context.close()
        pages = {way: _with_threads(browser, server.url, way) for way in (ONE, SEVERAL)}
        image = cv2.imencode(".png", read_image(paths[0], model.size)[..., ::-1])[1].tobytes()
        figures += turns(pages, image, rounds=20, runs=11)
        figures += compare(pages, Classifier(model), paths)
        pages[ONE].context.close()
        figures += memory(browser, pages[SEVERAL], frames)
        server.shutdown()
        server.server_close()
    for one in figures:
        click.echo(f"{one.measure}: {one.value:.5g} {one.unit}")
    data = f"{len(paths)} photographs of {', '.join(p.name for p in photographs)}"
    command = study_command(sys.argv, {file: "FILE.tflite"})
    write_csv(out, figures, data=data, command=command)


if __name__ == "__main__":
    run_study(main)
