"""The studies of export report a fault in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmedge.errors import RunError
from tests.locations import ROOT


@pytest.mark.parametrize("script", ["stage_times", "equality"])
def test_a_folder_that_is_no_run(script: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    images = ["empty"] if script == "equality" else []
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            f"benchmarks.studies.{script}",
            "empty",
            *images,
            "--out",
            "out.csv",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert done.returncode == RunError.exit_code, done.stderr
    assert "Traceback" not in done.stderr
    assert "empty is not a run folder" in done.stderr
    assert not (tmp_path / "out.csv").exists()
