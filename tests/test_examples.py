"""The programs of examples/ run as a user starts them, and print what they promise."""

from __future__ import annotations

import ast
import csv
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests import tiny_file as tiny
from tests.locations import ROOT

EXAMPLES = ROOT / "examples"
# What examples may import from lmedge: its public surface.
SURFACE = {"lmedge", "lmedge.camera", "lmedge.evaluation", "lmedge.errors"}


def run(name: str, *arguments: object, cwd: Path) -> list[str]:
    """Run one example in a process of its own and return the lines it printed."""
    process = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def write(path: Path, landmark: str) -> Path:
    assert cv2.imwrite(str(path), tiny.image(landmark)[..., ::-1])
    return path


def test_classify_frame(tiny_file: Path, tmp_path: Path) -> None:
    lines = run("classify_frame.py", tiny_file, write(tmp_path / "a.png", "blue"), cwd=tmp_path)
    assert len(lines) == 3
    assert lines[0].split() == [lines[0].split()[0], "blue", "(domes)"]
    shares = [float(line.split("%")[0]) for line in lines]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 50


def test_camera_sink(tiny_file: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for landmark in ["red"] * 20 + ["green"] * 10:
        writer.write(tiny.image(landmark)[..., ::-1].copy())
    writer.release()
    *counts, last = run("camera_sink.py", tiny_file, film, cwd=tmp_path)
    frames = {line.split()[1]: int(line.split()[0]) for line in counts}
    assert sum(frames.values()) == 30
    assert set(frames) == {"red", "green"}
    assert frames["red"] >= 20  # a steady label stays at least half a second
    assert last == "30 frames; end of the source"


def test_batch_folder(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    (photographs / "domes" / "blue" / "damaged.jpg").write_bytes(b"\xff\xd8\xff")
    table = tmp_path / "labels.csv"
    lines = run("batch_folder.py", tiny_file, photographs, table, cwd=tmp_path)
    assert lines == [f"8 of 9 images -> {table}"]
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    for row in rows:
        path = Path(row["path"])
        assert (row["category"], row["landmark"]) == (path.parts[-3], path.parts[-2])


def test_read_card(tiny_file: Path, tmp_path: Path) -> None:
    lines = run("read_card.py", tiny_file, cwd=tmp_path)
    assert "input       32 x 32 pixels, uint8, crop" in lines
    labels = [line.removeprefix("label       ") for line in lines if line.startswith("label")]
    assert labels == ["blue  (domes)", "green  (towers)", "grey stone  (domes)", "red  (towers)"]
    assert any(line.startswith("operators") and "int8" in line for line in lines)


def test_compare_files(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    lines = run("compare_files.py", tiny_file, tiny_file, photographs, cwd=tmp_path)
    assert lines[0] == "same landmark for 8 of 8 images"
    assert lines[1].startswith("median ms: ")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_uses_the_public_surface(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 55
    tree = ast.parse(text)
    assert f"python examples/{path.name} " in (ast.get_docstring(tree) or "")
    for node in ast.walk(tree):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            assert not module.startswith("lmedge") or module in SURFACE, module
