"""tflite-runtime 2.14 in the environment that docs/usage.md describes: the same top class."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lmedge.benchmarks.workers.parent import classifier
from lmedge.classifier import Classifier
from lmedge.model_file import HEADS
from tests import small_run
from tests.locations import ROOT
from tests.processes import lmedge

if TYPE_CHECKING:
    from tests.export.conftest import Exported, Real

SECTION = re.compile(r"## tflite-runtime in place of LiteRT\n.*?```\n(.*?)```", re.DOTALL)
LARGEST = 0.1  # of a probability: other kernels round differently, over the whole depth
pytestmark = [
    pytest.mark.slow,  # an environment of its own, with OpenCV
    pytest.mark.skipif(shutil.which("python3.11") is None, reason="its wheels end at Python 3.11"),
]


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do what docs/usage.md says, with this source in place of the package; return its Python."""
    folder = tmp_path_factory.mktemp("tflite-runtime")
    found = SECTION.search((ROOT / "docs" / "usage.md").read_text("utf-8"))
    assert found is not None
    commands = found[1].replace("--no-deps lmedge", f"--no-deps '{ROOT}'")
    assert str(ROOT) in commands and "lmedge doctor" in commands
    process = subprocess.run(
        ["sh", "-ec", commands], cwd=folder, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout[-1000:] + process.stderr[-1000:]
    assert "tflite-runtime 2.14.0 will be used" in process.stdout
    return folder / "lmedge-env" / "bin" / "python"


def assert_same_classes(file: Path, images: np.ndarray, python: Path) -> None:
    here = Classifier(file)
    with classifier("tflite-runtime", file, "tflite-runtime", python) as there:
        assert there.label == "tflite-runtime 2.14.0"
        for number, image in enumerate(images):
            wanted, found = here.interpreter.run(image), there.answer(image)
            for head in HEADS:
                own = getattr(wanted, head)
                assert found[head].argmax() == own.argmax(), (head, number)
                assert np.abs(found[head] - own).max() < LARGEST, (head, number)


def test_an_exported_file(exported: Exported, documented: Path) -> None:
    assert_same_classes(exported.path, exported.run.images("test"), documented)


def test_the_real_network(real: Real, documented: Path, tmp_path: Path) -> None:
    path = tmp_path / "real.tflite"
    path.write_bytes(real.file.data)
    here = Classifier(path)
    with classifier("tflite-runtime", path, "tflite-runtime", documented) as there:
        said = [there.answer(image)["category"] for image in real.pictures]
    wanted = [here.interpreter.run(image).category for image in real.pictures]
    # Heads with random weights: near ties are common, and no top class is to be held to
    assert np.abs(np.stack(said) - np.stack(wanted)).max() < LARGEST


def test_the_command_line_there(exported: Exported, documented: Path, tmp_path: Path) -> None:
    shown = exported.run.images("test")
    paths = [small_run.save(tmp_path / f"{n}.png", image) for n, image in enumerate(shown)]
    process = subprocess.run(
        [documented.with_name("lmedge"), "predict", exported.path, *paths, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "many times slower" in process.stderr
    said = [json.loads(line)["landmark"] for line in process.stdout.splitlines()]
    classifier = Classifier(exported.path)
    assert said == [classifier.classify(image).landmark for image in shown]


def test_both_runtimes_in_one_benchmark(
    exported: Exported, documented: Path, tmp_path: Path
) -> None:
    process = lmedge(
        "benchmark",
        exported.path,
        "--runtime",
        f"litert,tflite-runtime={documented}",
        "--runs",
        20,
        "--out",
        tmp_path / "out",
    )
    assert process.returncode == 0, process.stderr
    entries = json.loads((tmp_path / "out" / "comparison.json").read_text())["entries"]
    assert [one["runtime"].split()[0] for one in entries] == ["ai-edge-litert", "tflite-runtime"]
