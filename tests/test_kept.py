"""What is kept between tests: never older than a file that it was made from."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import kept


class Maker:
    """Stands in for the process that makes: copies `code.py` of a checkout, and names it."""

    def __init__(self, checkout: Path) -> None:
        self.code = checkout / "code.py"
        self.write("1", age=60)
        self.edit: str | None = None
        self.times = 0

    def write(self, text: str, age: float = 0) -> None:
        self.code.write_text(text)
        when = self.code.stat().st_mtime - age
        os.utime(self.code, (when, when))

    def run(self, words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.times += 1
        read = self.code.read_bytes()
        (Path(words[-1]) / "copy").write_bytes(read)
        if self.edit is not None:
            self.write(self.edit, age=-60)
        found = {"code.py": hashlib.sha256(self.code.read_bytes()).hexdigest()}
        return subprocess.CompletedProcess(words, 0, json.dumps(found), "")


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    maker = Maker(tmp_path)
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    monkeypatch.setattr(kept, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(subprocess, "run", maker.run)
    return maker


def get() -> Path:
    """Ask as a new process does, which remembers nothing."""
    return kept.folder.__wrapped__("copy")


def test_made_once_while_nothing_changes(maker: Maker) -> None:
    first = get()
    assert get() == first
    assert (first / "copy").read_text() == "1"
    assert maker.times == 1


def test_made_again_after_an_edit(maker: Maker) -> None:
    first = get()
    maker.write("2")
    assert (get() / "copy").read_text() == "2"
    assert (first / "copy").read_text() == "1"  # another call may still read it


def test_made_again_after_a_test_changed_it(maker: Maker) -> None:
    (get() / "copy").write_text("spoilt")
    assert (get() / "copy").read_text() == "1"


def test_an_edit_while_it_is_made_counts(maker: Maker) -> None:
    maker.edit = "2"
    get()
    maker.edit = None
    assert (get() / "copy").read_text() == "2"
    assert maker.times == 2


def test_old_ones_are_removed(maker: Maker) -> None:
    for number in range(6):
        maker.write(str(number), age=60)
        get()
    assert len([path for path in kept.KEPT.iterdir() if path.is_dir()]) == 3
