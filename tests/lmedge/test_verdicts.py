"""Trials that were survived, remembered by this user for this user."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

import lmedge
from lmedge import machine, trial, verdicts
from lmedge.errors import ModelFileError
from lmedge.model_file import ModelFile, read_model
from lmedge.verdicts import has_survived, keep_verdict, verdict_key


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that is not there yet."""
    monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tiny_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    monkeypatch.setattr(trial, "_survived", set())
    return read_model(tiny_file)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do as another process would: nothing is remembered but on disk, and no trial is run."""
    monkeypatch.setattr(trial, "_survived", set())
    monkeypatch.setattr(trial, "_run_trial", lambda *_: pytest.fail("tried again"))


def test_another_process_need_not_try_a_file_again(
    model: ModelFile, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.survive(model)
    assert stat.S_IMODE((cache / "trials.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    forget(monkeypatch)
    trial.survive(model)
    monkeypatch.setattr(trial, "_survived", set())
    monkeypatch.setenv(trial.SETTING, "400")  # with less memory it is another trial
    with pytest.raises(pytest.fail.Exception):
        trial.survive(model)


def test_what_a_trial_refuses_is_not_kept(
    model: ModelFile, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_forked", lambda *_: (trial._REFUSED, "no"))
    monkeypatch.setattr(trial, "_spawned", lambda *_: (trial._REFUSED, "no"))
    for _ in range(2):
        with pytest.raises(ModelFileError, match="no"):
            trial.survive(model)
    assert not (cache / "trials.json").exists()


def test_a_limit_holds_before_any_verdict(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "has_survived", lambda _: True)
    monkeypatch.setattr(trial, "memory_limit", lambda: 1)
    with pytest.raises(ModelFileError, match="more than the 0 MB"):
        trial.survive(model)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_list_that_others_may_write_is_not_read(cache: Path, mode: int) -> None:
    keep_verdict("a")
    assert has_survived("a")
    (cache / "trials.json").chmod(mode)
    assert not has_survived("a")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_nor_one_in_a_folder_that_others_may_write(cache: Path, mode: int) -> None:
    keep_verdict("a")
    cache.chmod(mode)
    assert not has_survived("a")
    keep_verdict("b")
    cache.chmod(0o700)
    assert not has_survived("b")


def test_nor_one_of_another_user(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_verdict("a")
    other = os.geteuid() + 1
    monkeypatch.setattr(verdicts.os, "geteuid", lambda: other)
    assert not has_survived("a")
    monkeypatch.undo()


def test_nor_one_behind_a_link_or_a_pipe(cache: Path, tmp_path: Path) -> None:
    keep_verdict("a")
    (cache / "trials.json").rename(tmp_path / "elsewhere.json")
    (cache / "trials.json").symlink_to(tmp_path / "elsewhere.json")
    assert not has_survived("a")
    (cache / "trials.json").unlink()
    os.mkfifo(cache / "trials.json", 0o600)
    assert not has_survived("a")


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', '"a"', "[1, null]", "[" * 5000])
def test_a_damaged_list_is_none(cache: Path, content: str) -> None:
    keep_verdict("b")
    (cache / "trials.json").write_text(content)
    assert not has_survived("a")
    keep_verdict("a")
    assert has_survived("a")


def test_the_newest_are_kept(cache: Path) -> None:
    for number in range(verdicts._KEPT + 2):
        keep_verdict(str(number))
    keep_verdict("5")
    assert not has_survived("1")
    assert has_survived("2") and has_survived("5") and has_survived(str(verdicts._KEPT + 1))


def test_without_a_cache_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMEDGE_CACHE", "/dev/null/cache")
    keep_verdict("a")
    assert not has_survived("a")


def test_another_runtime_processor_or_version_is_another_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ai_edge_litert.interpreter as runtime

    key = verdict_key("f", "ai_edge_litert", 1)
    assert key == verdict_key("f", "ai_edge_litert", 1)
    others = {verdict_key("g", "ai_edge_litert", 1), verdict_key("f", "ai_edge_litert", 2)}
    others.add(verdict_key("f", "tflite_runtime", 1))
    with monkeypatch.context() as patch:
        patch.setattr(machine, "processor_model", lambda: "another")
        others.add(verdict_key("f", "ai_edge_litert", 1))
    with monkeypatch.context() as patch:
        patch.setattr(lmedge, "__version__", "another")
        others.add(verdict_key("f", "ai_edge_litert", 1))
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "__file__", __file__)
        others.add(verdict_key("f", "ai_edge_litert", 1))
    assert len({key, *others}) == 7
