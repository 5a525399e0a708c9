"""The run folder: what a training leaves behind, and what is refused when it is read."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lmedge import __version__
from lmedge.decoding import Decoding
from lmedge.errors import RunError
from lmedge.evaluation.scoring import score_probabilities
from lmedge.train.arrays import read_arrays, write_arrays
from lmedge.train.calibration import Calibration
from lmedge.train.network import load_network, predict_logits
from lmedge.train.run import Run
from tests import in_process, small_run


@pytest.fixture
def copy(finished_run: Run, tmp_path: Path) -> Path:
    """A finished run to be damaged."""
    return Path(shutil.copytree(finished_run.folder, tmp_path / "a run"))


def test_resume_draws_the_reports_that_are_missing(copy: Path) -> None:
    """The process was stopped after the weights were written and before the reports were."""
    run = Run.open(copy)
    weights = run.weights_path.read_bytes()
    reports = [
        "report.txt",
        "report.csv",
        *(f"plots/{path.name}" for path in (copy / "plots").glob("*.png")),
    ]
    for name in reports:
        (copy / name).unlink()
    run.checkpoints.mkdir()
    done = in_process.lmedge("train", run.data, "--out", copy, "--resume")
    assert done.returncode == 0, done.stderr
    assert all((copy / name).exists() for name in reports)
    assert run.weights_path.read_bytes() == weights
    again = in_process.lmedge("train", run.data, "--out", copy, "--resume")
    assert (again.returncode, "is finished" in again.stderr) == (5, True)


def test_a_run_is_trained_by_one_process(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr("lmedge.writers.LOCK_SECONDS", 0.1)
    (copy / "checkpoints").mkdir()
    with (copy / "train.log").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        done = in_process.lmedge("train", Run.open(copy).data, "--out", copy, "--resume")
    assert done.returncode == 1
    assert "another `lmedge train` is at work in" in done.stderr


class TestFiles:
    def test_all_are_there_and_nothing_else(self, finished_run: Run) -> None:
        names = {
            str(path.relative_to(finished_run.folder))
            for path in finished_run.folder.rglob("*")
            if path.is_file()
        }
        events = {name for name in names if name.startswith("tensorboard/")}
        phases = {"landmark-head", "landmark-fine-tuning", "landmark-refit", "category-head"}
        assert {name.split("/")[1] for name in events} == phases
        plots = {
            "curves.png",
            "confusion_landmark.png",
            "confusion_category.png",
            "mistakes.png",
            "activation_maps.png",
        }
        assert names - events == {
            "run.json",
            "recipe.toml",
            "split.csv",
            "taxonomy.json",
            "weights.safetensors",
            "history.csv",
            "metrics.json",
            "train.log",
            "report.txt",
            "report.csv",
            *(f"plots/{name}" for name in plots),
        }

    def test_what_the_run_was_made_of(self, finished_run: Run) -> None:
        about = json.loads((finished_run.folder / "run.json").read_text("utf-8"))
        assert about["format"] == 1
        assert about["lmedge"] == __version__
        assert about["seed"] == 0
        assert about["strategy"] == "landmarks-first"
        assert about["split_sha256"] == finished_run.split.digest()
        assert {"python", "tensorflow", "tf_keras", "numpy"} <= set(about["versions"])

    def test_the_recipe_is_the_resolved_one(self, finished_run: Run) -> None:
        text = (finished_run.folder / "recipe.toml").read_text("utf-8")
        values = tomllib.loads(text)
        assert values["data"]["image_size"] == small_run.SIZE
        assert set(values) == set(small_run.recipe().as_dict())

    def test_the_split_names_every_file_and_its_hash(self, finished_run: Run) -> None:
        with (finished_run.folder / "split.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == 48
        assert all(len(row["sha256"]) == 64 and Path(row["path"]).exists() for row in rows)

    def test_the_taxonomy_is_landmark_to_category(self, finished_run: Run) -> None:
        text = (finished_run.folder / "taxonomy.json").read_text("utf-8")
        expected = {name: category for name, (category, _) in small_run.LANDMARKS.items()}
        assert json.loads(text) == expected
        assert "Große Brücke" in text  # as a person would read it

    def test_the_metrics_are_of_both_parts_and_heads(self, finished_run: Run) -> None:
        report = json.loads((finished_run.folder / "metrics.json").read_text("utf-8"))
        assert report.pop("learned_from") == 24
        assert report.pop("doubts") == []
        assert set(report) == {"val", "test"}
        for part in report.values():
            for head in ("landmark", "category"):
                assert part[head]["n"] == 12
                assert 0 <= part[head]["macro_f1"] <= 1

    def test_the_plots_are_images(self, finished_run: Run) -> None:
        for path in (finished_run.folder / "plots").glob("*.png"):
            image = cv2.imread(str(path))
            assert image is not None
            assert image.shape[1] > 300
            assert image.std() > 5 or path.name == "mistakes.png"  # a line when there are none


class TestOpen:
    def test_what_was_written_is_read(self, finished_run: Run) -> None:
        again = Run.open(finished_run.folder)
        assert again == finished_run

    def test_the_network_is_the_one_that_was_scored(self, finished_run: Run) -> None:
        run = Run.open(finished_run.folder)
        logits = predict_logits(load_network(run), run.images("val"))
        report = json.loads((run.folder / "metrics.json").read_text("utf-8"))["val"]
        right = logits["landmark"].argmax(axis=1) == run.labels("val")["landmark"]
        assert right.mean() == pytest.approx(report["landmark_marginal"]["accuracy"])

    def test_it_is_read_as_it_was_scored(self, finished_run: Run) -> None:
        run = Run.open(finished_run.folder)
        read, truth = run.calibration(), run.labels("test")
        found = read.probabilities(predict_logits(load_network(run), run.images("test")))
        weight = read.decoding.category_weight
        scores = score_probabilities(found, truth, run.taxonomy, weight)
        report = json.loads((run.folder / "metrics.json").read_text("utf-8"))["test"]
        assert report["temperatures"] == read.temperatures
        assert set(read.temperatures.values()) != {1.0}
        assert report["category_weight"] == weight
        assert report["landmark"]["macro_f1"] == pytest.approx(scores["landmark"].macro_f1)

    @pytest.mark.parametrize("value", ["0.0", "NaN", '"hot"', "1e9"])
    def test_temperatures_that_cannot_be(self, copy: Path, value: str) -> None:
        path = copy / "metrics.json"
        temperatures = f'{{"landmark": {value}, "category": 1.0}}'
        path.write_text(f'{{"val": {{"temperatures": {temperatures}, "category_weight": 0.5}}}}')
        with pytest.raises(RunError, match=r"metrics\.json is damaged"):
            Run.open(copy).calibration()

    @pytest.mark.parametrize(
        "scores",
        [
            {"category_weight": 0.5},
            {"category_weight": 0.5, "temperatures": {"landmark": 1.0}},
            {"temperatures": {"landmark": 1.0, "category": 1.0}},
        ],
    )
    def test_a_calibration_with_a_part_missing(self, copy: Path, scores: Any) -> None:
        (copy / "metrics.json").write_text(json.dumps({"val": scores}))
        with pytest.raises(RunError, match=r"metrics\.json is damaged"):
            Run.open(copy).calibration()

    def test_without_a_validation_part_there_is_no_calibration(self, copy: Path) -> None:
        (copy / "metrics.json").write_text("{}")
        assert Run.open(copy).calibration() == Calibration(
            {"landmark": 1.0, "category": 1.0}, Decoding(category_weight=1.0)
        )

    def test_a_moved_folder_is_as_good(self, copy: Path, finished_run: Run) -> None:
        assert Run.open(copy).split == finished_run.split

    def test_a_newer_version(self, copy: Path) -> None:
        path = copy / "run.json"
        about = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**about, "format": 2, "lmedge": "9.1"}))
        (copy / "recipe.toml").write_text("[a_section_of_the_future]\n")
        with pytest.raises(RunError, match=r"written by lmedge 9\.1, which is newer.*update"):
            Run.open(copy)

    def test_a_recipe_that_lost_a_value(self, copy: Path) -> None:
        """A run is repeated with its own values, never with a default of today."""
        path = copy / "recipe.toml"
        lines = path.read_text("utf-8").splitlines()
        path.write_text("\n".join(line for line in lines if "views" not in line), "utf-8")
        with pytest.raises(RunError, match=r"is damaged \(.*head\.views: missing"):
            Run.open(copy)

    @pytest.mark.parametrize("name", ["run.json", "recipe.toml", "split.csv"])
    def test_a_missing_file(self, copy: Path, name: str) -> None:
        (copy / name).unlink()
        with pytest.raises(RunError, match=rf"is not a run folder \({name} is missing\)"):
            Run.open(copy)

    def test_a_folder_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"run\.json is missing"):
            Run.open(tmp_path)
        with pytest.raises(RunError, match=r"run\.json is missing"):
            Run.open(tmp_path / "nothing")

    @pytest.mark.parametrize("name", ["run.json", "recipe.toml", "split.csv"])
    @pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b"[1, 2", b"null", b"a,b\n1,2"])
    def test_a_damaged_file(self, copy: Path, name: str, content: bytes) -> None:
        (copy / name).write_bytes(content)
        with pytest.raises(RunError) as caught:
            Run.open(copy)
        assert str(copy) in str(caught.value)

    @pytest.mark.parametrize("name", ["run.json", "recipe.toml", "split.csv"])
    def test_a_file_cut_off(self, copy: Path, name: str) -> None:
        path = copy / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(RunError):
            Run.open(copy)

    @pytest.mark.parametrize(
        "outside", ["/etc/passwd", "{data}/../secret.jpg", "{data}-other/a.jpg", "x.jpg"]
    )
    def test_a_split_of_others_opens_nothing_outside_the_data(
        self, copy: Path, finished_run: Run, outside: str
    ) -> None:
        """The hashes of a split do not hold its paths."""
        path = copy / "split.csv"
        image = finished_run.entries("test")[0].image.path
        text = path.read_text("utf-8")
        path.write_text(text.replace(str(image), outside.format(data=finished_run.data)), "utf-8")
        with pytest.raises(RunError, match="is not below"):
            Run.open(copy)

    def test_a_split_that_lost_lines(self, copy: Path) -> None:
        path = copy / "split.csv"
        lines = path.read_text("utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[:-3]), "utf-8")
        with pytest.raises(RunError, match=r"split\.csv is not the split this run was made with"):
            Run.open(copy)


class TestWeights:
    def test_training_that_has_not_ended(self, copy: Path) -> None:
        (copy / "weights.safetensors").unlink()
        with pytest.raises(RunError, match=r"training has not ended; go on with .*--resume"):
            load_network(Run.open(copy))

    def test_a_wrong_shape_is_named(self, copy: Path) -> None:
        path = copy / "weights.safetensors"
        arrays = read_arrays(path)
        arrays["landmark/0"] = np.zeros((24, 5), np.float32)
        write_arrays(path, arrays)
        with pytest.raises(RunError, match=r"weights\.safetensors does not fit.* at landmark"):
            load_network(Run.open(copy))

    def test_a_missing_layer_is_named(self, copy: Path) -> None:
        path = copy / "weights.safetensors"
        arrays = read_arrays(path)
        del arrays["stem_conv/0"]
        write_arrays(path, arrays)
        with pytest.raises(RunError, match=r"weights\.safetensors does not fit.* at stem_conv"):
            load_network(Run.open(copy))

    @pytest.mark.parametrize("size", [0, 5, 1000])
    def test_a_truncated_file(self, copy: Path, size: int) -> None:
        path = copy / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(RunError, match=r"weights\.safetensors cannot be read"):
            load_network(Run.open(copy))

    def test_they_are_those_of_the_network_alone(self, finished_run: Run) -> None:
        arrays = read_arrays(finished_run.folder / "weights.safetensors")
        weighted = {layer.name for layer in load_network(finished_run).layers if layer.weights}
        assert {name.split("/")[0] for name in arrays} == weighted


class TestCreate:
    def test_a_run_is_not_written_over(
        self, finished_run: Run, tiny_weights: Path, small_photographs: Path
    ) -> None:
        with pytest.raises(RunError, match="holds a run already; go on with --resume"):
            small_run.start(small_photographs, finished_run.folder, tiny_weights)


@pytest.mark.parametrize("name", ["checkpoints", "history.csv"])
def test_what_is_left_of_another_run_is_not_taken_for_its_own(
    name: str, finished_run: Run, tmp_path: Path
) -> None:
    """Phases of a killed run would be restored into this one, of another recipe even."""
    (tmp_path / "run" / name).mkdir(parents=True)
    with pytest.raises(RunError, match=f"left of another run \\({name}\\)"):
        dataclasses.replace(finished_run, folder=tmp_path / "run").create()
    assert [path.name for path in (tmp_path / "run").iterdir()] == [name]


def test_a_finished_run_is_read_without_tensorflow(finished_run: Run) -> None:
    code = """
import pathlib, sys
from lmedge.train.run import Run
run = Run.open(pathlib.Path(sys.argv[1]))
run.check_finished()
assert run.recipe.head.epochs == 8
assert len(run.entries("train")) == 24
assert run.metrics()["test"]["landmark"]["n"] == 12
assert run.calibration().temperatures["landmark"] > 0
assert run.trained_weights()["landmark/0"].shape[1] == 4
assert len(run.history()) == 20
assert run.images("test")[0].shape == (32, 32, 3)
assert next(run.training_inputs(0, 5)).shape == (5, 32, 32, 3)
assert run.spec.feature is None
heavy = {"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code, str(finished_run.folder)], check=True)
