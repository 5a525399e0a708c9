"""Conditions: read from a system that the test writes."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from lmedge.benchmarks.conditions import Conditions, Moment


def system(root: Path, **files: str) -> Path:
    """Write files below `root`; two underscores in a name are a slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def moment(**changed: object) -> Moment:
    base = Moment(
        governor="performance",
        frequency_mhz=2400.0,
        temperature_c=50.0,
        throttled=0,
        busy_seconds=100.0,
        own_seconds=10.0,
        seconds=1000.0,
    )
    return dataclasses.replace(base, **changed)  # type: ignore[arg-type]


def test_a_board_that_tells_everything(tmp_path: Path) -> None:
    cpu = "sys__devices__system__cpu__cpu0"
    files = {
        f"{cpu}__cpufreq__scaling_governor": "ondemand\n",
        f"{cpu}__cpufreq__scaling_cur_freq": "1800000\n",
        "sys__class__thermal__thermal_zone0__temp": "48312\n",
        "sys__class__thermal__thermal_zone1__temp": "61000\n",
        "sys__devices__platform__soc__soc:firmware__get_throttled": "50000\n",
        "proc__stat": "cpu  100 0 50 800 20 5 5 0 0 0\ncpu0 1 2 3\n",
    }
    now = Moment.now(system(tmp_path, **files))
    assert (now.governor, now.frequency_mhz, now.temperature_c) == ("ondemand", 1800.0, 61.0)
    assert now.throttled == 2  # bits 16 and 18: it had too little power, and was throttled
    assert now.busy_seconds == pytest.approx(160 / os.sysconf("SC_CLK_TCK"))


def test_a_system_that_tells_nothing(tmp_path: Path) -> None:
    now = Moment.now(system(tmp_path, proc__stat="nonsense"))
    assert (now.governor, now.frequency_mhz, now.temperature_c) == (None, None, None)
    assert now.throttled is now.busy_seconds is None
    conditions = Conditions(before=now, after=now)
    assert conditions.others is None
    assert conditions.doubts(1.2, 2) == []


def test_reasons_to_doubt() -> None:
    before = moment()
    alone = moment(seconds=1010.0, busy_seconds=110.5, own_seconds=20.0)
    assert Conditions(before=before, after=alone).others == pytest.approx(0.05)
    assert Conditions(before=before, after=alone).doubts(1.9, 2) == []
    assert "99th percentile" in Conditions(before=before, after=alone).doubts(2.1, 2)[0]
    busy = dataclasses.replace(alone, busy_seconds=119.0)
    assert "0.9 of" in Conditions(before=before, after=busy).doubts(1.0, 2)[0]
    hot = dataclasses.replace(alone, throttled=3)
    assert Conditions(before=before, after=hot).doubts(1.0, 2) == ["the processor was throttled"]
