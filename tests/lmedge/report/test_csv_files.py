"""CSV files with their command, machine and data."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path

from lmedge.report import csv_files as results
from tests.locations import ROOT


def test_a_package_is_a_study_too() -> None:
    path = str(ROOT / "benchmarks" / "studies" / "peers" / "__main__.py")
    command = results.study_command([path, "a b", "runs/x"], {Path("runs/x"): "RUN"})
    assert command == "python -m benchmarks.studies.peers 'a b' RUN"


def test_rows_and_mappings_are_written_alike(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Row:
        name: str
        share: float
        rest: int | None

    path = tmp_path / "new" / "x.csv"
    results.write_csv(path, [Row("a, b", 1 / 3, None)], data="drawings", command="python -m x")
    written = path.read_text("utf-8")
    assert written.splitlines()[0] == "# command: python -m x"
    assert written.splitlines()[2:] == ["# data: drawings", "name,share,rest", '"a, b",0.33333,']
    mappings = [{"name": "a, b", "share": 1 / 3}, {"rest": 1}]
    results.write_csv(path, mappings, data="drawings", command="python -m x")
    assert path.read_text("utf-8") == written + ",,1\n"


def test_a_negative_number_is_no_formula(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    row = {"gain": -0.123456, "text": "-1+1", "whole": 12.0}
    results.write_csv(path, [row], data="drawings", command="python -m x")
    assert path.read_text("utf-8").splitlines()[-1] == "-0.12346,'-1+1,12"


def test_no_host_is_named() -> None:

    assert platform.node() not in results.machine_line().split()
