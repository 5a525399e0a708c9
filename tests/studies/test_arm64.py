"""ARM64 by emulation: the comparison, refusals, and a real run if there is a root."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies.answers import Answers, answer, load
from benchmarks.studies.arm64 import CORES, EMULATOR, compare, cpuinfo, write_payload
from benchmarks.studies.arm64_operators import first_difference
from benchmarks.studies.tensors import opened, tensors
from lmedge.errors import DataError
from lmedge.evaluation.folders import list_images
from lmedge.image import prepare, read_image
from lmedge.interpreter import Interpreter
from lmedge.model_file import HEADS, read_model
from tests.studies.running import read, run

ROOT = os.environ.get("LMEDGE_ARM64_ROOT")


def answers() -> Answers:
    random = np.random.default_rng(0)
    landmark, category = random.random((3, 5), np.float32), random.random((3, 2), np.float32)
    prepared = random.integers(0, 256, (3, 8, 8, 3), np.uint8)
    logits = random.integers(-128, 128, (3, 7), np.int8)
    return Answers(
        prepared=prepared, logits=logits, landmark=landmark, category=category, seconds=0.5
    )


def test_equal_to_the_last_bit_or_not() -> None:
    here = answers()
    same = compare("cortex-a72", here, answers())
    assert (same.prepared_same, same.outputs_same, same.outputs_largest) == (1.0, 1.0, 0.0)
    landmark = here.landmark.copy()
    landmark[1, 0] = np.nextafter(landmark[1, 0], np.float32(2))
    prepared = here.prepared.copy()
    prepared[2, 3, 3, 0] ^= 1
    logits = here.logits.copy()
    logits[0, 6] ^= 1
    changed = dataclasses.replace(here, landmark=landmark, prepared=prepared, logits=logits)
    found = compare("cortex-a72", here, changed)
    assert found.outputs_same == pytest.approx(2 / 3)
    assert 0 < found.outputs_largest < 1e-6
    assert (found.prepared_same, found.prepared_largest) == (pytest.approx(2 / 3), 1)
    assert found.integers_same == pytest.approx(2 / 3)
    assert found.same_landmark == found.same_category == 1.0


def test_a_best_class_that_changes_is_seen() -> None:
    here = answers()
    flipped = dataclasses.replace(here, category=here.category[:, ::-1].copy())
    assert compare("cortex-a53", here, flipped).same_category == 0.0


def test_answers_of_this_machine_twice(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    images = list_images(photographs)
    here = answer(tiny_file, images, None)
    assert here.prepared.shape == (8, 32, 32, 3)
    assert here.logits.shape == (8, 6)  # landmarks first: they name the same best classes
    assert (here.logits[:, :4].argmax(axis=1) == here.landmark.argmax(axis=1)).all()
    assert (here.logits[:, 4:].argmax(axis=1) == here.category.argmax(axis=1)).all()
    listed = tmp_path / "pictures.txt"
    listed.write_text("".join(f"{path}\n" for path in images))
    out = tmp_path / "answers.npz"
    process = run("-m", "benchmarks.studies.answers", tiny_file, listed, "--out", out)
    assert process.returncode == 0, process.stderr
    again = compare("cortex-a53", here, load(out))
    assert again.prepared_same == again.outputs_same == 1.0
    dark = np.zeros_like(here.prepared)  # the network runs on the bytes that were given
    assert compare("cortex-a53", here, answer(tiny_file, images, dark)).outputs_same < 1.0
    with pytest.raises(DataError, match="holds no answers"):
        load(listed)


def test_a_file_without_integers_is_compared_by_its_outputs() -> None:
    here = dataclasses.replace(answers(), logits=np.zeros((3, 0), np.int8))
    assert compare("cortex-a72", here, here).integers_same is None


def test_the_first_operator_that_differs_is_named() -> None:
    here = [np.zeros((4,), np.int8), np.arange(6, dtype=np.int8), np.ones((2,), np.float32)]
    there = [here[0], here[1] + np.array([0, 0, 1, 0, 2, 0], np.int8), here[2] * 2]
    ends = [np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([[0.3, 0.7], [0.3, 0.7]])]
    found = first_difference("cortex-a72", "a.jpg", ["CONV_2D", "MEAN", "MUL"], here, there, ends)
    assert (found.operators, found.first, found.place) == (1, "MEAN", 1)
    assert (found.values, found.differing, found.largest) == (6, 2, 2)
    assert (found.probability, found.same_best) == (pytest.approx(0.3), True)
    same = first_difference("cortex-a72", "a.jpg", ["CONV_2D"], here[:1], here[:1], ends[1:])
    assert (same.operators, same.first, same.place, same.probability) == (0, "", None, 0.0)


def test_every_operator_gives_its_output(tiny_file: Path, photographs: Path) -> None:
    model = read_model(tiny_file)
    path = list_images(photographs)[0]
    image = prepare(read_image(path, model.size), model.size, model.resize)
    _, operators = opened(model)
    places = [tensor for _, tensor in operators]
    found = tensors(model, image[None])
    assert [name for name, _ in operators][:2] == ["QUANTIZE", "MEAN"]
    assert len(found) == len(operators)
    outputs = Interpreter(model).run(image)._asdict()
    for head in HEADS:
        values = found[places.index(model.heads[head].index)][0]
        assert np.array_equal(values, outputs[head])


def test_the_emulated_system_needs_no_clone(
    tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "payload").mkdir()
    modules = write_payload(tmp_path / "payload")
    listed, out = tmp_path / "images.txt", tmp_path / "answers.npz"
    listed.write_text("".join(f"{path}\n" for path in list_images(photographs)))
    script = (
        "import runpy, sys; sys.path = [path for path in sys.path if 'packages' in path or "
        f"'python3' in path]; sys.meta_path = [one for one in sys.meta_path if 'editable' not in "
        f"str(one).lower()]; sys.path.insert(0, {str(modules)!r}); "
        "runpy.run_module('benchmarks.studies.answers', run_name='__main__')"
    )
    process = subprocess.run(
        [sys.executable, "-P", "-c", script, str(tiny_file), str(listed), "--out", str(out)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert load(out).prepared.shape == (8, 32, 32, 3)
    assert not list(modules.rglob("*latency_ratios*"))


def test_every_core_names_its_part() -> None:
    assert len({cpuinfo(core) for core in CORES}) == len(CORES)
    assert "asimddp" in cpuinfo("cortex-a76") and "asimddp" not in cpuinfo("cortex-a72")


@pytest.mark.skipif(shutil.which(EMULATOR) is None, reason=f"{EMULATOR} is not installed")
@pytest.mark.parametrize("study", ["arm64", "arm64_operators"])
def test_a_folder_that_holds_no_system(
    study: str, tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    process = run(
        "-m",
        f"benchmarks.studies.{study}",
        tiny_file,
        "--data",
        photographs,
        "--root",
        tmp_path,
        "--out",
        tmp_path / "out.csv",
    )
    assert process.returncode == 3, process.stderr
    assert "holds no ARM64 system" in process.stderr
    assert len(process.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(not ROOT, reason="LMEDGE_ARM64_ROOT names no folder made by arm64_root")
def test_a_real_emulation(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "arm64.csv"
    process = run(
        "-m",
        "benchmarks.studies.arm64",
        tiny_file,
        "--data",
        photographs,
        "--root",
        ROOT,
        "--core",
        "cortex-a72",
        "--out",
        out,
    )
    assert process.returncode == 0, process.stderr
    _, (row,) = read(out)
    assert float(row["prepared_same"]) == float(row["outputs_same"]) == 1.0


@pytest.mark.slow
@pytest.mark.skipif(not ROOT, reason="LMEDGE_ARM64_ROOT names no folder made by arm64_root")
def test_a_real_emulation_of_every_operator(
    tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "arm64_operators.csv"
    words = ["-m", "benchmarks.studies.arm64_operators", tiny_file, "--data", photographs]
    words += ["--root", ROOT, "--core", "cortex-a72", "--images", 2, "--out", out]
    process = run(*words)
    assert process.returncode == 0, process.stderr
    _, rows = read(out)
    assert [row["image"] for row in rows][:3] == ["golden 1", "golden 2", "golden 3"]
    assert [(row["operators"], row["first"]) for row in rows] == 5 * [("0", "")]
