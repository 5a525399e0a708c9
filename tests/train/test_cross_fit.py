"""Cross-fitting: the network learns from all images, the figures come from others' networks."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lmedge.errors import DataError, LmedgeError, RunError
from lmedge.evaluation import CROSS_VALIDATED
from lmedge.train.data.fold_plan import Folding
from tests import small_run
from tests.in_process import lmedge
from tests.processes import assert_refused

if TYPE_CHECKING:
    from lmedge.train.run import Run

FOLDS = small_run.CROSS_FITTED
# Of a training whose scores do not matter
SHORT = ("head.epochs=1", "second_head.epochs=1", "fine_tune.epochs=1")


@pytest.fixture(scope="module")
def fitted(cross_fitted_run: Run) -> Run:
    return cross_fitted_run


def test_the_network_learns_from_every_image(fitted: Run) -> None:
    assert len(fitted.entries("train")) == 48
    assert not fitted.entries("val")
    assert not fitted.entries("test")
    assert fitted.metrics()["learned_from"] == 48
    assert fitted.finished


def test_no_network_has_learned_from_the_images_it_is_asked_about(fitted: Run) -> None:
    from lmedge.train.run import Run

    every: list[str] = []
    for number in (1, 2, 3):
        fold = Run.open(fitted.folder / "folds" / f"fold-{number}")
        learned = {entry.sha256 for entry in fold.entries("train")}
        asked = {entry.sha256 for entry in fold.entries("val")}
        assert not learned & asked
        assert len(learned | asked) == 48
        every += asked
    assert sorted(every) == sorted(entry.sha256 for entry in fitted.entries("train"))


def test_the_answers_are_those_of_each_images_own_network(fitted: Run) -> None:
    from lmedge.train.out_of_fold import read_out_of_fold

    found = read_out_of_fold(fitted)
    assert fitted.plan is not None
    np.testing.assert_array_equal(found.fold, fitted.plan.fold[found.places])
    assert found.features.shape[:2] == (3, 48)
    truth = found.truth(fitted)["landmark"]
    guess = found.logits["landmark"].argmax(axis=1)
    alone = fitted.metrics()[CROSS_VALIDATED]["landmark_marginal"]
    assert float((guess == truth).mean()) == pytest.approx(alone["accuracy"])


def test_the_folder_has_the_figures_with_an_interval(fitted: Run) -> None:
    figures = fitted.metrics()[CROSS_VALIDATED]
    assert figures["landmark"]["n"] == 48
    assert (figures["folds"], figures["networks"]) == (3, 3)
    for head in ("landmark", "category"):
        low, high = figures["interval"][head]
        assert low <= figures[head]["macro_f1"] <= high
    rows = (fitted.folder / "check_labels.csv").read_text("utf-8").splitlines()
    wrong = round(48 * (1 - figures["landmark"]["accuracy"]))
    assert len(rows) == 1 + wrong
    assert (fitted.folder / "plots" / "check_labels.png").exists()
    assert "cross-validated" in (fitted.folder / "report.txt").read_text("utf-8")


def test_the_calibration_is_that_of_the_answers(fitted: Run) -> None:
    figures = fitted.metrics()[CROSS_VALIDATED]
    assert fitted.calibration().temperatures == figures["temperatures"]


@dataclasses.dataclass(frozen=True)
class Resumed:
    """A training that ended in its second fold and went on: the run, and what was printed."""

    folder: Path
    first: subprocess.CompletedProcess[str]
    second: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def resumed(
    small_photographs: Path,
    tiny_weights: Path,
    tiny: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Resumed:
    from lmedge.train.fitting import heads, steps

    out = tmp_path_factory.mktemp("resumed") / "run"
    calls, real = 0, steps.fit

    class KilledError(LmedgeError):
        pass

    def stopped(*arguments: object, **more: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KilledError
        real(*arguments, **more)  # type: ignore[arg-type]

    words = ["train", small_photographs, "--out", out]
    settings = [f"--set={one}" for one in (*small_run.SETTINGS, *FOLDS)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "fit", stopped)
        patch.setattr(heads, "fit", stopped)
        first = lmedge(*words, "--weights", tiny_weights, *settings)
    assert (first.returncode, calls) == (1, 6), first.stderr
    assert not (out / "weights.safetensors").exists()
    second = lmedge(*words, "--resume")
    assert second.returncode == 0, second.stderr
    return Resumed(out, first, second)


def test_a_killed_training_goes_on_to_the_same_weights(fitted: Run, resumed: Resumed) -> None:
    from lmedge.train.run import Run

    run = Run.open(resumed.folder)
    first, second = fitted.trained_weights(), run.trained_weights()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert run.metrics() == fitted.metrics()


def test_what_was_learned_is_no_measure(fitted: Run, tmp_path: Path) -> None:
    """Without --data the figures are those of the fold networks."""
    done = lmedge("evaluate", fitted.folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "cross-validated: each predicted by a network that had not seen it" in done.stdout
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
    assert report["data"]["part"] == CROSS_VALIDATED
    metrics = fitted.metrics()[CROSS_VALIDATED]
    assert report["accuracy"]["landmark"] == metrics["landmark"]
    done = lmedge("evaluate", fitted.folder, "--part", "train", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "48 images, float, 48 of them learned" in done.stdout
    assert "48 images that the network has learned: not a measure of new ones" in done.stdout


def test_folds_of_another_run_are_refused(fitted: Run, tmp_path: Path) -> None:
    from lmedge.train.run import Run

    copy = tmp_path / "run"
    shutil.copytree(fitted.folder, copy)
    lines = (copy / "folds.csv").read_text("utf-8").splitlines()
    (copy / "folds.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n", "utf-8")
    with pytest.raises(RunError, match="not of the images of this run"):
        Run.open(copy)


def test_damaged_answers_are_refused(fitted: Run, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    from lmedge.train.arrays import read_arrays
    from lmedge.train.out_of_fold import FILE, read_out_of_fold

    copy = dataclasses.replace(fitted, folder=tmp_path)
    arrays = read_arrays(fitted.folder / FILE)
    save_file({**arrays, "landmark": arrays["landmark"] * np.nan}, tmp_path / FILE)
    with pytest.raises(RunError, match="train anew"):
        read_out_of_fold(copy)


def test_a_validation_part_of_the_users_own_is_not_learned_from(
    tiny_weights: Path, tiny: None, tmp_path: Path
) -> None:
    data = tmp_path / "photographs"
    for seed, part in enumerate(("train", "val")):
        small_run.write_photographs(data / part, 4, seed=seed)
    run = small_run.start(data, tmp_path / "run", tiny_weights, FOLDS)
    assert run.plan is None
    assert len(run.entries("val")) == 16


def test_a_test_part_of_the_users_own_is_kept(
    tiny_weights: Path, tiny: None, tmp_path: Path
) -> None:
    data = tmp_path / "photographs"
    for seed, part in enumerate(("train", "test")):
        small_run.write_photographs(data / part, 4, seed=seed)
    run = small_run.start(data, tmp_path / "run", tiny_weights, FOLDS)
    assert run.plan is not None
    assert [len(run.entries(part)) for part in ("train", "val", "test")] == [16, 0, 16]


def test_images_that_do_not_fill_the_folds_fill_fewer(
    tiny_weights: Path, tiny: None, tmp_path: Path
) -> None:
    """One landmark with two different images, and one whose images are all the same."""
    from lmedge.train.run import Run

    data = tmp_path / "photographs"
    names = list(small_run.LANDMARKS)[:2]
    chosen = {name: small_run.LANDMARKS[name] for name in names}
    small_run.write_photographs(data, 2, landmarks=chosen)
    folder = data / chosen[names[1]][0] / names[1]
    first, second = sorted(folder.iterdir())
    second.write_bytes(first.read_bytes())
    run = small_run.start(data, tmp_path / "run", tiny_weights, FOLDS)
    assert run.plan is not None
    assert (run.plan.folds, run.plan.networks, len(run.plan.measured)) == (2, 2, 2)
    assert Run.open(run.folder).plan == run.plan


def test_without_different_images_nothing_is_folded(
    tiny_weights: Path, tiny: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "photographs"
    small_run.write_photographs(data, 2)
    for first in data.glob("*/*/*00.jpg"):
        first.with_name("an image 01.jpg").write_bytes(first.read_bytes())
    run = small_run.start(data, tmp_path / "run", tiny_weights, FOLDS)
    assert run.plan is None
    assert "parts are held back" in caplog.text


def test_the_curves_show_what_the_folds_had_not_seen(fitted: Run) -> None:
    from lmedge.train.out_of_fold import fold_history
    from lmedge.train.run import Run

    folds = [Run.open(fitted.folder / "folds" / f"fold-{n}").history() for n in (1, 2, 3)]
    for row, *own in zip(fold_history(fitted), *folds, strict=True):
        assert {(one.phase, one.epoch) for one in own} == {(row.phase, row.epoch)}
        assert row.val_loss == pytest.approx(np.mean([one.val_loss for one in own]))
        assert row.val_macro_f1 == pytest.approx(np.mean([one.val_macro_f1 for one in own]))
    assert all(row.val_loss == 0 for row in fitted.history())


@pytest.mark.parametrize(
    ("settings", "networks"),
    [
        ((), 3),
        (("data.cross_fit_up_to=47",), 1),
        (("data.cross_fit_up_to=47", "data.measure_up_to=47"), 0),
        (("data.test_count=2",), 0),
        (("data.folds=0",), 0),
    ],
)
def test_the_number_of_images_chooses(
    settings: tuple[str, ...],
    networks: int,
    small_photographs: Path,
    tiny_weights: Path,
    tiny: None,
    tmp_path: Path,
) -> None:
    run = small_run.start(small_photographs, tmp_path / "run", tiny_weights, [*FOLDS, *settings])
    assert (run.plan.networks if run.plan else 0) == networks
    assert bool(run.entries("val")) == (networks == 0)


@pytest.mark.parametrize(("chosen", "told"), [(None, True), (False, False)])
def test_several_devices_hold_parts_back_and_say_why(
    chosen: bool | None, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lmedge")
    settings = small_run.recipe(*FOLDS).data
    rule = Folding.of_recipe(settings, chosen, one_device=False)
    assert rule.networks(48) == 0
    line = "parts are held back to choose and to measure by: cross-fitting trains on one device"
    assert (line in caplog.text) == told
    assert Folding.of_recipe(settings, chosen).networks(48) == (3 if told else 0)


def test_a_cross_fitted_run_goes_on_on_one_device(cross_fitted_run: Run) -> None:
    cross_fitted_run.check_replicas(1)
    told = "is cross-fitted, which trains on one device; leave out --distribute"
    with pytest.raises(RunError, match=told):
        cross_fitted_run.check_replicas(2)


def test_workers_know_before_they_wait_that_a_run_is_cross_fitted(
    cross_fitted_run: Run, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(cross_fitted_run.folder, tmp_path / "run"))
    (out / "weights.safetensors").unlink()
    task = {"type": "worker", "index": 0}
    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    words = ["train", "photographs", "--out", out, "--resume", "--distribute", "multiworker"]
    done = lmedge(*words, TF_CONFIG=json.dumps({"cluster": cluster, "task": task}))
    assert_refused(done, 5, "is cross-fitted, which trains on one device")


def test_one_measured_fold_gives_figures_of_its_images_alone(
    small_photographs: Path, tiny_weights: Path, tiny: None, tmp_path: Path
) -> None:
    from lmedge.train import training

    settings = [*FOLDS, *SHORT, "data.cross_fit_up_to=10"]
    run = small_run.start(small_photographs, tmp_path / "run", tiny_weights, settings)
    training.train_run(run)
    assert run.metrics()[CROSS_VALIDATED]["landmark"]["n"] == 16
    assert run.metrics()["learned_from"] == 48


def test_the_command_says_which_figure_is_what(resumed: Resumed) -> None:
    assert "48 images are predicted by 3 networks" in resumed.first.stderr
    assert "With --hold-out one network learns from about 31" in resumed.first.stderr
    metrics = json.loads((resumed.folder / "metrics.json").read_text())
    f1, printed = metrics[CROSS_VALIDATED]["landmark"]["macro_f1"], resumed.second.stdout
    assert "cross-validated, by networks that had not seen the image (n = 48, float)" in printed
    assert f"landmark macro F1 {f1:.3f} (95 % interval" in printed
    assert "has learned from 48 images" in printed


def test_hold_out_keeps_parts_back(
    small_photographs: Path, tiny_weights: Path, tiny: None, tmp_path: Path
) -> None:
    words = [f"--set={one}" for one in (*small_run.SETTINGS, *FOLDS, *SHORT)]
    out = tmp_path / "run"
    done = lmedge(
        "train", small_photographs, "--hold-out", "--weights", tiny_weights, "--out", out, *words
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics) == {"val", "test", "learned_from", "doubts"}
    assert metrics["learned_from"] < 48


def test_cross_fitting_without_folds_is_refused(small_photographs: Path, tmp_path: Path) -> None:
    done = lmedge(
        "train", small_photographs, "--cross-fit", "--recipe", "demo", "--out", tmp_path / "run"
    )
    assert done.returncode != 0
    assert "data.folds" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_landmark_with_one_image_is_refused(
    tiny_weights: Path, tiny: None, tmp_path: Path
) -> None:
    data = small_run.write_photographs(tmp_path / "photographs", 1)
    with pytest.raises(DataError, match="add at least 1 more"):
        small_run.start(data, tmp_path / "run", tiny_weights, FOLDS)
