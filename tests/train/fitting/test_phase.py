"""Fitting: a killed run goes on as if nothing had happened, and the best epoch is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmedge.errors import DeviceError
from lmedge.train import training
from lmedge.train.arrays import read_arrays
from lmedge.train.backend import keras, tf
from lmedge.train.fitting import checkpoint
from lmedge.train.fitting import phase as fit_module
from lmedge.train.fitting.batches import FeatureBatches, Labels, soft_targets
from lmedge.train.fitting.phase import Fitting, fit
from lmedge.train.fitting.validation import Quality
from lmedge.train.history import HistoryRow
from lmedge.train.network import get_weights
from lmedge.train.run import Run
from tests import small_run


class Killed(BaseException):
    """As sudden as it gets inside one process: nothing in the code under test catches it."""


def weights(run: Run) -> dict[str, np.ndarray]:
    return read_arrays(run.folder / "weights.safetensors")


def assert_same_result(run: Run, other: Run) -> None:
    ours, theirs = weights(run), weights(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.tobytes() == theirs[name].tobytes(), name
    rows = [[dataclasses.replace(row, seconds=0.0) for row in r.history()] for r in (run, other)]
    assert rows[0] == rows[1]
    metrics = [(r.folder / "metrics.json").read_bytes() for r in (run, other)]
    assert metrics[0] == metrics[1]


def kill_before_epoch(patch: pytest.MonkeyPatch, phase: str, epoch: int) -> None:
    """Die when epoch `epoch` (from 0) of a phase is about to begin."""
    whole = fit_module._epoch

    def dying(fitting: Fitting, number: int, *others: Any) -> Any:
        if (fitting.phase, number) == (phase, epoch):
            raise Killed
        return whole(fitting, number, *others)

    patch.setattr(fit_module, "_epoch", dying)


def kill_before_write(patch: pytest.MonkeyPatch, name: str, count: int) -> None:
    """Die when `name` is about to be written for the time `count` (from 0)."""
    write, seen = checkpoint.write_arrays, []

    def dying(path: Path, arrays: Any) -> None:
        if path.name == name:
            seen.append(path)
            if len(seen) > count:
                raise Killed
        write(path, arrays)

    patch.setattr(checkpoint, "write_arrays", dying)


def kill_in_batch(patch: pytest.MonkeyPatch, count: int) -> None:
    """Die at the end of batch `count` (from 0) of the run."""
    whole, seen = fit_module.LossWatch.on_train_batch_end, []

    def dying(self: Any, batch: int, logs: object = None) -> None:
        seen.append(batch)
        if len(seen) > count:
            raise Killed
        whole(self, batch, logs)

    patch.setattr(fit_module.LossWatch, "on_train_batch_end", dying)


@pytest.fixture
def train_in_pieces(tiny_weights: Path, small_photographs: Path, tmp_path: Path) -> Any:
    def train(*kills: Callable[[pytest.MonkeyPatch], None], settings: Any = ()) -> Run:
        """Train; die as told by each of `kills` in turn, and go on with the folder each time."""
        out = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        run = small_run.start(small_photographs, out, tiny_weights, settings)
        for kill in kills:
            with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
                kill(patch)
                training.train_run(run)
            assert not (out / "weights.safetensors").exists()
            keras.backend.clear_session()
            run = Run.open(out)
        training.train_run(run)
        return run

    return train


class TestResume:
    """Bit for bit, which includes that the same seed gives the same run."""

    def test_killed_between_epochs(self, finished_run: Run, train_in_pieces: Any) -> None:
        """Once in each phase."""
        run = train_in_pieces(
            lambda patch: kill_before_epoch(patch, "landmark-head", 5),
            lambda patch: kill_before_epoch(patch, "landmark-fine-tuning", 1),
            lambda patch: kill_before_epoch(patch, "category-head", 3),
        )
        assert_same_result(run, finished_run)

    def test_killed_elsewhere(self, finished_run: Run, train_in_pieces: Any) -> None:
        """Inside an epoch, between the files of a checkpoint, and where a phase begins."""
        run = train_in_pieces(
            lambda patch: kill_in_batch(patch, 7),
            lambda patch: kill_before_write(patch, "landmark-head.safetensors", 1),
            lambda patch: kill_before_epoch(patch, "landmark-fine-tuning", 0),
            lambda patch: kill_before_write(patch, "landmark-fine-tuning-best.safetensors", 0),
            lambda patch: kill_before_epoch(patch, "category-head", 0),
        )
        assert_same_result(run, finished_run)

    @pytest.mark.slow
    def test_killed_with_dropout_between_the_layers(self, train_in_pieces: Any) -> None:
        settings = (
            "network.head_layers=[12]",
            "network.dropout=0.5",
            "head.epochs=3",
            "fine_tune.epochs=2",
        )
        whole = train_in_pieces(settings=settings)
        run = train_in_pieces(
            lambda patch: kill_before_epoch(patch, "landmark-head", 2),
            lambda patch: kill_before_epoch(patch, "landmark-fine-tuning", 1),
            settings=settings,
        )
        assert_same_result(run, whole)


class TestHistory:
    def test_rows_are_unique_and_in_order(self, finished_run: Run) -> None:
        recipe = finished_run.recipe
        phases = {
            "landmark-head": recipe.head.epochs,
            "landmark-fine-tuning": recipe.fine_tune.epochs[0],
            "landmark-refit": 1,
            "category-head": recipe.second_head.epochs,
        }
        expected = [(name, epoch + 1) for name, count in phases.items() for epoch in range(count)]
        assert [(row.phase, row.epoch) for row in finished_run.history()] == expected

    def test_every_figure_is_one(self, finished_run: Run) -> None:
        for row in finished_run.history():
            for name, value in dataclasses.asdict(row).items():
                assert name == "phase" or np.isfinite(value), (row, name)
            assert 0 <= row.val_macro_f1 <= 1

    def test_the_learning_rate_is_a_cosine_down_to_zero(self, finished_run: Run) -> None:
        """Behind a warm-up, in the phases that have one."""
        recipe = finished_run.recipe
        for phase, peak, first in (
            ("landmark-head", recipe.head.learning_rate, 0),
            ("landmark-fine-tuning", recipe.fine_tune.learning_rate, 1),
            ("category-head", recipe.second_head.learning_rate, 0),
        ):
            rows = [row for row in finished_run.history() if row.phase == phase]
            rates = [row.learning_rate for row in rows]
            assert all(0 <= rate <= 1.0001 * peak for rate in rates)
            assert rates[first:] == sorted(rates[first:], reverse=True), phase
            assert rates[first] > 0.6 * peak, phase
            assert rates[-1] < 0.1 * peak, phase

    def test_training_learns(self, finished_run: Run) -> None:
        heads = [row for row in finished_run.history() if row.phase == "landmark-head"]
        assert heads[-1].loss < heads[0].loss
        assert max(row.val_macro_f1 for row in finished_run.history()) > 0.9


class TestBest:
    """A phase whose validation results are dictated."""

    @pytest.fixture
    def started_from(self) -> dict[str, np.ndarray]:
        """The weights before the first epoch."""
        return {}

    @pytest.fixture
    def phase(
        self,
        tiny: None,
        small_photographs: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        started_from: dict[str, np.ndarray],
    ) -> Any:
        run = small_run.start(small_photographs, tmp_path / "run", "none")

        def fit_with(
            scores: list[float],
            count: int = 1_000_000,
            blend: float = 1.0,
            keep: str = "f1",
            spread: float = 0.0,
            judged: bool = False,
        ) -> tuple[Any, list[Any]]:
            """Fit an epoch a score, which is of `count` images.

            If the phase is judged, the first score is of its start. Return the network and the
            weights after each epoch.
            """
            keras.utils.set_random_seed(0)
            features = keras.Input((3,))
            network = keras.Model(features, keras.layers.Dense(2, name="landmark")(features))
            rng = np.random.default_rng(0)
            inputs = rng.normal(size=(8, 3)).astype(np.float32)
            truth = rng.integers(0, 2, 8)
            seen: list[Any] = []

            def validate(_: Fitting) -> Quality:
                seen.append(get_weights(network))
                score = scores[len(seen) - 1]
                return Quality(macro_f1=score, loss=1 - score, accuracy=0.5, n=count)

            monkeypatch.setattr(fit_module, "validate", validate)
            labels = Labels({"landmark": soft_targets(truth, 2)})
            settings = dataclasses.replace(
                run.recipe.head, learning_rate=0.1, weight_decay=0.0, keep=keep
            )
            fitting = Fitting(
                phase="test",
                model=keras.Model(features, {"landmark": network.output}),
                network=network,
                batches=lambda epoch: FeatureBatches(inputs, labels, batch=4, seed=0, epoch=epoch),
                validation=(inputs, {"landmark": truth}),
                epochs=len(scores) - judged,
                settings=settings,
                loss_weights={"landmark": 1.0},
                blend=blend,
                spread=spread,
                judged=judged,
            )
            started_from.update(get_weights(network))
            fit(run, fitting)
            return network, seen

        return fit_with

    @pytest.mark.parametrize(
        ("scores", "count", "best"),
        [
            ([0.2, 0.9, 0.5, 0.6], 1_000_000, 1),
            ([0.9, 0.5, 0.6], 1_000_000, 0),
            ([0.1, 0.2, 0.3], 1_000_000, 2),
            ([0.2, 0.9, 0.9, 0.6], 1_000_000, 2),  # of equal ones the later
            ([0.8, 0.9, 0.88, 0.6], 30, 2),  # 0.88 is as good on thirty images
            ([0.8, 0.9, 0.6, 0.65], 30, 1),  # 0.6 is not
            ([0.9, 0.84, 0.78, 0.72, 0.66], 30, 2),  # a slow decline is not followed further
            ([0.0, 0.0, 0.0], 0, 2),  # no validation part: the last
        ],
    )
    def test_the_best_validation_macro_f1_is_kept(
        self, phase: Any, scores: list[float], count: int, best: int
    ) -> None:
        """Or a later epoch that cannot be told from it on that many images."""
        network, seen = phase(scores, count)
        assert len(seen) == len(scores)
        kept = get_weights(network)
        for name, value in kept.items():
            assert np.array_equal(value, seen[best][name])
        others = [number for number in range(len(scores)) if number != best]
        for number in others:
            assert any(not np.array_equal(kept[name], seen[number][name]) for name in kept)

    @pytest.mark.parametrize(("keep", "best"), [("loss", 1), ("last", 3), ("f1", 2)])
    def test_the_recipe_says_which(self, phase: Any, keep: str, best: int) -> None:
        """The loss falls as the score rises; of 30 images 0.88 is as good as 0.9."""
        network, seen = phase([0.8, 0.9, 0.88, 0.6], 30, keep=keep)
        for name, value in get_weights(network).items():
            assert np.array_equal(value, seen[best][name])

    def test_it_is_blended_with_what_it_started_from(
        self, phase: Any, started_from: dict[str, np.ndarray]
    ) -> None:
        network, seen = phase([0.2, 0.9, 0.5], blend=0.25)
        for name, value in get_weights(network).items():
            expected = 0.75 * started_from[name] + 0.25 * seen[1][name]
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-7)
            assert not np.array_equal(value, seen[1][name])

    @pytest.mark.parametrize(
        ("scores", "keep", "best"),
        [
            ([0.83, 0.1, 0.1, 0.1], "f1", 0),  # every epoch is worse than the start
            ([0.83, 0.1, 0.8, 0.6], "f1", 2),  # as good, on sixty images
            ([0.83, 0.1, 0.9, 0.2], "f1", 2),
            ([0.83, 0.8, 0.7], "loss", 0),
            ([0.83, 0.1, 0.2], "last", 1),  # not judged: the first call is after the first epoch
        ],
    )
    def test_what_was_better_before_the_phase_is_not_lost(
        self,
        phase: Any,
        scores: list[float],
        keep: str,
        best: int,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        network, seen = phase(scores, 60, keep=keep, judged=True)
        kept = get_weights(network)
        for name, value in kept.items():
            assert np.array_equal(value, seen[best][name])
        told = "test: every epoch was worse than the weights at its start, which are kept"
        assert (told in caplog.text) == (best == 0)

    def test_a_step_is_traced_once(self, phase: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Tracing a large network takes seconds."""
        traced, whole = [], keras.Model.train_step

        def step(model: keras.Model, batch: Any) -> Any:
            traced.append(model)
            return whole(model, batch)

        monkeypatch.setattr(keras.Model, "train_step", step)
        phase([0.1, 0.2, 0.3])
        assert len(traced) == 1

    def test_a_batch_that_memory_does_not_hold_is_one_line(
        self, phase: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def exhausted(*_: object) -> None:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

        monkeypatch.setattr(fit_module, "_epoch", exhausted)
        with pytest.raises(
            DeviceError, match="does not hold a batch of 16; train anew with a lower"
        ):
            phase([0.5])

    def test_the_validation_part_may_move_the_share(
        self, phase: Any, started_from: dict[str, np.ndarray], tmp_path: Path
    ) -> None:
        """Eight images that were trained on ask for all of what was learned."""
        network, seen = phase([0.1, 0.2, 0.3], blend=0.25, spread=100.0)
        share = tmp_path / "run" / "checkpoints" / "test-share.safetensors"
        (found,) = read_arrays(share)["share"]
        assert found == 0.95
        for name, value in get_weights(network).items():
            expected = 0.05 * started_from[name] + 0.95 * seen[2][name]
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)

        kept = get_weights(network)  # killed before the share was written
        share.unlink()
        network, seen = phase([0.1, 0.2, 0.3], blend=0.25, spread=100.0)
        assert not seen
        for name, value in get_weights(network).items():
            assert np.array_equal(value, kept[name])

    def test_the_best_survives_a_kill(self, phase: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_before_epoch(patch, "test", 2)
            phase([0.9, 0.5, 0.6, 0.7])
        network, seen = phase([0.6, 0.7, 0.0, 0.0])  # what is left: two epochs, both worse
        assert len(seen) == 2
        kept = get_weights(network)
        for after in seen:
            assert any(not np.array_equal(kept[name], after[name]) for name in kept)


class TestWithoutValidation:
    def test_the_whole_training_counts(
        self, tiny_weights: Path, small_photographs: Path, tmp_path: Path
    ) -> None:
        """The last epoch is kept where there is nothing to choose by."""
        settings = (
            "data.val_fraction=0",
            "head.epochs=4",
            "second_head.epochs=4",
            "fine_tune.epochs=2",
        )
        run = small_run.start(small_photographs, tmp_path / "run", tiny_weights, settings)
        last: dict[str, Any] = {}
        with pytest.MonkeyPatch.context() as patch:
            whole = fit_module._epoch

            def noting(fitting: Fitting, *others: Any) -> Any:
                result = whole(fitting, *others)
                last.update(get_weights(fitting.network))
                return result

            patch.setattr(fit_module, "_epoch", noting)
            training.train_run(run)
        for name, value in weights(run).items():
            assert np.array_equal(value, last[name]), name
        assert len(run.history()) == 11
        assert "val" not in run.metrics()


def test_a_row_is_written_and_read_the_same(
    tiny: None, small_photographs: Path, tmp_path: Path
) -> None:
    run = small_run.start(small_photographs, tmp_path / "run", "none")
    rows = [
        HistoryRow(
            phase="a phase",
            epoch=1,
            loss=1e-9,
            accuracy=0.5,
            val_loss=3.25,
            val_accuracy=0.1,
            val_macro_f1=1 / 3,
            learning_rate=0.002,
            seconds=1.5,
        )
    ]
    run.write_history(rows)
    assert run.history() == rows
