"""A browser that is killed in lessons of the page: the file before or the new one, never half.

    python -m benchmarks.studies.phone_kills PHOTOGRAPHS --out phone_kills.csv
    sudo python -m benchmarks.studies.phone_kills PHOTOGRAPHS --power --out phone_power.csv

The last landmark of the folder is left out of a file that `lmedge teach` makes of the base that
comes along. A Chromium with a profile of its own is taught that landmark and killed meanwhile, with
all its processes. Another one opens the page again with the same profile.

With `--power` the profile lies on a disk of its own, an ext4 in a file. The kernel is told to write
nothing to it any more, its journal neither (EXT4_IOC_SHUTDOWN of fs/ext4/ext4.h): what is on the
way is lost, as in a power cut. Then it is mounted again.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2

from lmedge.app.folder import write_app
from lmedge.app.server import AppServer
from lmedge.errors import LmedgeError, MissingDependencyError
from lmedge.evaluation.folders import scan
from lmedge.image import read_image
from lmedge.report.csv_files import study_command, write_csv
from lmedge.teach.base import Base
from lmedge.teach.photographs import read_photographs
from lmedge.teach.teaching import Lesson, teach_file

from .common import PATH, out_option, run_study
from .phone_lessons import MOST, some
from .screenshots import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Page, Playwright

START_SECONDS = 60.0
_SHUTDOWN = 2 << 30 | 4 << 16 | ord("X") << 8 | 125  # _IOR('X', 125, __u32)
_NO_LOG = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH
_DISK_BYTES = 1 << 30  # of a file with holes
FLAGS = ("--headless=new", "--no-sandbox", "--no-first-run", "--disable-gpu", "--mute-audio")
BEGIN = """([encoded, landmark, category]) => {
  window.stored = false;
  window.lesson = (async () => {
    const images = [];
    for (const one of encoded) {
      const bytes = Uint8Array.from(atob(one), (letter) => letter.charCodeAt(0));
      images.push(await lmedge.engine.look(new Blob([bytes], { type: 'image/png' })));
    }
    await lmedge.teacher.teach(landmark, category, images, true);
    window.stored = true;
  })();
  window.lesson.catch((error) => { window.failed = String(error); });
}"""
STATE = """async () => {
  await lmedge.ready();
  const { facts, verification } = lmedge.file().loaded;
  return {
    sha256: facts.sha256, landmarks: facts.landmarks, verified: verification.identical,
    lessons: lmedge.teacher.lessons.map((one) => [one.before, one.after, one.file !== null]),
    photographs: lmedge.teacher.photographs,
  };
}"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageLesson:
    """Encoded images of a landmark, and its labels."""

    landmark: str
    category: str
    images: Sequence[bytes]

    def words(self) -> list[Any]:
        """Return the argument of BEGIN."""
        encoded = [base64.b64encode(one).decode() for one in self.images]
        return [encoded, self.landmark, self.category]


@dataclasses.dataclass(frozen=True, kw_only=True)
class KillRow:
    """One kill or cut: `moment` is the share of an undisturbed lesson after which it came.

    `stored` is true if the page had said before that the lesson is on the disk. `found` is the file
    that the page has afterwards: that of `before` or `after` the lesson. `whole` is true if its
    lessons, its photographs, and its answers for the golden images fit it.
    """

    moment: float
    stored: bool
    found: str
    whole: bool


