"""Where quantization adds error: measured by tensor, worst first, and drawn."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmedge.errors import GateError
from lmedge.export import exporting, formats
from lmedge.export.formats import calibration_inputs
from lmedge.export.quantization import explain as explaining
from lmedge.export.quantization.explain import Noise, explain, worst, write_explanation
from lmedge.export.quantization.lower import lower
from lmedge.export.quantization.ranges import choose_ranges, observe
from lmedge.export.quantization.scheme import quantize
from lmedge.export.verification import verify as verify_module
from lmedge.export.verification.gate import Limits
from lmedge.train.network import load_network
from tests.export.conftest import Exported
from tests.in_process import lmedge


@pytest.fixture(scope="module")
def found(exported: Exported) -> list[Noise]:
    images = calibration_inputs(exported.run, np.random.default_rng(0))
    return explain(load_network(exported.run), exported.quantized, images)


def test_every_rounded_tensor_is_listed_in_order(found: list[Noise], exported: Exported) -> None:
    names = [one.tensor for one in found]
    assert len(names) == len(set(names))
    assert [one.place for one in found] == list(range(len(found)))
    assert {"landmark", "category"} <= set(names)
    assert all(one.low <= 0 < one.high for one in found)


def test_the_input_is_exact(found: list[Noise]) -> None:
    assert found[0].snr > 60  # bytes have values of their own


def test_a_spoilt_range_is_the_worst_place(exported: Exported) -> None:
    network = load_network(exported.run)
    lowered = lower(network)
    rng = np.random.default_rng(0)
    images = calibration_inputs(exported.run, rng)
    ranges = choose_ranges(lowered, observe(lowered, images, rng))
    before = {one.tensor: one for one in explain(network, quantize(lowered, ranges), images)}
    name = next(
        layer.name
        for layer in lowered.layers
        if layer.name in ranges
        and len(layer.output.shape) == 4
        and before[layer.name].snr > 15
        and not layer.name.endswith("_gate")
        and layer.name not in ("image_in",)
        and before[layer.name].high == ranges[layer.name][1]
    )
    spoilt = {**ranges, name: (ranges[name][0] / 20, ranges[name][1] / 20)}
    after = {one.tensor: one for one in explain(network, quantize(lowered, spoilt), images)}
    assert after[name].rounding < before[name].rounding - 6
    assert min(after.values(), key=lambda one: one.rounding).tensor == name


def test_the_table_and_the_plot(found: list[Noise], tmp_path: Path) -> None:
    write_explanation(tmp_path / "a.tflite", found)
    with (tmp_path / "a.explain.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["tensor"] for row in rows] == [one.tensor for one in worst(found)]
    decibels = [float(row["snr_db"]) for row in rows]
    assert decibels == sorted(decibels)
    image = cv2.imread(str(tmp_path / "a.explain.png"))
    assert image.shape[0] > 400
    assert image.std() > 5


def test_a_plot_that_fails_does_not_end_an_export(
    found: list[Noise],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no\nfigure")

    monkeypatch.setattr(explaining, "_plot_noise", fail)
    write_explanation(tmp_path / "a.tflite", found)
    assert (tmp_path / "a.explain.csv").exists()
    assert f"{tmp_path / 'a.explain.png'} was not drawn: no figure" in caplog.text


def test_a_refused_export_is_explained_too(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats.RunNetworks, "quantized", lambda _: exported.quantized)
    verdict = dataclasses.replace(exported.outcome.findings.verdict, problems=("macro F1 fell",))
    monkeypatch.setattr(verify_module, "gate", lambda *_: verdict)
    options = exporting.Options(limits=Limits(tolerance=0.5, class_tolerance=1.0), explain=True)
    with pytest.raises(GateError):
        exporting.export_format(exported.run, tmp_path / "a.tflite", "int8", options)
    assert (tmp_path / "a.explain.csv").exists()
    assert not (tmp_path / "a.tflite").exists()


def test_decibels() -> None:
    assert explaining._decibels(100.0, 1.0) == pytest.approx(20.0)
    assert explaining._decibels(1.0, 0.0) == explaining.CLEAN
    assert explaining._decibels(0.0, 1.0) == -explaining.CLEAN


def test_other_formats_are_not_explained(tmp_path: Path) -> None:
    process = lmedge("export", tmp_path, "--format", "float16", "--explain")
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1].startswith("Error: --explain goes with --int8")
