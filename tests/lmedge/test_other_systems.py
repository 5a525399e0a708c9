"""Windows and macOS: modules that only some systems have are not needed to start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

WITHOUT = "import sys; sys.modules['fcntl'] = sys.modules['resource'] = None\n"
IMPORT_ALL = """
import importlib, pkgutil
import lmedge, lmedge.benchmarks
apart = ("lmedge.train", "lmedge.export", "lmedge.benchmarks.studies", "lmedge.__main__")
for package in (lmedge, lmedge.benchmarks):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith(apart):
            importlib.import_module(module.name)
import lmedge.train.command, lmedge.train.compare.command, lmedge.export.command
"""


def run(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_module_of_the_device_starts_without_fcntl_and_resource() -> None:
    process = run(IMPORT_ALL)
    assert process.returncode == 0, process.stderr


def test_benchmark_leaves_out_what_the_system_does_not_tell(
    tiny_file: Path, tmp_path: Path
) -> None:
    words = ("benchmark", tiny_file, "--runs", 5, "--out", tmp_path)
    process = run("from lmedge.cli import main; main()", *words)
    assert process.returncode == 0, process.stderr
    assert "at the peak" not in process.stdout
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert report["latency"]["peak_mb"] is None
    assert "MB at the peak" not in (tmp_path / "report.md").read_text("utf-8")
    assert "at the peak" not in (tmp_path / "report.html").read_text("utf-8")
