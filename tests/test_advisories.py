"""`make audit` with and without a connection."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import advisories

CLEAN = {"dependencies": [{"name": "a", "version": "1", "vulns": []}]}
BAD = {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1"}]}]}
PARTLY = {"dependencies": [{"name": "a", "skip_reason": "not found"}]}


def ask(folder: Path, answer: object, packages: str = "a==1") -> int:
    """Ask a pip-audit that prints an answer, or none as without a connection."""
    command, listed = folder / "pip-audit", folder / "hashes.txt"
    shown = (
        "echo 'ConnectionError: no route' >&2" if answer is None else f"echo '{json.dumps(answer)}'"
    )
    command.write_text(f"#!/bin/sh\n{shown}\nexit 1\n")
    command.chmod(0o755)
    listed.write_text(packages)
    return advisories.main(str(command), folder / "kept", listed)


def test_the_last_answer_stands_for_one_without_a_connection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tmp_path, None) == 2
    assert "no route" in capsys.readouterr().out
    assert ask(tmp_path, CLEAN) == 0
    assert ask(tmp_path, None) == 0
    assert "1 packages, 0 with advisories" in capsys.readouterr().out
    assert ask(tmp_path, PARTLY) == 0  # an answer that leaves packages out is none
    assert ask(tmp_path, None, "a==2") == 2  # of other packages
    assert ask(tmp_path, BAD) == 1
    assert "a 1: CVE-1" in capsys.readouterr().out
    assert ask(tmp_path, None) == 1
