"""`lmedge teach` as people type it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lmedge.model_file import read_model
from lmedge.remote.packing import unpack, write_wheel
from lmedge.teach.command import teach
from tests.lmedge.teach import small

# Runs `lmedge teach` in a Python without the packages of the training, and lists what it loaded.
WITHOUT = """
import sys
absent = {"tensorflow", "tf_keras", "tensorflow_model_optimization", "scipy", "sklearn", "PIL",
          "matplotlib", "imagehash", "safetensors", "h5py", "pandas"}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ModuleNotFoundError(f"no {name} on a device", name=name)
sys.meta_path.insert(0, Refuse())
sys.argv = ["lmedge", *sys.argv[1:]]
from lmedge.cli import main
try:
    main()
finally:
    assert not absent & set(sys.modules)
"""


def test_it_needs_the_packages_of_the_device_alone(teach_folder: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.tflite"
    words = ["teach", teach_folder / "first", "--base", teach_folder / "base.tflite", "-o", new]
    command = [sys.executable, "-W", "error", "-c", WITHOUT, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 landmarks in 2 categories from 18 photographs" in done.stdout
    assert f"next: lmedge predict {new} IMAGE" in done.stdout
    assert read_model(new).taxonomy.landmarks == tuple(small.HIERARCHY)


def test_what_a_file_remembers_is_listed(teach_folder: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.tflite"
    words = [teach_folder / "first", "--base", teach_folder / "base.tflite", "-o", new]
    assert CliRunner().invoke(teach, [str(word) for word in words]).exit_code == 0
    found = CliRunner().invoke(teach, ["--list", str(new)])
    assert found.output.splitlines() == [
        "old bridge\tbridges\t6",
        "stone bridge\tbridges\t6",
        "tower\ttowers\t6",
    ]
    refused = CliRunner().invoke(teach, ["--list", str(teach_folder / "base.tflite")])
    assert "remembers nothing" in str(refused.exception)


def test_a_file_that_nothing_judges_says_so(teach_folder: Path, tmp_path: Path) -> None:
    small.write_bursts(tmp_path / "photographs", small.HIERARCHY)
    new, base = tmp_path / "new.tflite", teach_folder / "base.tflite"
    words = [str(tmp_path / "photographs"), "--base", str(base), "-o", str(new)]
    found = CliRunner().invoke(teach, words)
    assert found.exit_code == 0, found.output
    assert "photographs in 3 bursts" in found.output
    assert "nothing judges this file: the photographs of each landmark are alike" in found.output
    assert "F1" not in found.output and "doubted" not in found.output
    assert read_model(new).info["metrics"] == {}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["P", "-o", "new.tflite", "--add"], "need --base"),
        (["P", "--base", "b.tflite"], "-o NEW.tflite is missing"),
        (["P", "--base", "b.tflite", "-o", "new.txt"], "must end in .tflite"),
        (["--base", "b.tflite", "-o", "new.tflite"], "PHOTOGRAPHS is missing"),
        (["--base", "b.tflite", "-o", "new.tflite", "--add"], "PHOTOGRAPHS is missing"),
        (["P", "--base", "b.tflite", "-o", "n.tflite", "--remove", "x"], "needs --add"),
        (["--base", "b.tflite", "-o", "n.tflite", "--rename", "a"], "'a' is not OLD=NEW"),
        (["--base", "b.tflite", "-o", "n.tflite", "--rename", "a= "], "is not OLD=NEW"),
    ],
)
def test_arguments_that_are_refused(words: list[str], problem: str) -> None:
    found = CliRunner().invoke(teach, words)
    assert found.exit_code == 2
    assert problem in found.output


def test_adding_to_a_file_that_remembers_nothing_ends_at_once(teach_folder: Path) -> None:
    base, new = teach_folder / "base.tflite", teach_folder / "never.tflite"
    words = [str(teach_folder / "more"), "--base", str(base), "--add", "-o", str(new)]
    found = CliRunner().invoke(teach, words)
    assert "holds no features of photographs to add to" in str(found.exception)
    assert not new.exists()


def test_a_wheel_for_boards_teaches_the_base_that_it_is_given(
    teach_folder: Path, tmp_path: Path
) -> None:
    """It comes without a base of its own, which would be 5 MB for each board."""
    unpack(write_wheel(tmp_path), tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-P", "-m", "lmedge", "teach", str(teach_folder / "first")]
    command += ["-o", str(tmp_path / "new.tflite")]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        whole = [*command, *words]
        return subprocess.run(whole, env=environment, capture_output=True, text=True, check=False)

    alone = run()
    assert alone.returncode != 0
    assert f"{tmp_path / 'site'}" in alone.stderr
    assert "this installation has no base; pass --base FILE.tflite" in alone.stderr
    given = run("--base", str(teach_folder / "base.tflite"))
    assert given.returncode == 0, given.stderr
    assert read_model(tmp_path / "new.tflite").taxonomy.landmarks == tuple(small.HIERARCHY)
