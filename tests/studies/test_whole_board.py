"""The study of the emulated board, without an emulator: its events, its scripts, its table."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.studies import board_events, board_offers, whole_board
from benchmarks.studies.board_events import CAMERA, FIRST, SCENARIOS, SECOND, BoardEvents
from benchmarks.studies.board_machine import STORE, BoardLook, Machine
from benchmarks.studies.board_offers import summary, trials
from tests.lmedge.camera.kernel import Kernel, Node
from tests.locations import ROOT
from tests.studies.running import read

NAME = "d47f46eb1907" + 52 * "0" + "-cbc3f56e"
ANSWERS = {  # a part of a script, and what it prints
    "show-cursor": "s=1;i=2\n",
    "python3 - 'begin'": '{"phase": "teaching", "message": "teaching it"}\n',
    "python3 - 'end'": '{"phase": "ready", "message": "taught it"}\n',
    "run/status.json | head": f"{NAME}\ncolor squares\nwhole\n",
}


class FakeMachine(Machine):
    """A board that records what it is asked, and answers as a board would."""

    def __init__(self, folder: Path, patience: float = 0.0, stall: float = 0.0) -> None:
        super().__init__(folder, patience, stall)
        self.scripts: list[str] = []
        self.deployed: list[tuple[str, ...]] = []
        self.cut = 0
        self.lines: list[str] = []  # of the journal, one more a look
        self.release = True
        self.boots = 0

    def ssh(self, script: str, seconds: float = 60.0) -> str | None:
        self.scripts.append(script)
        if script.startswith("test -e"):
            return "" if self.release else None
        if script.startswith("journalctl -u"):
            return self.lines.pop(0) if self.lines else ""
        if "boot_id" in script and "readlink" not in script:
            self.boots += 1
            return f"{self.boots}\n"
        if "--list --json" in script:
            size = {"least": [320, 180], "most": [320, 180], "step": [0, 0], "rates": [2.0]}
            sizes = [{**size, "between": False}]
            formats = [{"code": "YUYV", "readable": True, "sizes": sizes}]
            formats.append({"code": "RGBR", "readable": False, "sizes": sizes})
            return json.dumps({"source": "/dev/video0", "name": "vivid", "formats": formats}) + "\n"
        return next((text for part, text in ANSWERS.items() if part in script), "answer\n")

    def wait_for(self, state: str = "well") -> BoardLook:
        return BoardLook(state=state, release=NAME, content="whole", seconds=1.0)

    def start_and_wait(self) -> None:
        pass

    def start(self) -> None:
        pass

    def pull_the_plug(self) -> None:
        self.cut += 1

    def deploy(self, file: Path, *words: str, board: str = "qemu") -> str:
        self.deployed.append((str(file.relative_to(self.folder)), *words, board))
        self.release = True
        return "deployed"

    def start_deployment(self, file: Path, *words: str, board: str = "qemu") -> object:
        return self.lmedge()

    def lmedge(self, *words: str) -> subprocess.Popen[str]:
        self.deployed.append(words)
        return subprocess.Popen(
            [sys.executable, "-c", "import sys; print('qemu: watching', file=sys.stderr)"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def machine(tmp_path: Path, tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    for name in ("first.tflite", "second.tflite"):
        (tmp_path / name).write_bytes(tiny_file.read_bytes())
    made = FakeMachine(tmp_path)
    monkeypatch.setattr(whole_board, "Machine", lambda *_: made)
    monkeypatch.setattr(board_events.time, "sleep", lambda _: None)
    return made


def run(machine: FakeMachine, *words: str) -> list[dict[str, str]]:
    """Run the study on the fake board and return its table."""
    folder, out = machine.folder, machine.folder / "table.csv"
    files = [str(folder / "first.tflite"), str(folder / "second.tflite")]
    done = CliRunner().invoke(
        whole_board.main, [str(folder), *files, "--cuts", "4", "--out", str(out), *words]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    return read(out)[1]


def test_all_scenarios_have_their_rows_and_each_script_is_one_of_bash(
    machine: FakeMachine,
) -> None:
    rows = run(machine)
    events = [row["event"] for row in rows]
    assert events[:4] == [FIRST, "deploy it again", "reboot", SECOND]
    assert events.count("plug pulled in service") == 2
    assert events.count("plug pulled in a deployment") == 2
    assert [row["number"] for row in rows] == [str(number + 1) for number in range(len(rows))]
    by_name = {row["event"]: row for row in rows}
    assert by_name["plug pulled in a deployment"]["ended"] == "watching"
    assert by_name["signature replaced by a wrong one, restart"]["state"] == "no frames"
    assert all(row["state"] == "well" for row in rows if "wrong one" not in row["event"])
    assert by_name["camera --list"]["ended"] == (
        "/dev/video0 vivid: 2 formats, 1 readable; 320x180"
    )
    assert ("signed/second.tflite", "--key", f"{machine.folder}/museum.pub", "qemu") in (
        machine.deployed
    )
    house = f"{machine.folder}/wheelhouse"
    assert machine.deployed[-3:] == [
        ("signed/second.tflite", "--wheelhouse", house, "bare"),
        ("first.tflite", "qemu"),
        ("second.tflite", "teaching"),
    ]
    assert by_name["a landmark taught over the page"]["ended"] == (
        "taught it; the file of before shows color squares, right"
    )
    assert events.count("plug pulled in a lesson") == 2
    assert by_name["plug pulled as the taught file takes over"]["ended"].endswith(
        "s after the first new file; the file of before; taught/ whole"
    )
    assert ("unsigned/first.tflite", "qemu") in machine.deployed
    for script in machine.scripts:
        done = subprocess.run(
            ["bash", "-n"], check=False, input=script, text=True, capture_output=True
        )
        assert done.returncode == 0, (script, done.stderr)
    before, asked = len(rows), len(machine.scripts)
    assert len(run(machine)) == before and len(machine.scripts) == asked, "nothing is left"


def test_a_scenario_alone_goes_on_behind_its_last_row(machine: FakeMachine) -> None:
    machine.release = False
    rows = run(machine, "--only", "disk")
    names = [FIRST, "collect and record", "full disk", "deploy to a full disk", "free disk"]
    assert [row["event"] for row in rows] == names, "a board without a release gets one first"
    table = machine.folder / "table.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-2]))
    assert [row["event"] for row in run(machine, "--only", "disk")] == names
    rows = run(machine, "--only", "camera", "--only", "hang")
    assert [row["event"] for row in rows[5:]] == [
        "camera away for a minute",
        "camera module removed and loaded",
        "camera process stopped",
        "keeper and camera process stopped",
    ]
    assert run(machine, "--only", "deploy")[9:][0]["event"] == "deploy it again"


def test_the_committed_table_is_continued(machine: FakeMachine) -> None:
    """The rows that were measured name events that there still are."""
    names = [row["event"] for row in read(ROOT / "benchmarks/results/whole_board.csv")[1]]
    events = BoardEvents(
        machine=machine,
        first=Path("a"),
        second=Path("b"),
        taught=Path("c"),
        rows=lambda: 0,
        release=lambda: "",
        span=lambda _: 1.0,
    )
    assert set(names) <= {event.name for name in SCENARIOS for event in events.scenario(name)}


def test_a_row_waits_for_the_lines_of_the_journal(machine: FakeMachine) -> None:
    machine.patience = 60.0
    machine.lines = ["", "one: the recording pauses\n", "1: the recording pauses\n2: collecting\n"]
    assert machine.journal("pauses", "s=1", 2) == "1: the recording pauses / 2: collecting"
    assert "--after-cursor='s=1'" in machine.scripts[-1]
    machine.patience = 0.0
    assert machine.journal("pauses", "", 2) == "no line with pauses"


def test_a_stopped_process_is_not_the_shell_that_stops_it(tmp_path: Path) -> None:
    """The command line of the shell holds the pattern too."""
    words = [sys.executable, "-c", "input()", "lmedge camera"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as stand_in:
        shown = subprocess.run(
            ["bash", "-c", f"echo $$; {CAMERA}; true"], capture_output=True, text=True, check=True
        )
        own, *found = shown.stdout.split()
        assert str(stand_in.pid) in found and own not in found
        stand_in.kill()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A store with a signed release in service and an unsigned one; systemctl records its words."""
    place, tools = tmp_path / "store", tmp_path / "tools"
    for name, files in (("aaaa", ["x.tflite"]), ("bbbb", ["x.tflite", "x.tflite.minisig"])):
        (place / "releases" / name).mkdir(parents=True)
        for file in [*files, "release.json"]:
            (place / "releases" / name / file).touch()
    (place / "current").symlink_to("releases/bbbb")
    tools.mkdir()
    for name in ("systemctl", "chown"):
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/called\n')
        (tools / name).chmod(0o755)
    return place


