"""A runtime in a process of its own: the same answers, its own clock, one line when it fails."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lmedge.benchmarks.workers.parent import Worker, bare, classifier
from lmedge.classifier import Classifier
from lmedge.errors import LmedgeError, MissingDependencyError, ModelFileError
from lmedge.model_file import HEADS, read_model
from tests import tiny_file as tiny


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_classifier_of_another_process_says_the_same(tiny_file: Path) -> None:
    here = Classifier(tiny_file)
    with classifier("there", tiny_file, "litert") as worker:
        assert worker.label.startswith("ai-edge-litert ")
        for name in tiny.COLOURS:  # of several sizes: the frame travels as it is
            frame = tiny.image(name, 40 + len(name), 70)
            found, wanted = worker.answer(frame), here.classify(frame)
            assert found["landmark"].tobytes() == wanted.landmark_marginal.tobytes()
            assert found["category"].tobytes() == wanted.category_marginal.tobytes()
            assert found["joint"].tobytes() == wanted.joint.tobytes()


def test_the_order_of_colours_changes_no_answer(tiny_file: Path) -> None:
    with classifier("there", tiny_file, "litert", bgr=True) as worker:
        for name in tiny.COLOURS:
            found = worker.answer(tiny.image(name))["joint"]
            assert tiny.TAXONOMY.landmarks[found.argmax()] == name


def test_the_step_may_begin_with_a_file(tiny_file: Path) -> None:
    frames = [tiny.image(name) for name in tiny.COLOURS]
    with classifier("there", tiny_file, "litert", jpeg=True) as worker:
        for name, frame in zip(tiny.COLOURS, frames, strict=True):
            assert tiny.TAXONOMY.landmarks[worker.answer(frame)["joint"].argmax()] == name
        worker.show(np.zeros((3000, 4000, 3), np.uint8))
        large = worker.time()
        worker.show(np.zeros((32, 32, 3), np.uint8))
        assert worker.time() < large  # the file is read within the step


def test_the_bare_interpreter_with_and_without_xnnpack(tiny_file: Path) -> None:
    model, image = read_model(tiny_file), tiny.image("blue", 32, 32)
    landmark = Classifier(model).interpreter.run(image).landmark
    for plain in (False, True):
        with bare(
            "interpreter", model, sys.executable, name="bare", runtime="litert", plain=plain
        ) as worker:
            found = worker.answer(image)
        assert set(found) == set(HEADS)
        assert found["landmark"] == pytest.approx(landmark, abs=0.01)


def test_time_is_the_workers_own(tiny_file: Path) -> None:
    with classifier("there", tiny_file, "litert") as worker:
        worker.show(np.zeros((480, 640, 3), np.uint8))
        start = time.perf_counter_ns()
        taken = worker.time(warm=3)
        assert 0 < taken < time.perf_counter_ns() - start


def test_the_process_ends_with_its_worker(tiny_file: Path) -> None:
    with classifier("there", tiny_file, "litert") as worker:
        number = worker._process.pid
        os.kill(number, 0)
    assert worker._process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_worker_that_dies_is_one_line(tiny_file: Path) -> None:
    with classifier("there", tiny_file, "litert") as worker:
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(LmedgeError, match=r"^there: .* was ended by SIGKILL$"):
            worker.time()


def test_a_file_that_cannot_be_used_keeps_its_kind(tmp_path: Path) -> None:
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match=r"there: .*bad\.tflite: not a TFLite file"):
        classifier("there", bad, "litert")


def test_what_is_no_python(tiny_file: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="absent is no Python"):
        classifier("there", tiny_file, "litert", tmp_path / "absent")
    failing = script(tmp_path / "failing", "echo reason >&2; exit 3")
    with pytest.raises(LmedgeError, match=r"ended with exit code 3 \(reason\)"):
        classifier("there", tiny_file, "litert", failing)


def test_an_environment_without_the_package(tiny_file: Path, tmp_path: Path) -> None:
    """Isolated from what is installed, as an empty virtual environment is."""
    empty = script(tmp_path / "python", f'exec {sys.executable} -S -I "$@"')
    model = read_model(tiny_file)
    with pytest.raises(MissingDependencyError, match="cannot import numpy.*install it there"):
        classifier("there", tiny_file, "litert", empty)
    with pytest.raises(MissingDependencyError, match="cannot import onnxruntime"):
        Worker("ort", empty, {"kind": "onnxruntime", "file": str(model.path), "threads": 1})


def test_a_runtime_that_does_not_answer_is_given_up(
    tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with classifier("there", tiny_file, "litert") as worker:
        monkeypatch.setattr("lmedge.benchmarks.workers.parent.SECONDS", 0.5)
        os.kill(worker._process.pid, signal.SIGSTOP)
        with pytest.raises(LmedgeError, match=r"no answer within 0\.5 s"):
            worker.time()
