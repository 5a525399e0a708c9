"""The export of a run that has learned every image: judged by what others predicted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lmedge.errors import GateError, RunError
from lmedge.evaluation import CROSS_VALIDATED
from lmedge.export.exporting import Options, export_format
from lmedge.model_file import HEADS, read_model
from lmedge.train.arrays import write_arrays
from lmedge.train.run import Run
from tests.in_process import lmedge


@pytest.fixture(scope="module")
def run(cross_fitted_run: Run) -> Run:
    return cross_fitted_run


@pytest.fixture(scope="module")
def file(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "float.tflite"
    export_format(run, path, "float32", Options())
    return path


def test_weights_of_another_training_are_refused(run: Run, tmp_path: Path) -> None:
    """By nothing but the images that they should have learned."""
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy)
    arrays, rng = run.trained_weights(), np.random.default_rng(0)
    name = next(key for key in arrays if key.startswith("landmark/"))
    write_arrays(copy / "weights.safetensors", {**arrays, name: rng.permutation(arrays[name])})
    with pytest.raises(RunError, match=r"images that it has learned.*train anew"):
        export_format(Run.open(copy), tmp_path / "x.tflite", "float32", Options())
    assert not list(tmp_path.glob("x*"))


def test_the_card_says_which_figure_is_what(run: Run, file: Path) -> None:
    info = read_model(file).info
    assert set(info["metrics"]) == {CROSS_VALIDATED}
    scores = info["metrics"][CROSS_VALIDATED]["file"]
    trained = run.metrics()[CROSS_VALIDATED]
    for head in HEADS:
        assert scores[head]["n"] == 48
        assert scores[head]["macro_f1"] == pytest.approx(trained[head]["macro_f1"])
        low, high = scores[head]["interval"]
        assert low <= scores[head]["macro_f1"] <= high
    assert info["provenance"]["pictures"] == {"train": 48, "val": 0, "test": 0}
    assert info["provenance"]["networks"] == 3
    assert info["temperatures"] == pytest.approx(trained["temperatures"])
    assert info["rejection"]["known"] == 48
    shown = lmedge("inspect", file).stdout
    assert "cross-validated: landmark F1" in shown
    assert re.search(r"trained on\s+48 images", shown)


def test_a_ruined_network_is_refused(run: Run, file: Path, tmp_path: Path) -> None:
    """Its own validation figures would be of memory; the folds' answers are not."""
    from lmedge.export.formats import RunNetworks

    arrays = run.trained_weights()
    rng = np.random.default_rng(0)
    name = next(key for key in arrays if key.startswith("landmark/"))
    ruined = {**arrays, name: rng.permutation(arrays[name])}
    path = tmp_path / "ruined.safetensors"
    write_arrays(path, ruined)
    with pytest.MonkeyPatch.context() as patch:
        whole = RunNetworks._convert

        def convert(self: RunNetworks, *words: object) -> bytes:
            from lmedge.train.network import get_weights, set_weights

            before = get_weights(self.network)
            set_weights(self.network, ruined, path)
            try:
                return whole(self, *words)  # type: ignore[arg-type]
            finally:
                set_weights(self.network, before, path)

        patch.setattr(RunNetworks, "_convert", convert)
        with pytest.raises(GateError, match="landmark"):
            export_format(run, tmp_path / "x.tflite", "float32", Options())
    assert not (tmp_path / "x.tflite").exists()
