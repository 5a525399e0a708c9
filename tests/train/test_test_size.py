"""A run that is measured on images of another size than those it learns from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lmedge.errors import WeightsError
from tests import small_run

if TYPE_CHECKING:
    from lmedge.train.run import Run

SIZE = 48


@pytest.fixture(scope="module")
def run(
    small_photographs: Path,
    tiny_weights: Path,
    tiny: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    from lmedge.train import training

    solved = [f"{section}.optimizer=discriminant" for section in ("head", "second_head")]
    settings = [f"data.test_size={SIZE}", "fine_tune.epochs=0", *solved]
    run = small_run.start(
        small_photographs, tmp_path_factory.mktemp("size") / "run", tiny_weights, settings
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "report_run", lambda *_: None)  # the plots
        training.train_run(run)
    return run


def test_its_figures_are_of_the_test_size(run: Run) -> None:
    from lmedge.train.network import load_network, predict_logits
    from lmedge.train.run import Run

    opened = Run.open(run.folder)
    network = load_network(opened)
    assert network.input_shape[1] == SIZE
    assert opened.images("test")[0].shape == (SIZE, SIZE, 3)
    logits = predict_logits(network, opened.images("test"))
    right = logits["landmark"].argmax(axis=1) == opened.labels("test")["landmark"]
    alone = opened.metrics()["test"]["landmark_marginal"]["accuracy"]
    assert alone == pytest.approx(right.mean())


def test_its_temperatures_are_of_the_test_size(run: Run) -> None:
    from lmedge.train.calibration import fit_calibration
    from lmedge.train.network import load_network, predict_logits

    logits = predict_logits(load_network(run), run.images("val"))
    fitted = fit_calibration(logits, run.labels("val"), run.taxonomy)
    assert run.calibration().temperatures == pytest.approx(fitted.temperatures)


def test_it_learns_from_images_of_its_own_size(run: Run) -> None:
    assert run.spec.size == run.store.size == small_run.SIZE
    assert np.array(run.store.working(run.entries("train")[0])).shape[0] < SIZE
    assert next(run.training_inputs(0, 2)).shape == (2, SIZE, SIZE, 3)  # of the exported network


def test_weights_that_pad_otherwise_must_fit_both_sizes(
    small_photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmedge.train import training

    def check(backbone: str, weights: str, size: int, *, trains_norms: bool) -> None:
        if size == SIZE:
            raise WeightsError("not at this size")

    monkeypatch.setattr(training, "check_pretrained", check)
    with pytest.raises(WeightsError, match="not at this size"):
        small_run.start(small_photographs, tmp_path / "run", "x", [f"data.test_size={SIZE}"])
    assert not (tmp_path / "run").exists()
