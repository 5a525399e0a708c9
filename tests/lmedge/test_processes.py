"""No command imports what lies in the working folder, in its own process or in a child."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmedge import trial
from lmedge.camera.window import require_display
from lmedge.commands.checks import ask_tensorflow
from lmedge.errors import LmedgeError
from lmedge.model_file import read_model
from lmedge.processes import child_environment, leave_working_folder, python_command
from tests.locations import ROOT

TRAPS = ("numpy", "cv2", "click", "rich", "flatbuffers", "ai_edge_litert", "tensorflow", "jinja2")
TRAP = "import pathlib\n(pathlib.Path(__file__).resolve().parents[{up}] / 'ran').touch()\n"


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder with modules of common names; none may have run at the end."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in TRAPS:
        (folder / f"{name}.py").write_text(TRAP.format(up=0))
    (folder / "lmedge").mkdir()
    (folder / "lmedge" / "__init__.py").write_text(TRAP.format(up=1))
    (folder / "lmedge" / "__main__.py").write_text(TRAP.format(up=1))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", "")
    yield folder
    assert not (folder / "ran").exists()


class TestChildren:
    @pytest.mark.parametrize("pythonpath", [None, "", ":", "/nowhere:", ".:/nowhere"])
    def test_python_imports_installed_modules(
        self, trapped: Path, monkeypatch: pytest.MonkeyPatch, pythonpath: str | None
    ) -> None:
        if pythonpath is None:
            monkeypatch.delenv("PYTHONPATH")
        else:
            monkeypatch.setenv("PYTHONPATH", pythonpath)
        command = python_command("-c", "import click, lmedge; print(lmedge.__version__)")
        done = subprocess.run(command, env=child_environment(), check=True, capture_output=True)
        assert done.stdout

    def test_folders_of_pythonpath_stay(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "packages").mkdir()
        (tmp_path / "packages" / "own.py").touch()
        monkeypatch.setenv("PYTHONPATH", f":{tmp_path / 'packages'}")
        command = python_command("-c", "import own")
        subprocess.run(command, env=child_environment(), check=True)

    def test_display(self, trapped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DISPLAY", ":65000")
        with pytest.raises(LmedgeError, match="window"):
            require_display()

    def test_trial_beside_another_thread(
        self, tiny_file: Path, trapped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path / "cache"))
        model = read_model(tiny_file)
        end = threading.Event()
        thread = threading.Thread(target=end.wait)
        thread.start()
        try:
            trial._survived.clear()
            trial.survive(model)
        finally:
            end.set()
            thread.join()

    def test_question_to_tensorflow(self, trapped: Path) -> None:
        code = "import click; print('GPUS 1')"
        assert ask_tensorflow(python_command("-c", code), 30).status == "ok"

    def test_worker(self, tiny_file: Path, trapped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from lmedge.benchmarks.workers.parent import classifier

        monkeypatch.setenv("PYTHONPATH", ":")
        with classifier("file", tiny_file, "litert"):
            pass

    def test_comparison(self, trapped: Path, tmp_path: Path) -> None:
        from lmedge.train.compare.trial import _lmedge

        _lmedge(tmp_path, "labels", "--version")

    def test_demo(self, trapped: Path) -> None:
        from lmedge.train.demo.command import show_and_run

        show_and_run("--version")

    def test_no_other_module_starts_this_python(self) -> None:
        """A new child process must be made by `python_command`."""
        found = []
        for room in ("lmedge", "train", "export", "benchmarks"):
            for path in sorted((ROOT / room).rglob("*.py")):
                if "studies" in path.parts or path == ROOT / "lmedge" / "processes.py":
                    continue
                found += [
                    f"{path.relative_to(ROOT)}:{node.lineno}"
                    for node in ast.walk(ast.parse(path.read_text("utf-8")))
                    if isinstance(node, ast.List)
                    and node.elts
                    and ast.unparse(node.elts[0]) == "sys.executable"
                ]
        assert not found


class TestThisProcess:
    @pytest.mark.parametrize("start", [("lmedge",), ("-P", "-m", "lmedge")])
    def test_command(self, trapped: Path, start: tuple[str, ...]) -> None:
        own = Path(sys.executable).with_name("lmedge")
        command = [str(own)] if start == ("lmedge",) else [sys.executable, *start]
        words = [*command, "doctor", "--json"]
        assert subprocess.run(words, check=False).returncode in (0, 1)

    def test_module_of_python(self, trapped: Path) -> None:
        """`python -m lmedge` finds lmedge in the working folder, but nothing else there."""
        for path in (trapped / "lmedge").iterdir():
            path.unlink()
        (trapped / "lmedge").rmdir()
        subprocess.run([sys.executable, "-m", "lmedge", "doctor"], check=False)

    def test_named_folders_stay(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        hook = "__editable__.some.finder.__path_hook__"
        monkeypatch.setattr(sys, "path", ["", str(tmp_path), hook])
        leave_working_folder()
        assert sys.path == [str(tmp_path), hook]

    def test_settings_of_matplotlib(self, trapped: Path) -> None:
        """A matplotlibrc is read there; it may not start a TeX."""
        (trapped / "matplotlibrc").write_text("text.usetex: True\nfont.size: 99\n")
        code = (
            "import pathlib, matplotlib\n"
            "from lmedge.report.canvas import drawing\n"
            "with drawing(pathlib.Path('plot.png'), (1, 1)) as figure:\n"
            "    found = matplotlib.rcParams['text.usetex'], matplotlib.rcParams['font.size']\n"
            "    figure.subplots().set_title('name')\n"
            "assert found == (False, 10.0), found\n"
        )
        command = python_command("-c", code)
        subprocess.run(command, env=child_environment(), check=True)
        assert (trapped / "plot.png").exists()
