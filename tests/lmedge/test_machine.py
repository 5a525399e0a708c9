"""Memory of a process, in bytes on every system."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lmedge import machine

LINUX = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")


@LINUX
def test_memory_that_is_used_is_counted() -> None:
    before = machine.resident_bytes()
    held = b"1" * (64 << 20)
    after, peak, space = (
        machine.resident_bytes(),
        machine.peak_bytes(),
        machine.address_space_bytes(),
    )
    assert before is not None
    assert after is not None
    assert peak is not None
    assert space is not None
    assert after - before > 0.9 * len(held)
    assert peak > 0.9 * after
    assert space > after


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_peak_of_another_process_is_read_in_the_unit_of_the_system(
    system: str, unit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert machine.peak_bytes(SimpleNamespace(ru_maxrss=5000)) == 5000 * unit


def test_a_system_that_does_not_tell_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_read", lambda path: "")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert machine.resident_bytes() is None
    assert machine.address_space_bytes() is None
    assert machine.peak_bytes() is None
