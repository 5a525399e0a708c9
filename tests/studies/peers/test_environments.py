"""The peers' environments: exact versions, made once, one line when they cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.studies.peers import environments
from benchmarks.studies.peers.environments import PEERS, REQUIREMENTS, make_environment
from lmedge.errors import MissingDependencyError


@pytest.mark.parametrize("peer", PEERS)
def test_every_version_is_exact(peer: str) -> None:
    lines = (REQUIREMENTS / f"{peer}.txt").read_text("utf-8").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert pinned
    for line in pinned:
        name, equals, version = line.partition("==")
        assert name and equals and version, line


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Requirements that install nothing, so that no network is needed."""
    folder = tmp_path / "requirements"
    folder.mkdir()
    (folder / "litert.txt").write_text("# nothing\n")
    monkeypatch.setattr(environments, "REQUIREMENTS", folder)
    return folder


@pytest.mark.slow  # half a minute on a busy machine: environments are made for real
def test_made_once_and_again_when_the_requirements_change(nothing: Path, tmp_path: Path) -> None:
    python = make_environment("litert", tmp_path / "envs")
    left = python.parent / "left"
    left.write_text("")
    assert make_environment("litert", tmp_path / "envs") == python
    assert left.exists()
    (nothing / "litert.txt").write_text("# another nothing\n")
    assert make_environment("litert", tmp_path / "envs") == python
    assert not left.exists()


@pytest.mark.slow
def test_what_cannot_be_installed_is_one_line(nothing: Path, tmp_path: Path) -> None:
    (nothing / "litert.txt").write_text(f"{tmp_path}/absent.whl\n")
    with pytest.raises(MissingDependencyError, match=r"litert: cannot be installed .*absent"):
        make_environment("litert", tmp_path / "envs", sys.executable)


def test_what_is_no_python_is_one_line(nothing: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="litert: .*nothing is no Python"):
        make_environment("litert", tmp_path / "envs", str(tmp_path / "nothing"))