def bash(script: str, store: Path) -> str:
    tools = store.parent / "tools"
    return subprocess.run(
        ["bash", "-c", script.replace(STORE, str(store))],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
    ).stdout


def test_current_names_the_unsigned_release(store: Path, tmp_path: Path) -> None:
    assert bash(board_events._UNSIGNED, store) == "aaaa\n"
    assert (store / "current").readlink() == Path("releases/aaaa")
    called = (tmp_path / "called").read_text()
    assert called == "chown -h lmedge ../current\nsystemctl --no-block restart lmedge\n"
    (store / "releases" / "aaaa" / "x.tflite.minisig").touch()
    assert bash(board_events._UNSIGNED, store) == "none\n"


def test_the_signature_is_replaced_in_the_release_that_runs(
    store: Path, machine: FakeMachine
) -> None:
    events = BoardEvents(
        machine=machine,
        first=machine.folder / "first.tflite",
        second=machine.folder / "second.tflite",
        taught=machine.folder / "second.tflite",
        rows=lambda: 0,
        release=lambda: "",
        span=lambda _: 1.0,
    )
    events.forge()
    (script,) = [text for text in machine.scripts if "printf" in text]
    bash(script, store)
    text = (store / "releases" / "bbbb" / "x.tflite.minisig").read_text()
    assert text.startswith("untrusted comment: signature by lmedge\n") and text.count("\n") >= 3


