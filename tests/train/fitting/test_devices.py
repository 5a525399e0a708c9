"""Devices and replicas: the logic on logical CPU devices and on processes over loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmedge.train.arrays import read_arrays
from lmedge.train.fitting.replicas import feed, shares
from lmedge.train.run import Run
from tests import processes, small_run
from tests.in_process import lmedge
from tests.locations import ROOT
from tests.processes import assert_refused

# `lmedge` with the tiny backbone, so many logical CPU devices, and layers that compute in float64
# where they would in float32: there the order of additions does not matter for 14 digits.
CODE = """
import sys
from lmedge.train.backend import keras, tf
count, layer = int(sys.argv.pop(1)), keras.layers.Layer
choose = layer._set_dtype_policy
def doubled(self, dtype):
    choose(self, dtype)
    if self.dtype_policy.name == "float32":
        choose(self, "float64")
if sys.argv.pop(1) == "double":
    layer._set_dtype_policy = doubled
cpu = tf.config.list_physical_devices("CPU")[0]
if count > 1:
    parts = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(cpu, parts)
from tests import tiny_backbone
from lmedge.cli import main
with tiny_backbone.installed(): main(sys.argv[1:])
"""
ABSENT = {"type": "worker", "index": 3}
# 30 images in batches of 8: the last batch of an epoch does not divide. Steps of SGD grow with the
# gradient, so that rounding stays small; those of AdamW do not.
SETTINGS = (
    "head.batch=8",
    "head.epochs=2",
    "head.optimizer=sgd",
    "second_head.batch=8",
    "second_head.epochs=1",
    "second_head.optimizer=sgd",
    "fine_tune.epochs=2",
    "fine_tune.optimizer=sgd",
    "network.head_layers=[12]",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("devices")
    return small_run.write_photographs(folder / "data", 15)


@pytest.fixture(scope="module", autouse=True)
def weights(data: Path, tiny_weights: Path) -> None:
    """Pretrained weights beside the photographs: batch norm is frozen, nothing is by chance."""
    (data.parent / "tiny.h5").write_bytes(tiny_weights.read_bytes())


@pytest.fixture(scope="module")
def alone(data: Path, weights: None) -> Path:
    """A run on one device, in double precision."""
    out = data.parent / "alone"
    return finished(train(data, out, precision="double"), out)


def caches(data: Path) -> list[Path]:
    """Return the caches of two workers."""
    return [data.parent / f"cache-{number}" for number in range(2)]


def command(
    data: Path, out: Path, *words: str, devices: int = 1, precision: str = "single"
) -> list[str]:
    pretrained = ("--weights", str(data.parent / "tiny.h5"))
    given = ["train", str(data), "--out", str(out), *pretrained, *small_run.options(*SETTINGS)]
    return [sys.executable, "-c", CODE, str(devices), precision, *given, *words]


def start(words: list[str], data: Path, **environment: str) -> subprocess.Popen[str]:
    environment.setdefault("LMEDGE_CACHE", str(data.parent / "cache"))
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def train(
    data: Path,
    out: Path,
    *words: str,
    devices: int = 1,
    precision: str = "single",
    **environment: str,
) -> Any:
    given = command(data, out, *words, devices=devices, precision=precision)
    return start(given, data, **environment)


def finished(process: subprocess.Popen[str], folder: Path) -> Path:
    _, said = process.communicate(timeout=900)
    assert process.returncode == 0, said
    return folder


def assert_agree(one: Path, other: Path) -> None:
    """Assert that two runs in double precision learned the same: every weight, every loss."""
    first, second = (read_arrays(run / "weights.safetensors") for run in (one, other))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.dtype == second[name].dtype == np.float64
        np.testing.assert_allclose(second[name], value, rtol=1e-7, atol=1e-10, err_msg=name)
    histories = [Run.open(run).history() for run in (one, other)]
    for a, b in zip(*histories, strict=True):
        assert (a.phase, a.epoch) == (b.phase, b.epoch)
        assert a.val_loss == pytest.approx(b.val_loss, rel=1e-7)


def test_two_devices_agree_with_one(data: Path, alone: Path) -> None:
    out = data.parent / "mirrored"
    process = train(data, out, "--distribute", "mirrored", devices=2, precision="double")
    finished(process, out)
    assert_agree(alone, out)
    assert "2 replicas in step" in (out / "train.log").read_text("utf-8")
    assert "replicas" not in (alone / "train.log").read_text("utf-8")


def two_workers(
    data: Path, out: Path, *words: str, precision: str = "single"
) -> list[subprocess.Popen[str]]:
    """Start two workers of one training on loopback."""
    addresses = [f"127.0.0.1:{processes.free_port()}" for _ in range(2)]
    return [
        train(
            data,
            out,
            *("--distribute", "multiworker", *words),
            precision=precision,
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
            ),
            LMEDGE_CACHE=str(caches(data)[number]),
        )
        for number in range(2)
    ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGKILL, "its connection ended"), (signal.SIGSTOP, "for 20 s")]
)
def test_a_worker_that_is_lost_in_a_step_ends_the_other_with_one_line(
    number: signal.Signals, reason: str, data: Path, tmp_path: Path
) -> None:
    """TensorFlow waits in a collective, where it handles no signal."""
    out = tmp_path / "lost"
    chief, other = two_workers(data, out, "--set", "fine_tune.epochs=4000")
    try:
        until = time.monotonic() + 1000
        while "landmark-fine-tuning" not in (read_text(out / "history.csv")):
            assert time.monotonic() < until
            assert chief.poll() is None, chief.communicate()[1]
            time.sleep(0.2)
        other.send_signal(number)
        began = time.monotonic()
        _, said = chief.communicate(timeout=60)
        assert time.monotonic() - began < 30
    finally:
        for process in (chief, other):
            process.kill()
            process.communicate()
    assert chief.returncode == 17
    assert "Traceback" not in said
    line = said.splitlines()[-1]
    assert line.startswith("lmedge: worker 2 (127.0.0.1:")
    assert "of landmark-fine-tuning: " in line
    assert f"{reason}; start all again with --resume" in line


def read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:  # not there yet
        return ""


def test_two_processes_agree_with_one(data: Path, alone: Path) -> None:
    out = data.parent / "multiworker"
    asked = ("--set", "data.folds=3")  # folds are the default
    workers = two_workers(data, out, *asked, precision="double")
    try:
        said = [process.communicate(timeout=900) for process in workers]
    finally:
        for process in workers:
            process.kill()
    assert [process.returncode for process in workers] == [0, 0], said
    assert_agree(alone, out)
    assert "parts are held back to choose and to measure by: cross-fitting" in said[0][1]
    assert "worker 2 is done" in said[1][0]
    assert "trained in" not in said[1][0]
    cached = [len({path.name[:64] for path in own.rglob("*.rgb")}) for own in caches(data)]
    assert 20 <= cached[1] <= 40  # of 60: each worker reads its share; the chief draws reports too
    assert not list(Path(out).parent.glob("lmedge-worker-*"))


def test_mixed_precision_keeps_float32_weights(data: Path) -> None:
    from lmedge.train.backend import keras

    out = data.parent / "mixed"
    pretrained = ("--weights", data.parent / "tiny.h5")
    words = ("train", data, "--out", out, *pretrained, *small_run.options(*SETTINGS))
    try:
        process = lmedge(*words, "--precision", "mixed", LMEDGE_CACHE=str(data.parent / "cache"))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert process.returncode == 0, process.stderr
    weights = read_arrays(out / "weights.safetensors")
    assert {str(value.dtype) for value in weights.values()} <= {"float32", "int64"}
    assert "float16 with float32 weights" in (out / "train.log").read_text("utf-8")
    losses = [row.loss for row in Run.open(out).history() if row.phase == "landmark-fine-tuning"]
    assert np.isfinite(losses).all()


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (("--device", "gpu"), {}, ("no GPU", "lmedge doctor")),
        (("--device", "tpu"), {}, ("tpu", "gpu:N")),
        (("--distribute", "mirrored"), {}, ("two devices",)),
        (("--distribute", "multiworker"), {"TF_CONFIG": ""}, ("needs TF_CONFIG",)),
        (("--distribute", "multiworker"), {"TF_CONFIG": "{"}, ("TF_CONFIG", "JSONDecodeError")),
        (
            ("--distribute", "multiworker"),
            {"TF_CONFIG": json.dumps({"cluster": {"worker": ["a:1"]}, "task": ABSENT})},
            ("TF_CONFIG", "IndexError"),
        ),
    ],
)
def test_what_is_not_there_is_one_line(
    words: tuple[str, ...], environment: dict[str, str], said: tuple[str, ...], tmp_path: Path
) -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "", **environment}
    # TensorFlow finds the devices once a process
    run = processes.lmedge if said[0] in ("no GPU", "two devices") else lmedge
    process = run("train", tmp_path, "--out", tmp_path / "out", *words, **environment)
    assert_refused(process, 1, *said)
    assert not (tmp_path / "out").exists()


class Batches:
    """Two batches of five and two images, with weights; each image belongs to one worker."""

    owner = np.array([0, 1, 1, 1, 0, 0, 0])

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return self.part(index, np.arange(len(self.owners(index))))

    def owners(self, index: int) -> Any:
        return self.owner[:5] if index == 0 else self.owner[5:]

    def part(self, index: int, places: Any) -> Any:
        rows = places + 5 * index
        x = rows[:, None].astype(np.float64)
        return x, {"landmark": 10 * x}, {"landmark": 1 + rows.astype(np.float64)}


@pytest.mark.parametrize(("workers", "devices"), [(2, 1), (1, 2), (2, 2), (1, 3)])
def test_shares_hold_every_image_once_and_their_mean_is_that_of_the_batch(
    workers: int, devices: int
) -> None:
    def loss(inputs: np.ndarray, weights: np.ndarray) -> float:
        return float((weights * inputs[:, 0] ** 2).sum()) / len(inputs)

    count = workers * devices
    by_device = []
    for number in range(workers):
        given = list(shares(Batches(), count, number=number, size=workers))
        by_device += [given[device::devices] for device in range(devices)]
    for index in range(2):
        x, _, weights = Batches()[index]
        parts = [device[index] for device in by_device]
        assert len({len(part[0]) for part in parts}) == 1
        seen = [value for part in parts for value in part[0][part[2]["landmark"] > 0, 0].tolist()]
        assert sorted(seen) == x[:, 0].tolist()
        for inputs, targets, _ in parts:
            np.testing.assert_array_equal(targets["landmark"], 10 * inputs)
        mean = np.mean([loss(part[0], part[2]["landmark"]) for part in parts])
        assert mean == pytest.approx(loss(x, weights["landmark"]), rel=1e-6)


def test_nothing_that_hands_batches_to_devices_is_autotuned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An iterator that is autotuned waits when it ends, as long as the epoch took."""
    from tensorflow.python.data.ops.multi_device_iterator_ops import OwnedMultiDeviceIterator

    from lmedge.train.backend import tf

    tuned: list[bool | None] = []
    begin = tf.data.Dataset.__iter__

    def seen(dataset: Any) -> Any:
        tuned.append(dataset.options().autotune.enabled)
        return begin(dataset)

    monkeypatch.setattr(tf.data.Dataset, "__iter__", seen)
    monkeypatch.setattr("lmedge.train.fitting.replicas.replicas", lambda: 2)
    data = tf.data.Dataset.range(3)
    for expected in (False, None):  # None: by TensorFlow's default, it is
        with feed(Batches()) if expected is False else contextlib.nullcontext():
            iterator = OwnedMultiDeviceIterator(data, ["CPU:0"])
            assert [int(iterator.get_next()[0]) for _ in range(3)] == [0, 1, 2]
        assert tuned == [expected]
        tuned.clear()


def test_a_worker_gets_its_own_images_alone() -> None:
    for number in range(2):
        for inputs, _, weights in shares(Batches(), 2, number=number, size=2):
            own = inputs[weights["landmark"] > 0, 0].astype(int)
            assert (Batches.owner[own] == number).all()
