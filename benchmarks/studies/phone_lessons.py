"""A lesson in the page of `lmedge app`: seconds, and equality with `lmedge teach`.

    python -m benchmarks.studies.phone_lessons PHOTOGRAPHS... --out phone_lessons.csv

Of each folder, the last landmark is left out of a file that `lmedge teach` makes of the base that
comes along. The page is taught that landmark, and so is Python, of the same pixels. They
follow each other, so that other work on the machine disturbs the ratio of their times too.
"""

from __future__ import annotations

import base64
import dataclasses
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np

from lmedge.app.folder import write_app
from lmedge.app.server import AppServer
from lmedge.errors import LmedgeError
from lmedge.evaluation.folders import scan
from lmedge.image import read_image
from lmedge.model_file import parse_model
from lmedge.report.csv_files import study_command, write_csv
from lmedge.teach.backbone import FeatureReader
from lmedge.teach.base import Base
from lmedge.teach.features import FeatureSet, feature_set, unit
from lmedge.teach.fitting import Teaching, teach_heads
from lmedge.teach.memory import recall
from lmedge.teach.photographs import ReadPhotographs, read_photographs
from lmedge.teach.teaching import Lesson, teach_file

from .common import PATH, out_option, run_study
from .screenshots import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

MOST = 12  # photographs of the lesson
TEACH = """async ([encoded, landmark, category]) => {
  const images = [];
  for (const one of encoded) {
    const bytes = Uint8Array.from(atob(one), (letter) => letter.charCodeAt(0));
    images.push(await lmedge.engine.look(new Blob([bytes], { type: 'image/png' })));
  }
  const { seconds } = await lmedge.teacher.teach(landmark, category, images, false);
  const outputs = [];
  for (const one of encoded) {
    const bytes = Uint8Array.from(atob(one), (letter) => letter.charCodeAt(0));
    const { detail } = await lmedge.engine.classify(new Blob([bytes]), null, true);
    outputs.push(Object.fromEntries(
      Object.entries(detail.outputs).map(([name, values]) => [name, [...values]])));
  }
  const file = new Uint8Array(await lmedge.teacher.file().arrayBuffer());
  let text = '';
  for (let at = 0; at < file.length; at += 30000) {
    text += String.fromCharCode(...file.subarray(at, at + 30000));
  }
  return { seconds, outputs, file: btoa(text) };
}"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LessonRow:
    """One lesson: `remembered` photographs in the file, `added` ones in the lesson.

    Times are in seconds, `against_python` is the ratio of those for solving. `largest` is the
    largest difference of a probability that the page predicts to double precision in Python.
    """

    data: str
    landmarks: int
    remembered: int
    added: int
    page_features: float
    page_solving: float
    python_solving: float
    against_python: float
    largest: float
    same_features: bool


def lesson(page: Page, base: Base, read: ReadPhotographs, folder: Path) -> LessonRow:
    """Teach the last landmark of a folder in the page and in Python."""
    found, backbone = read.found, base.backbone
    landmark = sorted(found.landmarks)[-1]
    category = found.hierarchy[landmark]
    before = found.without(landmark)
    paths = [image.path for image in scan(folder) if image.landmark == landmark][:MOST]
    images = [read_image(path, backbone.size) for path in paths]
    reader = FeatureReader(backbone)
    rows = [reader.read(image) for image in images]
    together = before.with_others(
        feature_set(
            {landmark: category},
            {landmark: rows},
            [],
            zero=backbone.zero,
            width=backbone.width,
            bursts={landmark: [range(len(rows))]},
        )
    )
    began = time.perf_counter()
    teaching = teach_heads(together)
    teach_heads(before)  # the gate compares with it, in the page too
    solving = time.perf_counter() - began
    encoded = [
        base64.b64encode(cv2.imencode(".png", image[..., ::-1])[1].tobytes()).decode()
        for image in images
    ]
    there = page.evaluate(TEACH, [encoded, landmark, category])
    model = parse_model(base64.b64decode(there["file"]), Path("page.tflite"))
    stored = recall(model)
    return LessonRow(
        data=folder.name,
        landmarks=len(before.landmarks),
        remembered=before.count,
        added=len(rows),
        page_features=there["seconds"]["features"],
        page_solving=there["seconds"]["solving"],
        python_solving=solving,
        against_python=there["seconds"]["solving"] / solving,
        largest=_largest(there["outputs"], teaching, unit(np.stack(rows), backbone.zero)),
        same_features=stored is not None and _same(stored, together),
    )


def _largest(found: Sequence[Any], teaching: Teaching, rows: np.ndarray) -> float:
    wanted = teaching.heads.outputs(rows)
    return max(
        float(np.abs(np.array(one[name]) - values[index]).max())
        for index, one in enumerate(found)
        for name, values in wanted.items()
    )


def _same(one: FeatureSet, other: FeatureSet) -> bool:
    return one.landmarks.keys() == other.landmarks.keys() and all(
        np.array_equal(rows, other.landmarks[name]) for name, rows in one.landmarks.items()
    )


def some(folder: Path, most: int, place: Path) -> Path:
    """Link at most so many photographs of each landmark of a folder into another one."""
    counts: dict[str, int] = {}
    for image in scan(folder):
        counts[image.landmark] = counts.get(image.landmark, 0) + 1
        if counts[image.landmark] <= most:
            own = place / folder.name / image.category / image.landmark
            own.mkdir(parents=True, exist_ok=True)
            (own / image.path.name).symlink_to(image.path.resolve())
    return place / folder.name


@click.command()
@click.argument("photographs", type=PATH, nargs=-1, required=True)
@click.option("--base", type=PATH, help="A file for its backbone.  [default: the shipped base]")
@click.option("--most", type=click.IntRange(3), default=80, show_default=True, help="A landmark.")
@out_option("phone_lessons.csv")
def main(photographs: tuple[Path, ...], base: Path | None, most: int, out: Path) -> None:
    """Measure lessons in the page with the PHOTOGRAPHS of each folder."""
    opened = Base.open(base)
    rows = []
    with tempfile.TemporaryDirectory() as work, chromium() as browser:
        for folder in photographs:
            chosen = some(folder, most, Path(work))
            read = read_photographs(chosen, opened.backbone, threads=os.cpu_count() or 1)
            landmark = sorted(read.found.landmarks)[-1]
            before = dataclasses.replace(read, found=read.found.without(landmark))
            taught = teach_file(opened, before, Lesson(), Path("taught.tflite"))
            site = Path(work) / f"site-{folder.name}"
            write_app(taught.file, site, name="page", title="page")
            server = AppServer(site, "127.0.0.1", 0)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            context = browser.new_context()
            page = context.new_page()
            page.goto(server.url)
            page.evaluate("async () => lmedge.ready()")
            if not page.evaluate("lmedge.file().loaded !== null"):
                raise LmedgeError(f"{folder}: the page does not load the file")
            rows.append(lesson(page, opened, read, chosen))
            context.close()
            server.shutdown()
            server.server_close()
            click.echo(str(rows[-1]))
    command = study_command(sys.argv, {} if base is None else {base: "FILE.tflite"})
    write_csv(out, rows, data=", ".join(one.name for one in photographs), command=command)


if __name__ == "__main__":
    run_study(main)
