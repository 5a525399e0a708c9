"""Files that grow under their own name have one writer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmedge.errors import LmedgeError
from lmedge.writers import alone, check_outputs, held

HOLD = """
import sys
from lmedge.writers import held
with held(sys.argv[1]):
    print(1, flush=True)
    input()
"""


def test_a_second_writer_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.mp4"
    path.parent.mkdir()
    with held(path):
        (tmp_path / "link.mp4").symlink_to(path)
        for name in (path, tmp_path / "link.mp4"):
            with pytest.raises(LmedgeError, match=r"\.mp4: another lmedge is writing"), held(name):
                pass
        with held(tmp_path / "new" / "b.mp4"):
            pass
    with held(path):
        pass
    assert list((tmp_path / "new").iterdir()) == []


def test_folders_that_were_made_for_nothing_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "one" / "two" / "a.mp4"
    with pytest.raises(RuntimeError), held(path):
        assert path.parent.is_dir()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with held(path):
        (tmp_path / "one" / "kept").touch()
    assert sorted(found.name for found in tmp_path.rglob("*")) == ["kept", "one"]
    with held(path):
        path.touch()
    assert path.exists()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline()
        with pytest.raises(LmedgeError, match="another lmedge"), held(path):
            pass
        other.kill()
        other.wait()
    with held(path):
        pass


def test_pipes_and_devices_are_not_locked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with held(path), held(path):
            pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]


def test_an_output_is_no_input_and_no_other_output(tmp_path: Path) -> None:
    a, b, link = tmp_path / "a", tmp_path / "b", tmp_path / "link"
    link.symlink_to(a)
    check_outputs([a, b], [tmp_path / "c", Path("0")])
    with pytest.raises(LmedgeError, match=r"link: the command reads this file too"):
        check_outputs([link], [a])
    with pytest.raises(LmedgeError, match=r"link: named for two outputs"):
        check_outputs([a, link], [])


def test_a_folder_is_held_by_one_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lmedge.writers import alone\n"
        "with alone(Path(sys.argv[1]), 'lmedge train'): print('held', flush=True); input()"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "run")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with (
            pytest.raises(LmedgeError, match="another `lmedge train` is at work in"),
            alone(tmp_path / "run", "lmedge train", seconds=0.1),
        ):
            pytest.fail("it is held")
        holder.kill()
    with alone(tmp_path / "run", "lmedge train", seconds=0.1):
        pass
