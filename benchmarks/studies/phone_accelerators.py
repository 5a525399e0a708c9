"""Ways of LiteRT.js to run a file in Chromium: one wasm thread, several, and WebGPU.

    python -m benchmarks.studies.phone_accelerators FILE.tflite --out phone_accelerators.csv

LiteRT.js comes from page/node_modules (`make app` installs it). Its page is sent with the headers
that threads need. The ways take turns, so that other work on the machine slows all of them.
"""

from __future__ import annotations

import dataclasses
import functools
import http.server
import json
import statistics
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmedge.errors import MissingDependencyError
from lmedge.model_file import read_model
from lmedge.report.csv_files import study_command, write_csv
from tests.locations import ROOT

from .common import PATH, out_option, run_study
from .screenshots import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PACKAGES = ROOT / "page" / "node_modules" / "@litertjs"
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
# SwiftShader computes WebGPU on the processor where there is no GPU.
FLAGS = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")
WAYS = {
    "one wasm thread": ({}, "wasm"),
    "wasm threads": ({"threads": True}, "wasm"),
    "WebGPU": ({}, "webgpu"),
}
SLOW_MS = 1000  # an image of a way of which one a turn is enough
PAGE = """<!doctype html><script type="importmap">{"imports": {
  "@litertjs/core": "/core/dist/index.js", "@litertjs/wasm-utils": "/wasm-utils/dist/index.js"
}}</script>"""
LOAD = """async ([size, options, accelerator]) => {
  try {
    if (accelerator === 'webgpu') {
      if (!navigator.gpu) throw new Error('no navigator.gpu');
      if (!(await navigator.gpu.requestAdapter())) throw new Error('no adapter');
    } else globalThis.GPUBuffer ??= class {};
    const litert = await import('@litertjs/core');
    await litert.loadLiteRt('/core/wasm/', options);
    const model = await litert.loadAndCompile('/file.tflite', { accelerator });
    const bytes = new Uint8Array(size * size * 3).map((_, at) => (at * 7919) % 256);
    globalThis.once = async () => {
      const image = new litert.Tensor(bytes, [1, size, size, 3]);
      const found = await model.run({ image });
      const landmark = [...(await found.landmark.moveTo('wasm')).toTypedArray()];
      image.delete();
      return landmark;
    };
    return { outputs: await globalThis.once(), isolated: crossOriginIsolated };
  } catch (error) {
    return { problem: String(error && error.message || error).split('\\n')[0].slice(0, 120) };
  }
}"""
RUN = """async (runs) => {
  const taken = [];
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    await globalThis.once();
    taken.push(performance.now() - start);
  }
  return taken;
}"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One way: median milliseconds of an image, against one thread; or the problem it has.

    `equal` is true if the outputs are those of one thread to the last bit.
    """

    way: str
    isolated: bool
    runs: int
    milliseconds: float | None = None
    against_one: float | None = None
    equal: bool | None = None
    problem: str = ""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        for name, value in ISOLATED.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""


def measure(browser: Browser, url: str, size: int, rounds: int, runs: int) -> list[Row]:
    """Return a row for each way; `runs` images in each of `rounds` turns, one in the first."""
    pages: dict[str, Page] = {}
    loaded: dict[str, dict[str, Any]] = {}
    for way, (options, accelerator) in WAYS.items():
        pages[way] = browser.new_page()
        pages[way].goto(url)
        loaded[way] = pages[way].evaluate(LOAD, [size, options, accelerator])
    taken: dict[str, list[float]] = {way: [] for way in WAYS if "outputs" in loaded[way]}
    for turn in range(rounds):
        for way in list(taken)[:: 1 if turn % 2 else -1]:
            pages[way].bring_to_front()  # pages behind others get less of a processor
            slow = any(one > SLOW_MS for one in taken[way])
            taken[way] += pages[way].evaluate(RUN, 1 if slow or not taken[way] else runs)
    return [_row(way, loaded, taken) for way in WAYS]


def _row(way: str, loaded: dict[str, dict[str, Any]], taken: dict[str, list[float]]) -> Row:
    found, (one, *_) = loaded[way], WAYS
    if way not in taken:
        return Row(way=way, isolated=True, runs=0, problem=str(found["problem"]))
    middle = statistics.median(taken[way])
    return Row(
        way=way,
        isolated=bool(found["isolated"]),
        runs=len(taken[way]),
        milliseconds=middle,
        against_one=middle / statistics.median(taken[one]) if one in taken else None,
        equal=found["outputs"] == loaded[one].get("outputs"),
    )


def serve(folder: Path) -> http.server.ThreadingHTTPServer:
    """Serve a folder on loopback with the headers that threads need."""
    handler = functools.partial(_Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@click.command()
@click.argument("file", type=PATH)
@click.option("--rounds", type=click.IntRange(1), default=10, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=10, show_default=True)
@out_option("phone_accelerators.csv")
def main(file: Path, rounds: int, runs: int, out: Path) -> None:
    """Measure the ways to run FILE in a browser."""
    if not PACKAGES.is_dir():
        raise MissingDependencyError(f"{PACKAGES} is missing; run `make app`")
    model = read_model(file)
    with tempfile.TemporaryDirectory() as work, chromium(*FLAGS) as browser:
        folder = Path(work)
        (folder / "index.html").write_text(PAGE, "utf-8")
        (folder / "file.tflite").write_bytes(model.data)
        for name in ("core", "wasm-utils"):
            (folder / name).symlink_to(PACKAGES / name)
        server = serve(folder)
        rows = measure(browser, f"http://127.0.0.1:{server.server_port}/", model.size, rounds, runs)
        server.shutdown()
        server.server_close()
    click.echo("\n".join(json.dumps(dataclasses.asdict(row)) for row in rows))
    write_rows(out, rows, file)


def write_rows(out: Path, rows: Sequence[Row], file: Path) -> None:
    """Write the table."""
    command = study_command(sys.argv, {file: "FILE.tflite"})
    write_csv(out, rows, data="one image of noise", command=command)


if __name__ == "__main__":
    run_study(main)
