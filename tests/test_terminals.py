"""All commands at a terminal, with names that would steer it: nothing of them gets through."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import pytest

from lmedge.harmless import harmless_lines
from lmedge.metadata import Card, pack
from lmedge.taxonomy import Taxonomy
from tests import small_run, tiny_backbone, tiny_file
from tests.locations import ROOT, SHARED, needs

HOSTILE = SHARED / "hostile"
MARK = "38;5;123"  # a colour that lmedge never uses
FORGED = "lmedge: forged"
STEERING = (
    f"\x1b[{MARK}m\x1b]0;title\x07\x1b[2J\x1b[1A\x9b2K\x1bP\x90\x7f\u202ederf\u2066\u2028\n{FORGED}"
)
# Taxonomy refuses a label with control characters or line separators; all else may be in one.
LABEL = f"\u202ederf\u2066{FORGED}"
# All that click and rich send to a terminal: colours, the cursor of a progress bar, line ends.
OURS = re.compile(r"\x1b\[[\d;]*m|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A|\r")
NAMES = {
    "blue": f"blue {LABEL}",
    "green": "<script>alert(1)</script>|<img src=x>",
    "grey stone": "=cmd|'calc'!A0",
    "red": "@SUM(1+1)*cmd",
}
CATEGORIES = {"towers": "+towers\u2066", "domes": "-domes\u202e"}


def at_terminal(
    words: Sequence[object], cwd: Path, seconds: float = 60, **environment: str
) -> tuple[int, str]:
    """Run a command with a terminal as its output and error; return its code and what it wrote."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(word) for word in words],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "300", **environment},
    )
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:  # the end of a terminal
        pass
    finally:
        os.close(ours)
        process.wait(seconds)
    return process.returncode, written.decode("utf-8")


def assert_harmless(text: str) -> None:
    assert MARK not in re.findall(r"\x1b\[([\d;]*)m", text)
    plain = OURS.sub("", text)
    assert plain == harmless_lines(plain), ascii(text)
    assert not any(line.strip().startswith(FORGED) for line in plain.splitlines()), ascii(text)
    assert "Traceback" not in plain, plain


