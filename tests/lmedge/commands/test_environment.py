"""An environment with nothing in it: services have no home folder, and containers no users."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.lmedge.camera.streams import bgr

# A user without an entry in the list of users, for the interpreter of the command.
NOBODY = (
    "import pwd\ndef getpwuid(_):\n    raise KeyError('uid not found')\npwd.getpwuid = getpwuid\n"
)


def run(folder: Path, environment: dict[str, str], *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "lmedge", *map(str, words)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("home", ["none", "read-only"])
def test_the_device_works_without_a_home_and_without_an_environment(
    home: str, tiny_file: Path, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), bgr("red"))
    if home == "none":
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(NOBODY)
        environment = {"PYTHONPATH": str(tmp_path / "site")}
    else:
        environment = {"HOME": "/proc", "LMEDGE_CACHE": "/proc/cache"}  # read-only for root too
    commands = (
        ["predict", tiny_file, "a.png"],
        ["camera", tiny_file, "--headless", "--source", "a.png"],
        ["benchmark", tiny_file, "--runs", 2],
    )
    for words in commands:
        done = run(tmp_path, environment, *words)
        assert done.returncode == 0, done.stderr
        noise = [line for line in done.stderr.splitlines() if "atplotlib" in line or "HOME" in line]
        assert not noise and "Traceback" not in done.stderr, done.stderr
    doctor = run(tmp_path, environment, "doctor")
    assert doctor.returncode == 0 and "Traceback" not in doctor.stdout + doctor.stderr
    assert ("no home folder" if home == "none" else "/proc/cache") in doctor.stdout
