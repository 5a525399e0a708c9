"""The command as a process of its own, as people run it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmedge.cli import main
from lmedge.writers import held
from tests.in_process import lmedge
from tests.lmedge.camera.streams import bgr, count_frames, mjpeg_server, write_video
from tests.processes import assert_refused

ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name not in {"DISPLAY", "WAYLAND_DISPLAY"}
}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lmedge", *map(str, arguments)]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=60,
        env={**ENVIRONMENT, **environment},
        check=False,
    )


def test_a_video_with_json_lines_and_a_recording(tiny_file: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "in.mp4", [bgr("red")] * 15 + [bgr("blue")] * 15)
    target, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    done = run(
        "camera",
        tiny_file,
        "--source",
        video,
        "--headless",
        "--jsonl",
        lines,
        "--record",
        target,
        "--smoothing",
        0,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    objects = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [entry["landmark"] for entry in objects] == ["red"] * 15 + ["blue"] * 15
    assert count_frames(target) == 30
    assert "30 frames in" in done.stderr and "end of the source" in done.stderr
    assert str(target) in done.stderr


def test_a_folder_prints_a_line_a_image_and_quiet_is_quiet(tiny_file: Path, tmp_path: Path) -> None:
    for name in ("red", "blue"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), bgr(name))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 nothing more")
    done = run("camera", tiny_file, "--source", tmp_path, "--headless")
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["blue.png", "blue"],
        ["red.png", "red"],
    ]
    assert "broken.jpg" in done.stderr and "1 skipped" in done.stderr
    quiet = run("-q", "camera", tiny_file, "--source", tmp_path, "--headless", "--frames", 1)
    assert len(quiet.stdout.splitlines()) == 1 and quiet.stderr == ""


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("63", "camera 63 does not open"),
        ("{}/text.mp4", "not a video"),
        ("{}/absent.mp4", "No such file"),
        ("http://127.0.0.1:9/x", "no connection to 127.0.0.1:9"),
    ],
)
def test_a_source_that_does_not_open_is_one_line_and_exit_code_7(
    tiny_file: Path, tmp_path: Path, source: str, says: str
) -> None:
    (tmp_path / "text.mp4").write_text("words\n" * 100)
    target = tmp_path / "out.mp4"
    done = run(
        "camera", tiny_file, "--source", source.format(tmp_path), "--headless", "--record", target
    )
    assert done.returncode == 7
    assert says in done.stderr and len(done.stderr.splitlines()) == 1
    assert done.stdout == "" and not target.exists()


def test_other_mistakes(tiny_file: Path, tmp_path: Path) -> None:
    window = run("camera", tiny_file)
    assert window.returncode == 1 and "--headless" in window.stderr
    assert len(window.stderr.splitlines()) == 1
    assert run("camera", tiny_file, "--headless", "--record", "a.avi").returncode == 2
    absent = run("camera", tmp_path / "absent.tflite", "--headless", "--source", tmp_path)
    assert absent.returncode == 4


def test_a_file_has_one_writer_and_is_not_read_meanwhile(tiny_file: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "walk.mp4", [bgr("red")] * 3)
    before = video.read_bytes()
    words = ["camera", tiny_file, "--headless", "--source", video]
    for option, name in (("--record", "a.mp4"), ("--jsonl", "a.jsonl")):
        with held(tmp_path / name):
            process = lmedge(*words, option, tmp_path / name)
        assert_refused(process, 1, f"{name}: another lmedge is writing to it")
        process = lmedge(*words, option, video)
        assert_refused(process, 1, "walk.mp4: the command reads this file too")
    both = ["--jsonl", tmp_path / "x.mp4", "--record", tmp_path / "x.mp4"]
    assert_refused(lmedge(*words, *both), 1, "x.mp4: named for two outputs")
    assert video.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mp4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_cleanly_with_a_playable_recording(
    tiny_file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    target = tmp_path / "live.mp4"
    with mjpeg_server() as server:
        process = subprocess.Popen(
            command(
                "camera",
                tiny_file,
                "--source",
                server.url,
                "--headless",
                "--jsonl",
                "-",
                "--record",
                target,
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(12)]
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    objects = [json.loads(line) for line in lines + rest.splitlines()]
    assert {entry["landmark"] for entry in objects} == {"green"}
    assert count_frames(target) == len(objects) >= 12
    assert "stopped" in errors


def test_a_stream_given_up_is_exit_code_11_and_keeps_the_recording(
    tiny_file: Path, tmp_path: Path
) -> None:
    target, lines = tmp_path / "kept.mp4", tmp_path / "kept.jsonl"
    with mjpeg_server() as server:
        process = subprocess.Popen(
            command(
                "camera",
                tiny_file,
                "--source",
                server.url,
                "--headless",
                "--jsonl",
                lines,
                "--record",
                target,
                "--give-up",
                1,
            ),
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        wait_for(lambda: lines.exists() and lines.read_text().count("\n") > 10)
        server.die()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 11
    assert count_frames(target) == len(lines.read_text().splitlines()) > 10
    assert "gave no frames" in errors.splitlines()[-1]


def test_a_process_that_is_killed_leaves_a_recording_up_to_the_last_seconds(
    tiny_file: Path, tmp_path: Path
) -> None:
    target, lines = tmp_path / "killed.mp4", tmp_path / "killed.jsonl"
    with mjpeg_server() as server:
        process = subprocess.Popen(
            command(
                "camera",
                tiny_file,
                "--source",
                server.url,
                "--headless",
                "--jsonl",
                lines,
                "--record",
                target,
            ),
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        wait_for(lambda: lines.exists() and lines.read_text().count("\n") > 150)
        process.kill()
        process.wait(10)
    last = [json.loads(line)["time"] for line in lines.read_text().splitlines()][-1]
    capture = cv2.VideoCapture(str(target))
    played = 0.0
    while capture.read()[0]:
        played = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    capture.release()
    assert last > 2 and last - played < 2


def test_a_full_recording_disk_does_not_end_the_labels(tiny_file: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 240, 320, 3), np.uint8)
    video = write_video(tmp_path / "noise.mp4", list(noise))
    words = command("camera", tiny_file, "--source", video, "--headless", "--jsonl", "lines.jsonl")
    whole = subprocess.run(
        ["bash", "-c", f"ulimit -f 16; {shlex.join([*words, '--record', 'out.mp4'])}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert whole.returncode == 1
    assert "Traceback" not in whole.stderr
    assert whole.stderr.splitlines()[-1].startswith("lmedge: cannot write out.mp4: ")
    lines = (tmp_path / "lines.jsonl").read_text("utf-8").splitlines()
    assert len([json.loads(line) for line in lines]) == len(noise)
    assert not (tmp_path / "out.mp4").exists()  # not one fragment was whole


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_wrong_values_are_mistakes_in_the_command_line(tiny_file: Path) -> None:
    for option, value in (
        ("--size", "big"),
        ("--size", "0x9"),
        ("--roi", "0,0,2,1"),
        ("--roi", "1,2"),
        ("--rotate", "45"),
        ("--preview", "x:y"),
        ("--preview", "a:99999"),
        ("--give-up", "0"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["camera", str(tiny_file), option, value])
        assert caught.value.code == 2, option


def test_a_preview_needs_no_display_and_prints_its_address(tiny_file: Path) -> None:
    token = "a-word-of-the-owner"
    with mjpeg_server() as server:
        process = subprocess.Popen(
            command(
                "camera",
                tiny_file,
                "--source",
                server.url,
                "--preview",
                "0.0.0.0:0",
                "--jsonl",
                "-",
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, "LMEDGE_TOKEN": token},
        )
        assert process.stdout is not None and process.stderr is not None
        assert "no window" in process.stderr.readline()
        line = process.stderr.readline()
        assert token not in line  # a service's log is read by others
        port = line.split("/?token=...")[0].rpartition(":")[2]
        process.stdout.readline()
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/?token={token}", timeout=10)
        with page:
            assert page.status == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors


def test_list_needs_no_file() -> None:
    done = run("camera", "--list")
    assert done.returncode == 0 and done.stdout


def test_a_reader_that_leaves_the_pipe_ends_the_command(tiny_file: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "in.mp4", [bgr("red", 48, 64)] * 2000)
    process = subprocess.Popen(
        command("-q", "camera", tiny_file, "--source", video, "--headless", "--jsonl", "-"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    process.wait(30)
    assert errors == ""


@pytest.mark.parametrize("token", ["", "short"])
def test_a_short_token_is_refused_before_the_camera_is_asked(tiny_file: Path, token: str) -> None:
    words = ("camera", tiny_file, "--source", "63", "--headless", "--preview", "0.0.0.0:0")
    for done in (run(*words, LMEDGE_TOKEN=token), run("-q", *words, "--token", token)):
        assert done.returncode == 1
        assert "16 characters" in done.stderr and "camera 63" not in done.stderr
