"""Files appear whole or not at all, whatever ends the process that writes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lmedge import files
from lmedge.errors import DataError, LmedgeError

NO_SPACE = "No space left on device"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def hidden(folder: Path) -> list[str]:
    return [name for name in names(folder) if name.startswith(files.PREFIX)]


def test_an_error_of_the_disk_is_one_line_whichever_library_raises_it(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_text("old")
    texts = (f"Error while serializing: I/O error: {NO_SPACE} (os error 28)", "no such tensor")
    for text, kind in zip(texts, (LmedgeError, RuntimeError), strict=True):
        with pytest.raises(kind) as raised, files.replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError(text)
        assert path.read_text() == "old"
        assert names(tmp_path) == [path.name]
        if kind is LmedgeError:
            assert str(raised.value) == (
                f"cannot write {path}: {NO_SPACE}; free space or choose another folder"
            )
    with pytest.raises(DataError, match="as it is"), files.replacing(path):
        raise DataError("as it is")


def test_a_file_has_the_permissions_of_the_process_whose_umask_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", None)  # threads that create files meanwhile rely on it
            files.write_text(tmp_path / "file", "text")
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_a_killed_process_leaves_a_hidden_file_that_a_later_one_removes(tmp_path: Path) -> None:
    code = (
        "import sys, time; from lmedge import files\n"
        "with files.replacing(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half'); print('written', flush=True); time.sleep(60)"
    )
    path = tmp_path / "report.json"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        old = time.time() - 2 * 3600
        for name in hidden(tmp_path):
            os.utime(tmp_path / name, (old, old))
        writers[0].send_signal(signal.SIGKILL)
        writers[0].wait()
        assert not path.exists() and len(hidden(tmp_path)) == 2
        later = f"from lmedge import files; files.write_text({str(path)!r}, 'whole')"
        subprocess.run([sys.executable, "-c", later], check=True)
        assert path.read_text() == "whole"
        assert len(hidden(tmp_path)) == 1  # of the process that is still writing
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


@pytest.mark.parametrize("nameless", [True, False], ids=["nameless", "named"])
@pytest.mark.parametrize("links", [True, False], ids=["links", "no-links"])
def test_a_copy_takes_a_free_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool, links: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "image.jpg"
    source.write_bytes(b"pixels")
    source.chmod(0o600)
    os.utime(source, (1e9, 1e9))
    target = tmp_path / "out" / "image.jpg"
    assert files.copy_as(source, target)
    assert target.read_bytes() == b"pixels"
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.stat().st_mtime == 1e9
    source.write_bytes(b"others")
    assert not files.copy_as(source, target)
    assert target.read_bytes() == b"pixels"
    assert names(target.parent) == ["image.jpg"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_killed_copy_leaves_no_name(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import shutil, sys, time; from pathlib import Path; from lmedge import files\n"
        "def slow(read, copy, *_):\n"
        "    copy.write(read.read(3)); copy.flush(); print('begun', flush=True); time.sleep(60)\n"
        "shutil.copyfileobj = slow\n"
        "files.copy_as(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    source, target = tmp_path / "image.jpg", tmp_path / "out" / "image.jpg"
    source.write_bytes(b"pixels")
    words = [sys.executable, "-c", code, str(source), str(target)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as copier:
        assert copier.stdout is not None
        copier.stdout.readline()
        copier.send_signal(number)
    assert copier.returncode == -number
    assert not target.exists()
    assert files.copy_as(source, target)


def test_copies_of_several_processes_are_one_file(tmp_path: Path) -> None:
    code = (
        "import dataclasses, sys, types; from pathlib import Path\n"
        "from lmedge.commands.predict import copy_sorted\n"
        "made = types.SimpleNamespace(category='towers', landmark='red', known=True)\n"
        "sys.stdin.read()\n"
        "for name in sys.argv[2:]: copy_sorted(Path(name), made, Path(sys.argv[1]))"
    )
    sources = []
    for number in range(30):
        sources.append(tmp_path / f"{number}.jpg")
        sources[-1].write_bytes(os.urandom(20_000))
    command = [sys.executable, "-c", code, str(tmp_path / "out"), *map(str, sources)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(3)]
    for process in started:  # all have imported what they need, or soon will have
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait() for process in started] == [0, 0, 0]
    copies = tmp_path / "out" / "towers" / "red"
    assert names(copies) == sorted(path.name for path in sources)


def test_files_that_belong_together_are_placed_together(tmp_path: Path) -> None:
    folder = tmp_path / "report"

    def write(text: str, *names: str) -> None:
        with files.replacing_together(folder, "report.json", ["*.csv", "plots/*"]) as staged:
            for name in names:
                files.write_text(staged / name, text)
            if text == "half":
                raise LmedgeError(f"cannot write {staged / names[0]}: {NO_SPACE}")

    with pytest.raises(LmedgeError, match="cannot write"):
        write("half", "report.json")
    assert not folder.exists()
    write("first", "report.json", "a.csv", "plots/one.png", "page.html")
    (folder / "notes.txt").write_text("the user's")
    with pytest.raises(LmedgeError) as raised:
        write("half", "a.csv", "report.json")
    assert str(raised.value) == f"cannot write {folder / 'a.csv'}: {NO_SPACE}"
    assert {path.read_text() for path in folder.rglob("*.*") if path.is_file()} == {
        "first",
        "the user's",
    }
    write("second", "report.json", "b.csv")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"report.json", "b.csv", "page.html", "notes.txt"}


def test_a_probe_leaves_nothing(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "report.json")
    files.check_writable(tmp_path / "a" / "b" / "report.json")
    assert names(tmp_path) == []
    with pytest.raises(LmedgeError, match="is a folder"):
        files.check_writable(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(LmedgeError, match=r"cannot write .*file/x"):
        files.check_writable(tmp_path / "file" / "x")


def test_without_a_home_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("LMEDGE_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(LmedgeError, match="cannot write"):
        files.write_text(files.cache_folder() / "threads.json", "{}")
    monkeypatch.setenv("LMEDGE_CACHE", "/somewhere")
    assert files.cache_folder() == Path("/somewhere")


def test_a_folder_is_checked_without_a_trace(tmp_path: Path) -> None:
    files.check_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(LmedgeError, match=r"cannot write .*/file/x: .*file is no folder"):
        files.check_folder(tmp_path / "file" / "x")
    with pytest.raises(LmedgeError, match="cannot write"):
        files.check_folder("/proc/1/lmedge")