def lmedge(*words: object, cwd: Path, code: int = 0, **environment: str) -> str:
    command = [sys.executable, "-m", "lmedge", *words]
    found, text = at_terminal(command, cwd, **environment)
    assert_harmless(text)
    assert found == code, text
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file, images and labelled photographs whose names are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    hierarchy = [
        (CATEGORIES[tiny_file.TAXONOMY.category_of(name)], NAMES[name])
        for name in tiny_file.TAXONOMY.landmarks
    ]
    card = Card(
        name=STEERING,
        description=STEERING,
        version=STEERING,
        taxonomy=Taxonomy.from_pairs(hierarchy),
        size=tiny_file.SIZE,
        info={
            "preprocessing": {"size": tiny_file.SIZE, "resize": "crop"},
            "provenance": {"strategy": STEERING},
            "gate": {"problems": [STEERING]},
            "lmedge": STEERING,
            "format": STEERING,
        },
    )
    (folder / f"{STEERING}.tflite").write_bytes(pack(tiny_file.graph(), card))
    (folder / "images").mkdir()
    for landmark in tiny_file.COLOURS:
        bgr = tiny_file.image(landmark)[..., ::-1]
        done, encoded = cv2.imencode(".png", bgr)
        assert done
        for name in (f"{landmark}{STEERING}.png", f"-{landmark}.png"):
            (folder / "images" / name).write_bytes(encoded.tobytes())
        inside = folder / "data" / f"c{LABEL}" / f"={landmark}{LABEL}"
        inside.mkdir(parents=True)
        for number in range(3):
            small_run.save(
                inside / f"{number}{STEERING}.png",
                small_run.draw(tiny_file.COLOURS[landmark], number),
            )
    (folder / "images" / f"broken{STEERING}.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return folder / f"{STEERING}.tflite"


class TestCommandsOfTheDevice:
    def test_inspect_and_labels(self, file: Path, folder: Path) -> None:
        lmedge("inspect", file, cwd=folder)
        text = lmedge("inspect", file, "--json", cwd=folder)
        assert json.loads(text)["info"]["provenance"]["strategy"] == STEERING
        assert "<script>" in lmedge("labels", file, cwd=folder)
        hierarchy = json.loads(lmedge("labels", file, "--json", cwd=folder))
        assert set(hierarchy) == set(NAMES.values())

    @pytest.mark.parametrize("style", [(), ("--json",), ("--csv",), ("--top", 4)])
    def test_predict(self, file: Path, folder: Path, style: tuple[object, ...]) -> None:
        text = lmedge("predict", file, "images", *style, cwd=folder, code=3)
        assert "skipped: " in text
        if style == ("--csv",):
            lines = [line for line in text.splitlines() if line.startswith(("images", "'"))]
            rows = list(csv.reader(lines))
            assert len(rows) == 8
            assert not any(cell.startswith(tuple("=+-@")) for row in rows for cell in row)

    def test_camera(self, file: Path, folder: Path) -> None:
        words = ("camera", file, "--source", "images", "--headless", "--no-smoothing")
        assert "<script>" in lmedge(*words, cwd=folder)
        text = lmedge(*words, "--jsonl", "-", cwd=folder)
        found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        assert {line["landmark"] for line in found} == set(NAMES.values())

    def test_copies(self, file: Path, folder: Path, tmp_path: Path) -> None:
        """A label that is no name of a folder is refused before the first copy."""
        words = ("predict", file, "images", "--copy-to", tmp_path / "sorted")
        lmedge(*words, cwd=folder, code=3)
        assert not (tmp_path / "sorted").exists()

    def test_doctor(self, folder: Path) -> None:
        code, text = at_terminal(
            [sys.executable, "-m", "lmedge", "doctor"], folder, DISPLAY=STEERING
        )
        assert_harmless(text)
        assert code in (0, 1)


class TestReports:
    @pytest.fixture(scope="class")
    def report(self, file: Path, folder: Path) -> Path:
        """The report of a benchmark on photographs of hostile names."""
        data = folder / "labelled"
        for name in tiny_file.COLOURS:
            # The labels as folders: a slash cannot be in one, so that landmark is left out.
            category = CATEGORIES[tiny_file.TAXONOMY.category_of(name)]
            if "/" in NAMES[name]:
                continue
            inside = data / category / NAMES[name]
            inside.mkdir(parents=True)
            wrong = "red" if name == "blue" else name
            bgr = tiny_file.image(wrong)[..., ::-1]
            small_run.save(inside / f"={STEERING}<b>.png", bgr[..., ::-1])
        words = ("benchmark", file, "--data", data, "--quick", "--out", "report")
        lmedge(*words, cwd=folder)
        return folder / "report"

    def test_pages(self, report: Path) -> None:
        for name in ("report.md", "report.html"):
            text = (report / name).read_text("utf-8")
            assert text == harmless_lines(text), name
            assert "<script>alert" not in text
            assert "<b>.png" not in text
        markdown = (report / "report.md").read_text("utf-8")
        assert "<" not in markdown
        assert "cmd\\|" in markdown

    def test_tables(self, report: Path) -> None:
        with (report / "report.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))
        texts = [cell for row in rows for cell in row]
        assert "'@SUM(1+1)*cmd" in texts
        for cell in texts:
            assert cell == harmless_lines(cell)
            assert not re.match(r"[=+@\t\r]|-\D", cell), cell

    def test_json(self, report: Path) -> None:
        text = (report / "report.json").read_text("utf-8")
        assert text == harmless_lines(text)
        assert (
            STEERING
            in json.dumps(json.loads(text), ensure_ascii=False)
            .encode()
            .decode("unicode_escape", "ignore")
            or NAMES["blue"] in json.loads(text)["accuracy"]["landmark"]["classes"]
        )


class TestCommandsOfTheHost:
    def test_data(self, folder: Path, tmp_path: Path) -> None:
        text = lmedge("data", "check", "data", "--report", tmp_path / "r", cwd=folder)
        assert "12 images of 4 landmarks" in text
        split = tmp_path / "split.csv"
        lmedge("data", "split", "data", "--out", split, cwd=folder)
        with split.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))
        assert all(row[2].startswith("'=") for row in rows[1:])

    @pytest.mark.parametrize(
        "words",
        [
            ("train", STEERING),
            ("evaluate", STEERING),
            ("export", STEERING),
            ("compare", STEERING),
            ("data", "check", STEERING),
            ("predict", STEERING, STEERING),
            ("camera", STEERING),
            ("benchmark", STEERING),
            ("inspect", STEERING),
            ("train", "data", "--recipe", STEERING),
            (STEERING,),
            ("predict", f"--{STEERING}"),
            ("benchmark", "x.tflite", "--host", STEERING),
        ],
    )
    def test_refusals(self, folder: Path, words: tuple[str, ...]) -> None:
        code, text = at_terminal([sys.executable, "-m", "lmedge", *words], folder)
        assert_harmless(text)
        assert code

    @pytest.mark.slow
    def test_from_photographs_to_a_file(self, folder: Path, tmp_path: Path) -> None:
        """Train, evaluate and export with hostile names, on the tiny backbone."""
        with tiny_backbone.installed():
            weights = tiny_backbone.save_stock_weights(tmp_path / "tiny.h5")
        data = tmp_path / f"d{STEERING}"
        shutil.copytree(folder / "data", data)
        out = tmp_path / f"run{STEERING}"
        environment = {"PYTHONPATH": str(ROOT), "LMEDGE_CACHE": str(tmp_path / "cache")}
        for words in (
            ("train", data, "--out", out, "--weights", weights, *small_run.options()),
            ("evaluate", out, "--part", "train"),
            ("export", out, "--int8", "--force"),
        ):
            code, text = at_terminal(small_run.command(*words), tmp_path, 300, **environment)
            assert_harmless(text)
            assert code == 0, text
        log = (out / "train.log").read_text("utf-8")
        assert log == harmless_lines(log)


@needs(HOSTILE)
@pytest.mark.parametrize("name", ["osc", "html", "formula"])
def test_hostile_files(name: str, tmp_path: Path) -> None:
    """The files of the collection: every command that takes one, whatever it decides."""
    given = HOSTILE / f"{name}.tflite"
    for words in (
        ("inspect", given),
        ("inspect", given, "--json"),
        ("labels", given),
        ("predict", given, HOSTILE / "white.png"),
        ("predict", given, HOSTILE / "white.png", "--csv"),
        ("camera", given, "--source", HOSTILE / "white.png", "--headless"),
    ):
        _, text = at_terminal([sys.executable, "-m", "lmedge", *words], tmp_path)
        assert_harmless(text)
