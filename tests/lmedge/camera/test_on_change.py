"""`--on-change`: a program for each change, without a shell, that never holds the loop up."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import pytest

from lmedge import LmedgeError
from lmedge.camera.label_state import LabelFollower
from lmedge.camera.on_change import ChangeCommand
from lmedge.cli import main
from tests import quick
from tests.in_process import lmedge
from tests.lmedge.camera.results import result_of
from tests.lmedge.camera.streams import bgr, write_video

# Writes a line of JSON for each start: the arguments, and what the environment has of ours.
WRITE = """
import json, os, sys
found = {k: v for k, v in os.environ.items() if k.startswith("LMEDGE_")}
line = json.dumps({"words": sys.argv[2:], **found})
with open(sys.argv[1], "a") as stream: stream.write(line + chr(10))
print("this is for people")
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    quick.needs_process()
    script = tmp_path / "write.py"
    script.write_text(WRITE)
    return [sys.executable, str(script), str(tmp_path / "lines")]


def lines(tmp_path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]


def test_a_change_is_another_landmark_or_none(tiny_file: Path) -> None:
    follower = LabelFollower()
    shown = [("red", True), ("red", True), ("blue", False), ("green", False), ("red", True)]
    states = [follower.update(result_of(tiny_file, name, known=known)) for name, known in shown]
    assert [state is not None for state in states] == [True, False, True, False, True]
    unknown = states[2]
    assert unknown is not None and not unknown.known
    assert (unknown.landmark, unknown.last_landmark, unknown.last_category) == ("", "red", "towers")
    assert unknown.as_dict()["landmark"] is None and unknown.as_dict()["last_landmark"] == "red"


def test_the_program_gets_the_label_and_its_words_as_they_are(
    tiny_file: Path, tmp_path: Path, program: list[str]
) -> None:
    odd = "$(touch pwned); `x` | & 'q' *"
    sink = ChangeCommand([*program, odd], environment={"LMEDGE_TOKEN": "secret"})
    sink.take(result_of(tiny_file, "red"))
    sink.close()
    (first,) = lines(tmp_path)
    assert first["words"] == [odd]
    assert "LMEDGE_TOKEN" not in first
    assert (first["LMEDGE_LANDMARK"], first["LMEDGE_CATEGORY"]) == ("red", "towers")
    assert first["LMEDGE_KNOWN"] == "1" and float(str(first["LMEDGE_PROBABILITY"])) > 0.5


def test_no_label_is_in_place_of_one_that_is_not_known(
    tiny_file: Path, tmp_path: Path, program: list[str]
) -> None:
    sink = ChangeCommand(program)
    sink.take(result_of(tiny_file, "red", known=False))
    sink.close()
    (first,) = lines(tmp_path)
    assert (first["LMEDGE_KNOWN"], first["LMEDGE_LANDMARK"]) == ("0", "")


def test_a_slow_program_holds_nothing_up_and_gets_the_newest_label(
    tiny_file: Path, tmp_path: Path
) -> None:
    quick.needs_process()
    out = tmp_path / "out"
    words = ["/bin/sh", "-c", f'sleep 0.4; echo "$LMEDGE_LANDMARK" >> {out}']
    results = [result_of(tiny_file, name) for name in ("red", "green", "blue") * 50]
    sink = ChangeCommand(words)
    sink.take(result_of(tiny_file, "grey stone"))
    time.sleep(0.2)  # it is being started
    begun = time.perf_counter()
    for result in results:
        sink.take(result)
    assert time.perf_counter() - begun < 0.2
    sink.close()
    assert out.read_text().split("\n") == ["grey stone", "blue", ""]


def test_failures_are_logged_once_and_a_hanging_program_is_killed_with_its_children(
    tiny_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick.needs_process()
    left = tmp_path / "left"
    sink = ChangeCommand(["/bin/sh", "-c", "exit 5"])
    for name in ("red", "green"):
        sink.take(result_of(tiny_file, name))
        time.sleep(0.1)
    sink.close()
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "--on-change: /bin/sh: ended with exit code 5; the labels go on"
    ]
    caplog.clear()
    hanging = ChangeCommand(["/bin/sh", "-c", f"(sleep 0.6; touch {left}) & wait"], longest=0.1)
    hanging.take(result_of(tiny_file, "red"))
    hanging.close()
    assert "was killed" in caplog.text
    time.sleep(0.7)
    assert not left.exists()


def test_a_program_that_is_not_there_is_a_mistake_before_anything_opens(tiny_file: Path) -> None:
    with pytest.raises(LmedgeError, match="no program"):
        ChangeCommand(["no-such-program"])
    for words in ("no-such-program --x", "'unfinished", ""):
        with pytest.raises(SystemExit) as caught:
            main(["camera", str(tiny_file), "--on-change", words])
        assert caught.value.code == 2, words


def test_the_command_line_starts_it_for_each_label_of_a_video(
    tiny_file: Path, tmp_path: Path, program: list[str]
) -> None:
    video = write_video(tmp_path / "in.mp4", [bgr("red")] * 5 + [bgr("blue")] * 5)
    words = ("--source", video, "--headless", "--no-smoothing", "--on-change", " ".join(program))
    done = lmedge("camera", tiny_file, *words, "--jsonl", "-")
    assert done.returncode == 0, done.stderr
    assert all(json.loads(line) for line in done.stdout.splitlines())
    assert lines(tmp_path)[-1]["LMEDGE_LANDMARK"] == "blue"