class Profile:
    """A folder of a browser, and the end of the browser."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def settle(self) -> None:
        """Let the disk have what was written so far."""

    def end(self, group: int) -> None:
        """End a browser in the middle of what it does."""
        kill(group)

    def close(self) -> None:
        """Give the disk back."""


class ProfileOnDisk(Profile):
    """A profile on a disk of its own, whose power is cut."""

    def __init__(self, work: Path) -> None:
        """Make the disk, for which the rights of root are needed."""
        self._disk, self._place = work / "disk.img", work / "disk"
        self._place.mkdir()
        with self._disk.open("wb") as stream:
            stream.truncate(_DISK_BYTES)
        _do("mkfs.ext4", "-q", self._disk)
        self._mount()
        super().__init__(self._place / "profile")

    def settle(self) -> None:
        """Let the disk have what was written so far."""
        _do("sync", "-f", self._place)

    def end(self, group: int) -> None:
        """Write nothing any more, end the browser, and mount what the disk has."""
        place = os.open(self._place, os.O_RDONLY)
        try:
            fcntl.ioctl(place, _SHUTDOWN, struct.pack("I", _NO_LOG))
        finally:
            os.close(place)
        kill(group)
        self.close()
        self._mount()

    def close(self) -> None:
        """Unmount the disk, as soon as no process of a browser holds it any more."""
        end = time.monotonic() + START_SECONDS
        while subprocess.run(["umount", self._place], capture_output=True, check=False).returncode:
            if time.monotonic() > end:
                raise LmedgeError(f"{self._place}: is held by a process and stays mounted")
            time.sleep(0.1)

    def _mount(self) -> None:
        _do("mount", "-o", "loop", self._disk, self._place)


def _do(*words: str | Path) -> None:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LmedgeError(f"{words[0]}: {done.stderr.strip()}; --power needs root and loop devices")


@contextlib.contextmanager
def browser(playwright: Playwright, profile: Path, url: str) -> Iterator[tuple[Page, int]]:
    """Open a page in a Chromium that leads a process group; give the page and that group."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        raise MissingDependencyError("no browser: install chromium")
    port = profile / "DevToolsActivePort"
    port.unlink(missing_ok=True)
    words = [path, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    child = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + START_SECONDS
        while not (port.exists() and port.read_text("utf-8").count("\n")):
            if time.monotonic() > end or child.poll() is not None:
                raise LmedgeError(f"{path}: the browser did not start; try again")
            time.sleep(0.05)
        number = port.read_text("utf-8").splitlines()[0]
        connected = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{number}")
        page = connected.contexts[0].new_page()
        page.goto(url)
        page.evaluate("async () => lmedge.ready()")
        yield page, child.pid
    finally:
        kill(child.pid)
        child.wait()


def kill(group: int) -> None:
    """End all processes of a group at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def killed_lesson(
    playwright: Playwright, profile: Profile, url: str, lesson: PageLesson, delay: float
) -> tuple[bool, str, bool]:
    """End a browser `delay` seconds after a lesson began; return what a row says of it.

    The lesson is taken back afterwards, so that the profile is as before.
    """
    with browser(playwright, profile.folder, url) as (page, group):
        before = page.evaluate(STATE)
        profile.settle()
        page.evaluate(BEGIN, lesson.words())
        time.sleep(delay)
        stored, failed = page.evaluate("() => [window.stored, window.failed ?? null]")
        if failed is not None:
            raise LmedgeError(f"the lesson ended with: {failed}")
        profile.end(group)
    with browser(playwright, profile.folder, url) as (page, _):
        state = page.evaluate(STATE)
        if state["sha256"] == before["sha256"]:
            # photographs whose lesson is lost stay, to be exported
            same = {**state, "photographs": 0} == {**before, "photographs": 0}
            kept = state["photographs"] - before["photographs"] in (0, len(lesson.images))
            return stored, "before", bool(before["verified"] and same and kept)
        ((first, last, stored),) = state["lessons"] or [("", "", False)]
        whole = (
            (first, last, stored) == (before["sha256"], state["sha256"], True)
            and lesson.landmark in state["landmarks"]
            and state["photographs"] == before["photographs"] + len(lesson.images)
            and state["verified"]
        )
        page.evaluate("async () => lmedge.teacher.undo()")
        return stored, "after", bool(whole and page.evaluate(STATE) == before)


def whole_lesson(playwright: Playwright, profile: Path, url: str, lesson: PageLesson) -> float:
    """Return the seconds of a lesson that nothing disturbs, and take it back."""
    with browser(playwright, profile, url) as (page, _):
        began = time.monotonic()
        page.evaluate(BEGIN, lesson.words())
        page.evaluate("async () => window.lesson")
        seconds = time.monotonic() - began
        page.evaluate("async () => lmedge.teacher.undo()")
    return seconds


@contextlib.contextmanager
def site(photographs: Path, work: Path, most: int) -> Iterator[tuple[str, PageLesson]]:
    """Serve the page of a file without the last landmark; give its address and that lesson."""
    opened = Base.open(None)
    chosen = some(photographs, most, work)
    read = read_photographs(chosen, opened.backbone, threads=os.cpu_count() or 1)
    landmark = sorted(read.found.landmarks)[-1]
    before = dataclasses.replace(read, found=read.found.without(landmark))
    taught = teach_file(opened, before, Lesson(), Path("taught.tflite"))
    write_app(taught.file, work / "site", name="page", title="page")
    paths = [image.path for image in scan(chosen) if image.landmark == landmark][:MOST]
    images = [read_image(path, opened.backbone.size) for path in paths]
    encoded = [cv2.imencode(".png", image[..., ::-1])[1].tobytes() for image in images]
    category = read.found.hierarchy[landmark]
    server = AppServer(work / "site", "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.url, PageLesson(landmark=landmark, category=category, images=encoded)
    finally:
        server.shutdown()
        server.server_close()


@click.command()
@click.argument("photographs", type=PATH)
@click.option("--kills", type=click.IntRange(1), default=20, show_default=True)
@click.option("--most", type=click.IntRange(3), default=5, show_default=True, help="A landmark.")
@click.option("--power", is_flag=True, help="Cut the power of the profile's disk. Needs root.")
@click.option(
    "--longest",
    default=1.3,
    show_default=True,
    help="The latest moment, as a share of an undisturbed lesson.",
)
@click.option("--seed", default=0, show_default=True)
@out_option("phone_kills.csv")
def main(
    photographs: Path,
    kills: int,
    most: int,
    power: bool,
    longest: float,
    seed: int,
    out: Path,
) -> None:
    """Kill browsers in lessons with the PHOTOGRAPHS of a folder.

    The exit code is 1 if a file is half, or that of before although the page said it had stored.
    """
    from playwright.sync_api import sync_playwright

    rng, rows = random.Random(seed), []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        with site(photographs, work, most) as (url, lesson), sync_playwright() as playwright:
            profile = ProfileOnDisk(work) if power else Profile(work / "profile")
            try:
                seconds = whole_lesson(playwright, profile.folder, url, lesson)
                for _ in range(kills):
                    moment = rng.uniform(0.2, longest)
                    stored, found, whole = killed_lesson(
                        playwright, profile, url, lesson, moment * seconds
                    )
                    row = KillRow(moment=round(moment, 2), stored=stored, found=found, whole=whole)
                    rows.append(row)
                    click.echo(str(rows[-1]))
            finally:
                profile.close()
    command = study_command(sys.argv, {photographs: f"DATA/{photographs.name}"})
    write_csv(out, rows, data=photographs.name, command=command)
    sys.exit(not all(row.whole and (row.found == "after" or not row.stored) for row in rows))


if __name__ == "__main__":
    run_study(main)
