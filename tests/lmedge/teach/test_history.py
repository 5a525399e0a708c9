"""The file that a camera teaches on disk: the old one or the new one, whatever ends the process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lmedge.errors import LmedgeError
from lmedge.model_file import read_model
from lmedge.teach.base import Base
from lmedge.teach.history import TaughtHistory
from lmedge.teach.photographs import ReadPhotographs
from lmedge.teach.teaching import Lesson, teach_file


@pytest.fixture(scope="module")
def pair(
    base: Base, first: ReadPhotographs, more: ReadPhotographs, teach_folder: Path
) -> tuple[bytes, bytes]:
    """Two taught files."""
    path = teach_folder / "taught.tflite"
    both = teach_file(base, first, Lesson(), path).file.data
    return both, teach_file(base, more, Lesson(), path).file.data


def in_child(work: Callable[[], object], stop: int) -> bool:
    """Do work in a process that ends at one of its system calls; return True if it came to its end.

    The calls are those that give a name to a file or take one away.
    """
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    code = 1
    try:
        left = [stop]

        def counted(function: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return function(*arguments, **options)

            return call

        for name in ("replace", "unlink", "rmdir", "mkdir", "open"):
            setattr(os, name, counted(getattr(os, name)))
        work()
        code = 0
    finally:
        os._exit(code)


@pytest.mark.parametrize("undo", [False, True])
def test_a_kill_at_every_step(pair: tuple[bytes, bytes], tmp_path: Path, undo: bool) -> None:
    old, new = pair
    ended = False
    for stop in range(60):
        folder = tmp_path / str(stop)
        folder.mkdir()
        path = folder / "taught.tflite"
        path.write_bytes(old)
        history = TaughtHistory(path)
        if undo:
            history.replace(read_model(path), new, {"landmark": "gate"})
        now = read_model(path)

        def work(history: TaughtHistory = history, now: object = now) -> None:
            if undo:
                history.go_back(now)  # type: ignore[arg-type]
            else:
                history.replace(now, new, {"landmark": "gate"})  # type: ignore[arg-type]

        ended = in_child(work, stop)
        found = path.read_bytes()
        assert found in (old, new)
        before = TaughtHistory(path).previous(read_model(path))
        if found == new:  # there is always a way back from it
            assert before is not None
            assert (before.data, before.lesson) == (old, {"landmark": "gate"})
        else:
            assert before is None
        shutil.rmtree(folder)
        if ended:
            break
    assert ended
    assert stop > 4


def test_nothing_to_go_back_to(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    path = tmp_path / "taught.tflite"
    path.write_bytes(pair[0])
    history = TaughtHistory(path)
    assert history.previous(read_model(path)) is None
    with pytest.raises(LmedgeError, match="there is nothing to undo"):
        history.go_back(read_model(path))
