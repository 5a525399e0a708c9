"""What is known before the first step is refused before it, and leaves no folder behind."""

from __future__ import annotations

import collections
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmedge.errors import DataError, DeviceError, LmedgeError, WeightsError
from lmedge.image import Resize
from lmedge.train import preflight, training
from lmedge.train.data.store import ImageStore
from lmedge.train.network import build_network
from lmedge.train.run import Run
from tests import small_run
from tests.in_process import lmedge
from tests.processes import assert_refused


class TestNothingIsLeft:
    def test_of_a_training_that_fails_before_its_first_epoch(
        self,
        small_photographs: Path,
        tiny_weights: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """So that the corrected command is not told to go on with --resume."""

        def refuse(*_: object) -> None:
            raise WeightsError("tiny.h5: damaged; take another")

        monkeypatch.setattr(training, "load_stock_weights", refuse)
        words = ["--weights", tiny_weights, *small_run.options()]
        done = lmedge("-q", "train", small_photographs, *words, cwd=tmp_path)
        assert_refused(done, 9, "tiny.h5: damaged")
        assert list(tmp_path.iterdir()) == []

    def test_but_what_was_there_and_what_was_trained_stay(
        self, finished_run: Run, tmp_path: Path
    ) -> None:
        copy = Path(shutil.copytree(finished_run.folder, tmp_path / "run"))
        assert Run.open(copy).begun
        for path in (*copy.rglob("*.safetensors"), copy / "history.csv"):
            path.unlink()
        (copy / "notes.txt").write_text("mine")
        run = Run.open(copy)
        assert not run.begun
        run.remove_description()
        left = {path.name for path in copy.iterdir()}
        assert "notes.txt" in left
        assert not left & {"run.json", "split.csv", "recipe.toml", "train.log"}


class TestMachine:
    def test_a_disk_that_cannot_take_the_checkpoints(
        self, finished_run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        network = build_network(finished_run.spec)
        preflight.check_space(finished_run, network)
        usage = collections.namedtuple("usage", "total used free")
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage(9, 9, 1000))
        with pytest.raises(LmedgeError, match="0 MB are free, and the checkpoints take about"):
            preflight.check_space(finished_run, network)

    def test_a_batch_that_memory_cannot_take(
        self, finished_run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        network = build_network(finished_run.spec)
        preflight.check_memory(finished_run, network)
        monkeypatch.setattr(preflight, "memory_bytes", lambda: 100_000)
        with pytest.raises(DeviceError, match=r"fine_tune.batch=8: .* try --set fine_tune.batch="):
            preflight.check_memory(finished_run, network)


class TestMovedPhotographs:
    """The same photographs in another folder, with a cold cache."""

    @pytest.fixture
    def moved(self, small_photographs: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(small_photographs, tmp_path / "moved"))

    def test_are_read_there(self, finished_run: Run, moved: Path, tmp_path: Path) -> None:
        run = finished_run.moved_to(moved)
        entries = run.entries("val")
        assert all(entry.image.path.is_relative_to(moved) for entry in entries)
        assert run.split.digest() == finished_run.split.digest()
        store = ImageStore(32, Resize.SQUASH, tmp_path / "cold")
        here, there = (store.prepared_many(one.entries("val")) for one in (run, finished_run))
        assert np.array_equal(here, there)
        assert finished_run.moved_to(Path(finished_run.data)) is finished_run

    def test_must_all_be_there(self, finished_run: Run, moved: Path) -> None:
        gone = finished_run.moved_to(moved).entries("train")[0].image.path
        gone.unlink()
        with pytest.raises(DataError, match="1 of the 48 images of the run are not there") as info:
            finished_run.moved_to(moved)
        assert str(gone) in str(info.value)

    def test_that_changed_are_found(self, finished_run: Run, moved: Path, tmp_path: Path) -> None:
        run = finished_run.moved_to(moved)
        entry = run.entries("val")[0]
        small_run.save(entry.image.path, small_run.draw((9, 9, 9), 1))
        store = ImageStore(32, Resize.SQUASH, tmp_path / "cold")
        with pytest.raises(DataError, match="changed since the run began"):
            store.prepared(entry)

    def test_are_evaluated_as_the_runs_own(
        self, finished_run: Run, moved: Path, tmp_path: Path
    ) -> None:
        words = ["--data", moved, "--part", "test", "--out", tmp_path / "out"]
        done = lmedge("evaluate", finished_run.folder, *words)
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
        assert report["accuracy"]["landmark"] == finished_run.metrics()["test"]["landmark"]
        assert report["data"] == {"path": str(moved), "part": "test"}

    def test_are_asked_for_by_every_command(self, finished_run: Run, tmp_path: Path) -> None:
        """A folder that is another one is refused before TensorFlow's seconds."""
        empty = tmp_path / "empty"
        empty.mkdir()
        unfinished = Path(shutil.copytree(finished_run.folder, tmp_path / "run"))
        (unfinished / "weights.safetensors").unlink()
        told = "images of the run are not there"
        words: list[list[Any]] = [
            ["export", finished_run.folder, "--int8", "--data", empty, "-o", tmp_path / "x.tflite"],
            ["train", empty, "--out", unfinished, "--resume"],
        ]
        for one in words:
            assert_refused(lmedge(*one), 3, told)


class TestPhotographsThatAreGone:
    """With a cold cache they are missed before TensorFlow's seconds, and not in a step."""

    @pytest.fixture
    def gone(self, finished_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A run whose photographs were renamed, with an empty cache."""
        monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path / "cold"))
        folder = Path(shutil.copytree(finished_run.folder, tmp_path / "run"))
        away = str(tmp_path / "away")
        for name in ("run.json", "split.csv"):
            text = (folder / name).read_text("utf-8")
            (folder / name).write_text(text.replace(finished_run.data, away), "utf-8")
        return folder

    @pytest.mark.parametrize("command", ["export", "evaluate", "train"])
    def test_are_asked_for_at_once(
        self, command: str, gone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "lmedge.train.training", None)
        monkeypatch.setitem(sys.modules, "lmedge.train.reports.predictions", None)
        words: list[object] = [gone]
        if command == "train":
            (gone / "weights.safetensors").unlink()
            words = [tmp_path / "away", "--out", gone, "--resume"]
        elif command == "export":
            words = [gone, "--int8", "-o", tmp_path / "x.tflite"]
        told = "images of the run are neither in"
        assert_refused(lmedge(command, *words), 3, told, "nor in the cache", "with --data or for")

    def test_are_not_missed_with_a_warm_cache(
        self, gone: Path, finished_run: Run, tmp_path: Path
    ) -> None:
        here, run = finished_run.entries("val"), Run.open(gone)
        with pytest.raises(DataError, match=f"{len(here)} of {len(here)} images of the run"):
            run.check_images(run.entries("val"))
        ImageStore(run.recipe.data.image_size, Resize(run.recipe.data.resize)).prepared_many(here)
        run.check_images(run.entries("val"))


class TestErrorsInBatches:
    """An error of ours comes out of TensorFlow's pipelines as itself."""

    @pytest.mark.parametrize("many", [1, 3])
    def test_while_fitting_and_predicting(self, tiny: None, many: int) -> None:
        from lmedge.train.backend import keras
        from lmedge.train.fitting.replicas import feed, predicted

        class Batches(keras.utils.Sequence):  # type: ignore[misc]
            def __len__(self) -> int:
                return many + 1

            def __getitem__(self, index: int) -> Any:
                if index == many:
                    raise DataError("a.jpg: changed since the run began; put it back")
                return np.ones((2, 3), np.float32), {"out": np.ones((2, 1), np.float32)}

        class Inputs(Batches):
            def __getitem__(self, index: int) -> Any:
                return super().__getitem__(index)[0]

        features = keras.Input((3,))
        output = keras.layers.Dense(1, name="out")(features)
        model = keras.Model(features, {"out": output})
        model.compile("sgd", "mse")
        with (
            pytest.raises(DataError, match="a.jpg: changed"),
            feed(Batches()) as (batches, steps),
        ):
            model.fit(batches, steps_per_epoch=steps, verbose=0)
        with pytest.raises(DataError, match="a.jpg: changed"):
            predicted(model, Inputs())

    def test_of_an_image_that_changed_while_a_network_learns(
        self, small_photographs: Path, tiny_weights: Path, tiny: None, tmp_path: Path
    ) -> None:
        data = Path(shutil.copytree(small_photographs, tmp_path / "photographs"))
        settings = ("head.epochs=1", "head.views=0", "augment.copies=[]", "fine_tune.epochs=1")
        with small_run.own_cache(tmp_path / "cache"):
            run = small_run.start(data, tmp_path / "run", tiny_weights, settings)
            changed = run.entries("train")[5]
            small_run.save(changed.image.path, small_run.draw((9, 9, 9), 1))
            for path in (tmp_path / "cache").rglob(f"{changed.sha256}-*-work-*"):
                path.unlink()
            with pytest.raises(DataError, match="changed since the run began") as info:
                training.train_run(run)
        assert str(changed.image.path) in str(info.value)
        assert [row.phase for row in run.history()] == ["landmark-head"]


def test_one_category_quietly(tiny_weights: Path, tmp_path: Path) -> None:
    """Warnings of libraries and all lines go to train.log; -q quietens the console alone."""
    landmarks = {name: ("sights", colour) for name, (_, colour) in small_run.LANDMARKS.items()}
    data = small_run.write_photographs(tmp_path / "photographs", 4, landmarks=landmarks)
    settings = small_run.options("head.epochs=1", "second_head.epochs=1", "fine_tune.epochs=1")
    words = ["--out", tmp_path / "run", "--weights", tiny_weights, *settings]
    done = small_run.lmedge("-q", "train", data, *words)
    assert (done.returncode, done.stderr) == (0, "")
    log = (tmp_path / "run" / "train.log").read_text("utf-8")
    assert "one network learns from " in log
    assert "SyntaxWarning" in log


def test_a_run_without_images_to_judge_by_is_told_before_it_trains(
    small_photographs: Path, tiny_weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ("data.val_fraction=0", "data.test_fraction=0")
    run = small_run.start(small_photographs, tmp_path / "run", tiny_weights, settings)
    assert not run.judged
    assert "`lmedge export` will need --force" in caplog.text
