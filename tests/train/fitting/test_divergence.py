"""Divergence ends its phase with one line, the last good weights stay, no file has a NaN."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lmedge.errors import DivergedError, GateError, LmedgeError, RunError
from lmedge.files import write_json
from lmedge.train.arrays import read_arrays, write_arrays
from tests import small_run
from tests.in_process import lmedge

if TYPE_CHECKING:
    from lmedge.train.run import Run

# Adam does not see a factor of the loss; plain descent leaves the finite numbers in two steps.
EXPLODING = (
    "strategy.landmark_weight=1e15",
    "fine_tune.optimizer=sgd",
    "fine_tune.learning_rate=1",
    "fine_tune.refit=0",
    "head.epochs=3",
)


def all_arrays(folder: Path) -> dict[str, np.ndarray]:
    files = sorted(folder.rglob("*.safetensors"))
    return {f"{path}: {name}": a for path in files for name, a in read_arrays(path).items()}


class TestTrain:
    @pytest.fixture(scope="class")
    def diverged(
        self, small_photographs: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[Path, Any]:
        """A run whose fine-tuning diverges, and what the command line printed."""
        out = tmp_path_factory.mktemp("diverged") / "a run"
        options = small_run.options(*EXPLODING)
        words = ["--strategy", "parallel", "--weights", tiny_weights, *options]
        return out, lmedge("train", small_photographs, "--out", out, *words)

    def test_one_line_names_the_phase_the_step_and_the_setting(
        self, diverged: tuple[Path, Any]
    ) -> None:
        out, done = diverged
        assert done.returncode == 15
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("lmedge: ")]
        for text in (
            f"{out}: landmark-and-category-fine-tuning: the loss is not finite at step ",
            "of epoch 1; try a lower fine_tune.learning_rate than 1, or --resume",
        ):
            assert text in line
        assert "trained in" not in done.stdout

    def test_no_file_has_a_value_that_is_not_finite(self, diverged: tuple[Path, Any]) -> None:
        out, _ = diverged
        arrays = all_arrays(out)
        assert len(arrays) > 100
        assert [name for name, value in arrays.items() if not np.isfinite(value).all()] == []
        assert "nan" not in (out / "history.csv").read_text().lower()

    def test_resume_goes_on_with_the_weights_from_before(
        self, diverged: tuple[Path, Any], small_photographs: Path
    ) -> None:
        from lmedge.train.run import Run

        out, _ = diverged
        phase = "landmark-and-category-head"
        before = read_arrays(out / "checkpoints" / f"{phase}-best.safetensors")
        done = lmedge("train", small_photographs, "--out", out, "--resume")
        assert done.returncode == 0, done.stderr
        run = Run.open(out)
        for name, value in run.trained_weights().items():
            assert np.array_equal(value, before[name]), name
        told = "landmark-and-category-fine-tuning ended after epoch 0 of 3: the next one diverged"
        assert f"doubtful: {told}" in done.stdout
        assert run.metrics()["doubts"] == [told]


@pytest.mark.slow
def test_folds_that_diverge_end_with_one_line_each(
    small_photographs: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    """Each resumed run comes further, and the end says that no fold was fine-tuned."""
    from lmedge.train.run import Run

    out, phase = tmp_path / "run", "landmark-and-category-fine-tuning"
    options = small_run.options(*EXPLODING, *small_run.CROSS_FITTED)
    words = ["--strategy", "parallel", "--weights", tiny_weights, *options]
    done = lmedge("train", small_photographs, "--out", out, *words)
    named = []
    while done.returncode:
        assert done.returncode == 15, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("lmedge: ")]
        assert f"{phase}: the loss is not finite at step" in line
        named.append(line.split(": ")[1])
        assert len(named) <= 4, named
        done = lmedge("train", small_photographs, "--out", out, "--resume")
    folds = [str(out / "folds" / f"fold-{number}") for number in (1, 2, 3)]
    assert named[:3] == folds
    arrays = all_arrays(out)
    assert [name for name, value in arrays.items() if not np.isfinite(value).all()] == []
    told = Run.open(out).metrics()["doubts"]
    for fold in (1, 2, 3):
        assert f"fold {fold}: {phase} ended after epoch 0 of 3: the next one diverged" in told


class TestFiles:
    def test_arrays_that_are_not_finite_are_not_written(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.safetensors"
        with pytest.raises(DivergedError, match=r"weights.safetensors was not written: b/0 is not"):
            write_arrays(path, {"a/0": np.ones(2), "b/0": np.array([1, np.inf], np.float16)})
        assert not path.exists()

    def test_neither_is_json(self, tmp_path: Path) -> None:
        with pytest.raises(LmedgeError, match="metrics.json was not written: one of its numbers"):
            write_json(tmp_path / "metrics.json", {"macro_f1": float("nan")})

    def test_a_run_that_has_them_is_refused(self, finished_run: Run, tmp_path: Path) -> None:
        """A run folder of another version, or one that was changed."""
        from safetensors.numpy import save_file

        copy = dataclasses.replace(finished_run, folder=tmp_path / "run")
        shutil.copytree(finished_run.folder, copy.folder)
        weights = finished_run.trained_weights()
        weights["stem_conv/0"][0, 0, 0, 0] = np.nan
        save_file(weights, copy.weights_path)
        with pytest.raises(RunError, match="stem_conv/0 is not finite; train anew"):
            copy.trained_weights()


class TestFeatures:
    def test_the_cache_takes_no_features_that_are_not_finite(self, tmp_path: Path) -> None:
        from lmedge.train.fitting.divergence import finite_blocks
        from lmedge.train.fitting.features import write_features

        blocks = [np.ones((2, 3), np.float32), np.full((1, 3), np.inf, np.float32)]
        with pytest.raises(DivergedError, match="features of the backbone are not finite"):
            write_features(tmp_path / "x.safetensors", (3, 3), finite_blocks(blocks))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("size", [1e200, np.nan])
    def test_features_without_a_solution_are_one_error(self, size: float) -> None:
        from lmedge.train.fitting.discriminant import discriminant

        features = np.random.default_rng(0).normal(size=(8, 3)) * size
        truth = np.arange(8) % 2
        with pytest.raises(DivergedError, match="no covariance to solve with"):
            discriminant(features, truth, None, 2, shrinkage=0.3, smoothing=0.1)  # type: ignore[arg-type]


class TestExplosion:
    def test_a_loss_far_above_guessing_is_reported_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        from lmedge.train.fitting.divergence import ExplosionWatch

        watch = ExplosionWatch("a-phase", "try less", guessing=1.5)
        watch.look(1, {"loss": 4.0, "validation loss": 4.4})
        assert not caplog.records
        watch.look(2, {"loss": 2.0, "validation loss": 123.0})
        watch.look(3, {"loss": 99.0, "validation loss": 1.0})
        (record,) = caplog.records
        told = "a-phase: the validation loss of epoch 2 is 123, and guessing has 1.5; try less"
        assert (record.getMessage(), record.levelname) == (told, "WARNING")

    def test_it_is_part_of_every_phase(
        self,
        finished_run: Run,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        from lmedge.train.backend import keras
        from lmedge.train.fitting import phase
        from lmedge.train.fitting.validation import Quality
        from lmedge.train.history import HistoryRow

        features = keras.Input((3,))
        output = keras.layers.Dense(4, name="landmark")(features)
        model = keras.Model(features, {"landmark": output})
        fitting = phase.Fitting(
            phase="landmark-fine-tuning",
            model=model,
            network=model,
            batches=lambda _: None,
            validation=((), {}),
            epochs=2,
            settings=finished_run.recipe.fine_tune,
            loss_weights={"landmark": 1.0},
        )
        figures = dict.fromkeys(("accuracy", "val_loss", "val_accuracy", "val_macro_f1"), 0.0)
        rows = [
            HistoryRow(
                phase=fitting.phase,
                epoch=epoch,
                loss=loss,
                learning_rate=0.1,
                seconds=0.1,
                **figures,
            )
            for epoch, loss in ((1, 1.4), (2, 5e6))
        ]
        quality = Quality(macro_f1=0.0, loss=0.0, accuracy=0.0, n=0)
        monkeypatch.setattr(phase, "_epoch", lambda _, epoch, __: (rows[epoch], quality))

        class State:
            def save(self, *_: object, **__: object) -> None:
                pass

        run = dataclasses.replace(finished_run, folder=tmp_path)
        phase._fit_epochs(run, fitting, State(), range(2), 1, None)  # type: ignore[arg-type]
        told = "the loss of epoch 2 is 5e+06, and guessing has 1.386; try a lower fine_tune."
        assert told in caplog.text


class TestCrossFitting:
    @pytest.mark.parametrize(("right", "share"), [(46, 0.6), (10, 0.0)])
    def test_a_phase_that_ruins_the_answers_is_left_out(
        self, right: int, share: float, cross_fitted_run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the weights before it 45 of 48 out-of-fold answers are right."""
        from lmedge.train import cross_fit
        from lmedge.train.fitting.steps import Phase

        truth = np.arange(48) % 2

        def answers(share: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
            wrong = np.arange(48) >= (right if share else 45)
            logits = np.eye(2, dtype=np.float32)[np.where(wrong, 1 - truth, truth)]
            return {"landmark": logits}, {"landmark": truth}

        monkeypatch.setattr(cross_fit._CrossFit, "_answers_by_share", lambda *_: answers)
        monkeypatch.setattr(cross_fit._CrossFit, "folds", [])
        work = cross_fit._CrossFit(run=cross_fitted_run, network=None, pretrained=True, xla=False)
        phase = Phase(
            name="landmark-fine-tuning",
            heads=("landmark",),
            fit=lambda: None,
            epochs=3,
            blends=True,
            share=0.6,
        )
        assert work._choose(phase) == share

    def test_the_network_that_ships_leaves_it_out_too(self, cross_fitted_run: Run) -> None:
        from lmedge.train.fitting.steps import Trainer

        shares = {"landmark-fine-tuning": 0.0}
        trainer = Trainer(run=cross_fitted_run, network=None, pretrained=True, shares=shares)
        trainer.fine_tune("landmark")  # would need a network


class TestExport:
    def test_outputs_that_are_not_finite_are_refused(self, tiny_file: Path) -> None:
        from lmedge.export.verification.verify import _check_finite
        from lmedge.model_file import read_model

        outputs = {"landmark": np.ones((3, 2)), "category": np.array([[1, 0], [1, np.nan], [1, 1]])}
        with pytest.raises(GateError, match="category output is not finite for 1 of 3 images"):
            _check_finite(read_model(tiny_file), outputs)

    def test_a_float_network_that_is_not_finite_judges_nothing(
        self, finished_run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its weights are finite, and too large."""
        from lmedge.export import formats

        logits = {"landmark": np.full((2, 4), np.inf), "category": np.zeros((2, 2))}
        monkeypatch.setattr(formats, "load_network", lambda _: None)
        monkeypatch.setattr(formats, "predict_logits", lambda *_: logits)
        networks = formats.RunNetworks(finished_run, formats.Stages())
        with pytest.raises(RunError, match="the landmark head of its network is not finite"):
            networks.reference("val")

    def test_fine_tuning_that_diverges_keeps_the_weights_from_before(
        self, finished_run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from lmedge.export.quantization import finetune

        class Network:
            weights = 1.0

            def get_weights(self) -> float:
                return self.weights

            def set_weights(self, weights: float) -> None:
                self.weights = weights

        class Judge:
            def ask(self, *_: object) -> Any:
                found = finetune.Closeness(fall=0.0, agreement=1.0, distance=0.1)
                return finetune.FineTuned(closeness=found, logits={})

        network = Network()

        def step(_: object) -> float:
            network.weights = np.nan
            return np.nan

        monkeypatch.setattr(finetune, "_step", lambda *_: step)
        finetune.fine_tune(finished_run, None, network, Judge())  # type: ignore[arg-type]
        assert network.weights == 1.0
        assert "epoch 1: the loss is not finite; the weights of epoch 0 are kept" in caplog.text
