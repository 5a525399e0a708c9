"""`--wheelhouse`: packages are fetched here, and the board installs them without an index."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import time
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from lmedge.deploy.facts import BoardFacts, facts_of
from lmedge.deploy.look import board_facts
from lmedge.deploy.outfit import Outfit, setup_script
from lmedge.deploy.plan import plan_of
from lmedge.deploy.state import Reason
from lmedge.deploy.store import Store
from lmedge.deploy.wheelhouse import fill_wheelhouse
from lmedge.errors import DeployError
from lmedge.remote.host import RemotePython
from lmedge.remote.packing import write_wheel
from tests.lmedge.deploy.boards import environment_without_index

NUMPY = "numpy"


def stub(folder: Path, name: str, version: str, tag: str = "py3-none-any") -> None:
    """Write a wheel that holds nothing but an empty module of its name."""
    base = f"{name.replace('-', '_')}-{version}"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{base}-{tag}.whl", "w") as wheel:
        wheel.writestr(f"{name.replace('-', '_')}.py", f"STUB = {tag!r}\n")
        info = f"{base}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder with a stub of each package that lmedge needs; numpy has one for each machine."""
    folder = tmp_path / "index"
    for text in distribution("lmedge").requires or []:
        name, least = re.match(r"([\w-]+)(?:[^;]*?>=([\d.]+))?", text).groups()  # type: ignore[union-attr]
        if "extra ==" in text and name != "cryptography":
            continue
        name = "opencv-python-headless" if name == "opencv-python" else name
        for machine in ("aarch64", "x86_64") if name == NUMPY else ():
            stub(folder, name, "99.1", f"cp311-cp311-manylinux_2_17_{machine}")
        if name != NUMPY:
            stub(folder, name, least or "99.1")
    stub(folder, "opencv-python", "99.1")
    return folder


def test_the_wheels_are_those_of_the_board_and_their_second_fetching_needs_no_index(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, house = str(write_wheel(tmp_path)), tmp_path / "house"
    environment_without_index(monkeypatch, index)
    place = fill_wheelhouse(house, "arm64", (3, 11), [wheel])
    assert place == house / "aarch64-3.11"
    names = {path.name.split("-")[0] for path in place.glob("*.whl")}
    assert {"lmedge", "numpy", "click", "ai_edge_litert"} <= names
    assert "opencv_python_headless" in names and "opencv_python" not in names, (
        "the one with windows needs libraries of a desktop, which boards lack"
    )
    (numpy,) = place.glob("numpy-*.whl")
    assert "aarch64" in numpy.name
    environment_without_index(monkeypatch, tmp_path / "nowhere")
    assert fill_wheelhouse(house, "aarch64", (3, 11), [wheel]) == place
    with pytest.raises(DeployError, match=r"could not fetch wheels for riscv64") as found:
        fill_wheelhouse(house, "riscv64", (3, 11), [wheel])
    assert found.value.reason == Reason.ENVIRONMENT


def board_here(folder: Path) -> BoardFacts:
    """Return the facts of this machine, as a board whose folder is `folder`."""
    return facts_of({**board_facts(str(folder)), "root": False, "picamera2": False})


class Bare:
    """A board here: its Python lacks packages, and what arrives for it lies in a folder."""

    def __init__(self, folder: Path) -> None:
        self.facts, self._incoming = board_here(folder / "board"), folder / "incoming"
        self._incoming.mkdir()
        self.version = (sys.version_info[0], sys.version_info[1])
        python = RemotePython(
            path=sys.executable, version=self.version, missing=(NUMPY,), lmedge=None
        )
        self.wheel = write_wheel(self._incoming)
        plan = plan_of("b", {"host": "b"})
        self._outfit = Outfit.of(self.wheel, plan, self.facts, python, own=False)
        self.place = Path(self._outfit.folder(self.facts))
        self.wheelhouse = self._incoming / "wheelhouse"

    def script(self, *, offline: bool, python: str = sys.executable) -> str:
        """Return what makes the environment, by that Python."""
        outfit = dataclasses.replace(self._outfit, python=python)
        return setup_script(outfit, self.facts, str(self._incoming), offline=offline)

    def make(self, *, offline: bool) -> subprocess.CompletedProcess[str]:
        """Make the environment as a deployment does there."""
        words = ["sh", "-c", self.script(offline=offline)]
        return subprocess.run(words, capture_output=True, text=True, check=False)


def test_a_board_without_an_index_is_served_by_what_was_sent(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Bare(tmp_path)
    environment_without_index(monkeypatch, index)
    words = [str(board.wheel)]
    house = fill_wheelhouse(tmp_path / "house", board.facts.machine, board.version, words)
    house.rename(board.wheelhouse)
    stub(board.wheelhouse, "cryptography", "99.1")
    environment_without_index(monkeypatch, tmp_path / "nowhere")
    done = board.make(offline=True)
    assert done.returncode == 0 and (board.place / "complete").exists(), done.stderr
    there = subprocess.run(
        [board.place / "venv" / "bin" / "python", "-c", "import numpy, lmedge; print(numpy.STUB)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip().endswith(board.facts.machine)


@pytest.mark.skipif(shutil.which("flock") is None, reason="no flock here: apt install util-linux")
def test_two_deployments_make_one_environment(tmp_path: Path) -> None:
    """The second waits; neither it nor a release that is pruned takes away what is half made."""
    board = Bare(tmp_path)
    store = Store(Path(board.facts.folder))
    store.prepare()
    slow = tmp_path / "python"
    slow.write_text(
        f'#!/bin/sh\necho made >>{tmp_path}/made\nmkdir "$3" && mkdir "$3/bin" || exit 1\n'
        f"until [ -e {tmp_path}/on ]; do sleep 0.05; done\n"
        'printf \'#!/bin/sh\\n\' >"$3/bin/python"; chmod 755 "$3/bin/python"\n'
    )
    slow.chmod(0o755)
    script = board.script(offline=True, python=str(slow))
    first, second = (
        subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    waiting = '{"step": "waiting for another environment"}\n'
    while not (tmp_path / "made").exists():
        time.sleep(0.05)
    store.prune()
    time.sleep(0.2)
    (tmp_path / "on").touch()
    said = [one.communicate(timeout=60)[0] for one in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert sum(text.startswith(waiting) for text in said) == 1
    assert (tmp_path / "made").read_text() == "made\n"
    (place,) = store.environments.iterdir()
    assert {path.name for path in place.iterdir()} == {"venv", "run", "complete"}
    store.prune()
    assert list(store.environments.iterdir()) == []


@pytest.mark.slow
def test_without_it_the_refusal_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Bare(tmp_path)
    environment_without_index(monkeypatch, tmp_path / "nowhere")
    refused = board.make(offline=False)
    assert refused.returncode == 14 and not (board.place / "complete").exists()
    end = json.loads(refused.stdout.splitlines()[-1])
    assert end["reason"] == Reason.ENVIRONMENT and "pass --wheelhouse" in end["detail"]
