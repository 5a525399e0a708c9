"""Standard streams that are closed, full, not UTF-8, or whose reader ends: no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import small_run, tiny_file

NAME = "Große Brücke 清 🏰.png"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name in (NAME, *(f"{number:02d}.png" for number in range(3))):
        small_run.save(folder / name, tiny_file.image("red"))
    return folder


def shell(words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run words of a shell in which $L is lmedge."""
    return subprocess.run(
        ["bash", "-c", words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "L": f"{sys.executable} -m lmedge", **environment},
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_loses_nothing_elsewhere(
    tiny_file: Path, photographs: Path, tmp_path: Path, closed: str
) -> None:
    lines = tmp_path / "lines.jsonl"
    done = shell(
        f"$L camera '{tiny_file}' --source '{photographs}' --headless --jsonl '{lines}' {closed}",
        tmp_path,
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr
    found = [json.loads(line)["name"] for line in lines.read_text("utf-8").splitlines()]
    assert found == sorted(path.name for path in photographs.iterdir())


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "import os; from lmedge.streams import prepare_streams; prepare_streams()\n"
        "stream = open('kept.txt', 'w')\n"
        "os.write(1, b'noise'); os.write(2, b'noise'); print('noise', flush=True)\n"
        "stream.write('kept')"
    )
    done = shell(f'{sys.executable} -c "{code}" >&- 2>&-', tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "kept.txt").read_text() == "kept"


@pytest.mark.parametrize("words", ["predict FILE DATA --csv", "inspect FILE", "--help"])
def test_a_full_disk_behind_standard_output_is_one_line(
    tiny_file: Path, photographs: Path, tmp_path: Path, words: str
) -> None:
    words = words.replace("FILE", f"'{tiny_file}'").replace("DATA", f"'{photographs}'")
    done = shell(f"$L {words} > /dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "lmedge: cannot write standard output: No space left on device; free space or choose "
        "another file\n"
    )
    if "--csv" in words:  # messages that nobody sees end nothing
        (tmp_path / "broken.png").write_text("no image")
        done = shell(f"$L {words} broken.png 2> /dev/full", tmp_path)
        assert (done.returncode, len(done.stdout.splitlines())) == (3, 5)


def test_a_line_on_standard_output_is_whole_or_absent(
    tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    words = f"$L predict '{tiny_file}' '{photographs}' --json"
    whole = shell(words, tmp_path).stdout.splitlines()
    # a file may have one block of 1024 bytes: two lines and a part of the third
    done = shell(f"ulimit -f 1; {words} > lines.jsonl", tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "File too large" in done.stderr
    written = (tmp_path / "lines.jsonl").read_text("utf-8")
    assert written.endswith("\n")
    paths = [json.loads(line)["path"] for line in written.splitlines()]
    assert 0 < len(paths) < len(whole)
    assert paths == [json.loads(line)["path"] for line in whole][: len(paths)]


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_letters_that_the_encoding_lacks_are_escaped(
    tiny_file: Path, photographs: Path, tmp_path: Path, encoding: str
) -> None:
    for style in ("--json", "--csv"):
        command = [sys.executable, "-m", "lmedge", "predict", tiny_file, photographs, style]
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        # click writes UTF-8 where only ASCII is asked for
        text = done.stdout.decode("utf-8" if encoding == "ascii" else encoding)
        if style == "--json":
            paths = [json.loads(line)["path"] for line in text.splitlines()]
            assert str(photographs / NAME) in paths
        else:
            assert ".png" in text and len(text.splitlines()) == 5


def test_a_reader_that_ends_is_no_error(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    for style in ("--csv", ""):
        words = f"$L predict '{tiny_file}' '{photographs}' {style}"
        done = shell(f"{words} | head -n 1; exit ${{PIPESTATUS[0]}}", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) == 1
        done = shell(f"{words} 2> >(true)", tmp_path)  # the reader of messages has ended
        assert done.returncode == 0 and len(done.stdout.splitlines()) >= 4
