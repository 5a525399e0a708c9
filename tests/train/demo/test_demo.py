"""The whole way in real processes: draw, teach, train, export, predict, benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmedge import Classifier, read_image
from lmedge.errors import LmedgeError
from lmedge.train.demo import command
from tests.ends import KNOWN_ENDS
from tests.locations import ROOT
from tests.processes import lmedge

# `lmedge` with few drawings of each monument and the tiny backbone, also in the processes that it
# starts. Every step is that of `lmedge demo --quick`.
FEW = """
from lmedge.train.demo import command
from lmedge.cli import main
from tests import small_run
command.TRAIN, command.VALIDATE, command.TEST = 6 * 4, 2, 2
command.python_command = lambda *words: small_run.command(*words[2:])  # without -m lmedge
values = ["network.backbone=tiny", "fine_tune.start=stem", "fine_tune.batch_norm=train"]
tiny = [word for value in values for word in ("--set", value)]
more = {"train": [*tiny, "--weights", "none"], "benchmark": ["--quick"]}
run = command.show_and_run
command.show_and_run = lambda *words: run(*words, *more.get(words[0], []))
main()
"""


def check_what_was_made(out: Path) -> dict[str, object]:
    for name in ("contact-sheet.png", "annotated-frame.png"):
        assert read_image(out / name).std() > 10
    lines = [json.loads(line) for line in (out / "clip.jsonl").read_text("utf-8").splitlines()]
    assert [line["frame"] for line in lines] == list(range(150))
    clip = cv2.VideoCapture(str(out / "clip-annotated.mp4"))
    assert clip.get(cv2.CAP_PROP_FRAME_COUNT) == 150
    assert not list(out.glob(".*")), "nothing half-written is left"
    check_what_was_taught(out)
    report = json.loads((out / "report.json").read_text("utf-8"))
    classifier = Classifier(out / "monuments.tflite")
    assert report["file"]["sha256"] == classifier.model.sha256
    floats = {key: n for key, n in classifier.model.operators.items() if key[1] == "float32"}
    assert floats == {(name, "float32"): count for name, count in KNOWN_ENDS.items()}
    assert (out / "run" / "plots" / "curves.png").exists()
    return report


def check_what_was_taught(out: Path) -> None:
    """Classify drawings with the file that ten others of each monument taught."""
    taught = Classifier(out / "taught.tflite")
    assert len(list((out / "few").glob("*/*/*.jpg"))) == 12 * 10
    unseen = sorted((out / "photographs" / "test").glob("*/*/*.jpg"))
    right = [taught.classify(read_image(path)).landmark == path.parent.name for path in unseen]
    assert len(right) >= 24
    assert sum(right) > 0.9 * len(right)


@pytest.mark.timeout(900)
def test_a_quick_demo_goes_the_whole_way(tmp_path: Path) -> None:
    words = ["demo", "--quick", "--out", str(tmp_path / "demo")]
    done = subprocess.run(
        [sys.executable, "-c", FEW, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check_what_was_made(tmp_path / "demo")
    # The part of seconds comes first.
    assert done.stdout.index("$ lmedge teach") < done.stdout.index("$ lmedge train")
    again = lmedge("demo", "--quick", "--out", tmp_path / "demo")
    assert again.returncode == 1
    assert "holds a demo already" in again.stderr


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_demo_recognises_drawings_it_has_not_seen(tmp_path: Path) -> None:
    done = lmedge("demo", "--out", tmp_path / "demo", seconds=3600)
    assert done.returncode == 0, done.stderr
    report = check_what_was_made(tmp_path / "demo")
    assert report["accuracy"]["landmark"]["macro_f1"] >= 0.9


def test_a_clip_that_a_full_disk_cut_is_one_line(tmp_path: Path) -> None:
    """OpenCV writes what fits and reports nothing."""
    clip, cut = tmp_path / "clip.mp4", tmp_path / "cut.mp4"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), 15, (64, 48))
    for number in range(command.CLIP_FRAMES):
        writer.write(np.full((48, 64, 3), number, np.uint8))
    writer.release()
    command.check_clip(clip, tmp_path / "shown.mp4")
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(LmedgeError, match=r"cannot write .*shown.mp4: 0 of 150 frames arrived"):
        command.check_clip(cut, tmp_path / "shown.mp4")
