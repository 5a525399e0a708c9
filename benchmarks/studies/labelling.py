"""Labelling of collected frames in a browser: keystrokes and seconds a frame, by a script.

    python -m benchmarks.studies.labelling FILE.tflite --data PHOTOGRAPHS --unknown OTHER

Photographs and images of anything else are written as `lmedge camera --collect` writes frames. Then
headless Chromium shows the page of `lmedge label`, and a script that knows the labels presses keys:
Enter if the prediction is right for all frames shown, otherwise it first leaves out the others with
the arrows and the space bar. Keystrokes are those of a person. Seconds are those of the page and
the computer alone: nobody looks at the frames. `--screenshots DIR` writes PNG files of the page.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cv2
import numpy as np

from lmedge import files
from lmedge.camera.preview_server import open_server
from lmedge.classifier import Classifier, Prediction
from lmedge.errors import LmedgeError
from lmedge.evaluation.folders import scan
from lmedge.evaluation.listing import list_images
from lmedge.field.collected import (
    CONFLICT,
    RANDOM,
    UNDECIDED,
    UNKNOWN_REASON,
    list_collected,
)
from lmedge.field.groups import ImageGroup
from lmedge.field.label_pages import BODY_BYTES, LabelPages
from lmedge.field.labelling import Labeller
from lmedge.field.store import CollectedStore, NewImage
from lmedge.image import read_image
from lmedge.report.csv_files import write_csv

from .common import PATH, images_option, out_option, run_study, unknown_option
from .screenshots import DESK, Screen, chromium, shown, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIDE = 480  # pixels of the longer side of a frame
SCREENS = {
    "desk": DESK,
    "tablet": Screen(width=820, height=1180, phone=True),
    "dark": Screen(width=1000, height=760, dark=True),
}
_COLUMNS = (
    "getComputedStyle(document.getElementById('images')).gridTemplateColumns.split(' ').length"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabellingRow:
    """The figures of one session."""

    frames: int
    right_predictions: float
    decisions: int
    keystrokes: int
    keystrokes_a_frame: float
    seconds_a_frame: float
    wrong_labels: int
    enter: int
    digits: int
    letters: int
    moves: int


def reasons_of(prediction: Prediction) -> tuple[str, ...]:
    """Return a reason to collect a frame, as far as it has one; otherwise it is a random one."""
    if not prediction.known:
        return (UNKNOWN_REASON,)
    second = prediction.top[1].probability if len(prediction.top) > 1 else 0.0
    if prediction.landmark_probability - second < 0.2:
        return (UNDECIDED,)
    return (CONFLICT,) if prediction.agreement < 0.5 else (RANDOM,)


def collect(
    folder: Path, classifier: Classifier, images: list[tuple[Path, str]], count: int
) -> dict[str, str]:
    """Write `count` frames that are no near-duplicates; return the true landmark of each."""
    store = CollectedStore(folder, camera="study", most_bytes=10**10, random_share=0.5, one_in=1)
    before: set[str] = set()
    truth: dict[str, str] = {}
    for number, (path, landmark) in enumerate(images):
        image = read_image(path, SIDE)
        scale = SIDE / max(image.shape[:2])
        if scale < 1:
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            image = np.asarray(small, np.uint8)
        prediction = classifier.classify(image)
        store.add(
            NewImage(
                frame=np.ascontiguousarray(image[..., ::-1]),
                seconds=float(number),
                reasons=reasons_of(prediction),
                burst=number,
                prediction=prediction,
                taxonomy=classifier.taxonomy,
                model=classifier.model,
            )
        )
        names = {one.name for one in folder.glob("*.jpg")}
        truth |= dict.fromkeys(names - before, landmark)
        before = names
        if len(truth) == count:
            break
    return truth


class Keyboard:
    """Keys that are pressed and counted."""

    def __init__(self, page: Page) -> None:
        """Press them on a page."""
        self._page = page
        self.counts: Counter[str] = Counter()

    def press(self, key: str, kind: str) -> None:
        """Press a key and count it under its kind."""
        self._page.keyboard.press(key)
        self.counts[kind] += 1


def decide(
    page: Page, keys: Keyboard, group: ImageGroup, wanted: list[str], categories: dict[str, str]
) -> None:
    """Label the frames of a group that show what its prediction says, or what most of them show."""
    guess = group.candidates[0][0] if group.candidates else ""
    target = guess if guess in wanted else Counter(wanted).most_common(1)[0][0]
    columns = int(page.evaluate(_COLUMNS))
    at = 0
    for place, landmark in enumerate(wanted):
        if landmark != target:
            at = move(keys, at, place, columns)
            keys.press(" ", "moves")
    candidates = [one[0] for one in group.candidates]
    if not target:
        keys.press("x", "letters")
    elif target == guess:
        keys.press("Enter", "enter")
    elif target in candidates:
        keys.press(str(candidates.index(target) + 1), "digits")
    else:
        find(page, keys, target, categories)


def move(keys: Keyboard, at: int, place: int, columns: int) -> int:
    """Press arrows from one place of the grid to another."""
    while at + columns <= place:
        keys.press("ArrowDown", "moves")
        at += columns
    while at != place:
        keys.press("ArrowRight" if at < place else "ArrowLeft", "moves")
        at += 1 if at < place else -1
    return place


def find(page: Page, keys: Keyboard, target: str, categories: dict[str, str]) -> None:
    """Press a letter until the landmark is offered, then Enter."""
    words = target.replace("_", " ").replace("-", " ").split()
    letter = next((word[0].lower() for word in words if word[0].lower() not in "xdun"), "")
    if not letter:
        raise LmedgeError(f"{target}: all its words begin with a command; rename it")
    for _ in range(len(categories)):
        keys.press(letter, "letters")
        if (
            page.evaluate("new Promise(done => after(() => done(choice && choice.landmark)))")
            == target
        ):
            keys.press("Enter", "enter")
            return
    raise LmedgeError(f"{target}: not found by the letter {letter}")


def session(page: Page, labeller: Labeller, truth: dict[str, str]) -> tuple[Keyboard, int, float]:
    """Label everything; return the keys, the number of decisions and the seconds."""
    keys, decisions, begun = Keyboard(page), 0, time.monotonic()
    while groups := labeller.upcoming(1):
        wanted = [truth[labeller.name_of(one)] for one in groups[0].images]
        left = len(labeller.left())
        decide(page, keys, groups[0], wanted, labeller.categories)
        decisions += 1
        wait_until(page, f"state.left < {left}")
    return keys, decisions, time.monotonic() - begun


def wrong_labels(data: Path, truth: dict[str, str]) -> int:
    """Return how many copies stand under another landmark than the true one."""
    return sum(truth[one.path.name] != one.landmark for one in scan(data))


def take_screenshots(browser: object, url: str, folder: Path) -> None:
    """Write the first group on every screen."""
    for name, screen in SCREENS.items():
        with shown(browser, url, screen, settle=1.5) as page:  # type: ignore[arg-type]
            files.write_bytes(folder / f"label-{name}.png", page.screenshot())
            click.echo(f"{folder / f'label-{name}.png'}")


@click.command()
@click.argument("file", type=PATH)
@click.option("--data", type=PATH, required=True, help="Labelled photographs.")
@unknown_option(type=PATH, help="Images of anything else: a tenth of the frames.")
@images_option(500)
@click.option("--seed", default=0, show_default=True)
@click.option("--screenshots", type=PATH, help="A folder for PNG files of the page.")
@out_option("labelling.csv")
def main(
    file: Path,
    data: Path,
    unknown: Path | None,
    images: int,
    seed: int,
    screenshots: Path | None,
    out: Path,
) -> None:
    """Measure the labelling of frames that FILE.tflite classifies."""
    draw = random.Random(seed)
    known = [(one.path, one.landmark) for one in scan(data)]
    others = [(path, "") for path in (list_images(unknown) if unknown else [])]
    draw.shuffle(known)
    draw.shuffle(others)
    offered = known[: 2 * images] + others[: images // 10]
    draw.shuffle(offered)
    with tempfile.TemporaryDirectory() as work, chromium() as browser:
        folder, photographs = Path(work) / "field", Path(work) / "photographs"
        truth = collect(folder, Classifier(file), offered, images)
        found = {
            one.path.name: one for one in list_collected(folder) if not isinstance(one, Exception)
        }
        right = sum(
            (one.landmark if one.known else "") == truth[name] for name, one in found.items()
        )
        labeller = Labeller(folder, photographs)
        for one in scan(data):
            labeller.categories.setdefault(one.landmark, one.category)
        server = open_server(
            LabelPages(labeller, None), "127.0.0.1", 0, option="--serve", body_bytes=BODY_BYTES
        )
        url = f"http://127.0.0.1:{server.port}/"
        try:
            if screenshots is not None:
                take_screenshots(browser, url, screenshots)
            with shown(browser, url, DESK) as page:
                keys, decisions, seconds = session(page, labeller, truth)
        finally:
            server.close()
        total, count = sum(keys.counts.values()), len(truth)
        row = LabellingRow(
            frames=count,
            right_predictions=right / count,
            decisions=decisions,
            keystrokes=total,
            keystrokes_a_frame=total / count,
            seconds_a_frame=seconds / count,
            wrong_labels=wrong_labels(photographs, truth),
            **{kind: keys.counts[kind] for kind in ("enter", "digits", "letters", "moves")},
        )
    strange = sum(not landmark for landmark in truth.values())
    write_csv(out, [row], data=f"{count} frames of {data.name}, {strange} of them of anything else")
    click.echo(f"{row.keystrokes_a_frame:.2f} keystrokes and {row.seconds_a_frame:.3f} s a frame")


if __name__ == "__main__":
    run_study(main)
