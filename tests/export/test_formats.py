"""Every format of one run: files any client can feed with bytes, and the choice among them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lmedge.classifier import Classifier
from lmedge.errors import GateError, ModelFileError
from lmedge.export import FORMATS, exporting, formats, selection
from lmedge.export.verification.gate import Limits
from lmedge.golden import verify
from lmedge.model_file import read_model
from lmedge.runner import QuantizedLogits
from lmedge.train.run import Run
from tests import small_run
from tests.export.conftest import Exported

LOOSE = exporting.Options(limits=Limits(tolerance=0.5, class_tolerance=1.0))


@pytest.fixture(scope="module")
def tried(
    trained: Run, exported: Exported, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[selection.CandidateFormat]]:
    folder = tmp_path_factory.mktemp("formats")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats.RunNetworks, "quantized", lambda _: exported.quantized)
        return folder, selection.export_all(trained, folder / "a.tflite", FORMATS, LOOSE)


def test_each_format_is_a_file_of_its_own(
    tried: tuple[Path, list[selection.CandidateFormat]],
) -> None:
    folder, candidates = tried
    assert [candidate.format for candidate in candidates] == list(FORMATS)
    for name in FORMATS:
        model = read_model(folder / f"a-{name}.tflite")
        assert model.info["format"] == name
        assert model.image.dtype == "uint8"
        assert verify(model).identical
        report = json.loads((folder / f"a-{name}.export.json").read_text("utf-8"))
        assert report["written"]
        assert [entry["format"] for entry in report["tried"]] == list(FORMATS)
        assert all(entry["invoke_ms"] > 0 for entry in report["tried"])


def test_operators_are_those_of_the_format(
    tried: tuple[Path, list[selection.CandidateFormat]],
) -> None:
    convolutions = {}
    for candidate in tried[1]:
        operators = read_model(tried[0] / f"a-{candidate.format}.tflite").operators
        convolutions[candidate.format] = {
            dtype for name, dtype in operators if name in ("CONV_2D", "DEPTHWISE_CONV_2D")
        }
    floats = {"float32"}
    assert convolutions == {
        "int8": {"int8"},
        "int8-ptq": {"int8"},
        "int16x8": {"int16"},
        "dynamic": floats,
        "float16": floats,
        "float32": floats,
    }


def test_the_float_file_answers_as_float_does(
    tried: tuple[Path, list[selection.CandidateFormat]],
) -> None:
    (candidate,) = (candidate for candidate in tried[1] if candidate.format == "float32")
    assert all(
        one.agreement == {"landmark": 1.0, "category": 1.0}
        for one in candidate.outcome.findings.comparisons
    )


class TestFastest:
    @pytest.fixture(autouse=True)
    def quick(self, exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(formats.RunNetworks, "quantized", lambda _: exported.quantized)

    def test_the_fastest_within_the_budget_is_written(
        self, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(selection, "time_files", lambda _: [5.0, 1.0])
        path = tmp_path / "best.tflite"
        candidates, chosen = selection.export_fastest(
            trained, path, ("int8", "float32"), LOOSE, selection.Budget(milliseconds=10.0)
        )
        assert [candidate.format for candidate in candidates] == ["int8", "float32"]
        assert chosen.format == read_model(path).info["format"] == "float32"
        small = selection.Budget(megabytes=(candidates[0].megabytes + candidates[1].megabytes) / 2)
        assert selection.choose(candidates, small) is min(
            candidates, key=lambda candidate: candidate.megabytes
        )
        assert (
            selection.choose(candidates, selection.Budget(milliseconds=6.0, megabytes=0.001))
            is None
        )

    def test_none_within_the_budget(self, trained: Run, tmp_path: Path) -> None:
        path = tmp_path / "best.tflite"
        budget = selection.Budget(megabytes=0.001)
        with pytest.raises(GateError, match=r"within 0.001 MB; .*best.export.json"):
            selection.export_fastest(trained, path, ("float32",), LOOSE, budget)
        assert [found.name for found in tmp_path.iterdir()] == ["best.export.json"]
        report = json.loads((tmp_path / "best.export.json").read_text("utf-8"))
        assert not report["written"]
        assert report["tried"][0]["format"] == "float32"


class TestIntegerOnly:
    @pytest.fixture(scope="class")
    def path(
        self, trained: Run, exported: Exported, tmp_path_factory: pytest.TempPathFactory
    ) -> Path:
        path = tmp_path_factory.mktemp("int8") / "only.tflite"
        options = exporting.Options(limits=Limits(tolerance=0.5, class_tolerance=1.0), io="int8")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(formats.RunNetworks, "quantized", lambda _: exported.quantized)
            exporting.export_format(trained, path, "int8", options)
        return path

    def test_nothing_in_it_is_float(self, path: Path) -> None:
        model = read_model(path)
        assert {dtype for _, dtype in model.operators} == {"int8"}
        assert (model.image.dtype, model.info["io"]) == ("int8", "int8")
        assert {head.dtype for head in model.heads.values()} == {"int8"}

    def test_it_gives_the_same_probabilities(self, path: Path, exported: Exported) -> None:
        only, usual = Classifier(path), Classifier(exported.path)
        for number in range(4):
            image = small_run.draw((90, 140, 60), number, (80, 80))
            first, second = only.classify(image), usual.classify(image)
            assert first.landmark == second.landmark
            assert first.joint == pytest.approx(second.joint, abs=1e-4)

    def test_logits_without_a_temperature_are_refused(self, path: Path) -> None:
        model = read_model(path)
        del model.info["temperatures"]["landmark"]  # type: ignore[attr-defined]
        told = r"only.tflite: its landmark logits have no scale or temperature; export it again"
        with pytest.raises(ModelFileError, match=told):
            Classifier(model)

    def test_logits_become_probabilities(self) -> None:
        found = QuantizedLogits(zero=-3, factor=0.5).probabilities(np.array([-3, 1], np.int8))
        assert found == pytest.approx([1 / (1 + np.exp(2)), 1 / (1 + np.exp(-2))])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--int8, --format NAME or --auto"),
        (["--int8", "--auto"], "--int8, --format NAME or --auto"),
        (["--int8", "--budget-ms", "3"], "need --auto"),
        (["--format", "float32", "--io", "int8"], "--io int8 goes with --int8"),
        (["--auto", "--force"], "--force needs a format"),
        (["--format", "int4"], "'int4' is not one of"),
    ],
)
def test_arguments_that_do_not_go_together(
    words: list[str], said: str, tmp_path: Path, main: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, error = main("export", tmp_path, *words)
    assert code == 2
    assert said in " ".join(error.split())