def test_images_come_in_each_format_and_size_that_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Device:
        """A camera that knows YUYV alone, and gives images of the size that was set."""

        def __init__(self, *_: object) -> None:
            self.set_to: dict[int, float] = {}

        def isOpened(self) -> bool:  # noqa: N802
            return True

        def set(self, what: int, value: float) -> bool:
            self.set_to[what] = value
            return True

        def get(self, what: int) -> float:
            return 0.0

        def read(self) -> tuple[bool, np.ndarray]:
            code = int(self.set_to[cv2.CAP_PROP_FOURCC]).to_bytes(4, "little")
            width = int(self.set_to[cv2.CAP_PROP_FRAME_WIDTH]) // (1 if code == b"YUYV" else 2)
            height = int(self.set_to[cv2.CAP_PROP_FRAME_HEIGHT])
            image = np.zeros((height, width, 3), np.uint8)
            image[: height // 2] = 200
            return True, image

        def release(self) -> None:
            pass

    linux = Kernel(monkeypatch)
    sizes = {(320, 180): [(1, 25), (1, 5), (1, 1)], (640, 360): [(1, 25)], (3840, 2160): [(1, 5)]}
    path = linux.add(Node(tmp_path / "video0", formats={"YUYV": sizes, "NV12": sizes, "pRAA": {}}))
    monkeypatch.setattr("lmedge.camera.sources.names_camera", lambda text: text == str(path))
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    found = list(trials(str(path)))
    assert [(one.format, one.size, one.rate, one.good) for one in found] == [
        ("YUYV", (320, 180), 5.0, True),
        ("YUYV", (640, 360), 25.0, True),
        ("NV12", (320, 180), 5.0, False),
    ]
    lines = [json.dumps({"format": o.format, "size": o.size, "good": o.good}) for o in found]
    lines.append(json.dumps({"refused": board_offers.refusal(str(path))}))
    assert summary("\n".join(["noise", *lines])) == (
        "2 of 3 formats and sizes gave images, not NV12 320x180; "
        f"camera {path} does not offer 333x222; pass one of 320x180, 640x360, 3840x2160"
    )
    linux.nodes[path].error = errno.ENODEV
    with pytest.raises(OSError):
        list(trials(str(path)))
