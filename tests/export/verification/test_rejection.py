"""Thresholds fitted on the file's outputs, and what they are worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from lmedge.classifier import Classifier
from lmedge.errors import DataError, LmedgeError
from lmedge.evaluation.thresholds import UnknownOutputs, fit_rejection
from lmedge.evaluation.unknown import list_unknown_images
from lmedge.export.verification import rejection
from lmedge.export.verification.rejection import LEAST_UNKNOWN
from lmedge.model_file import read_model
from lmedge.train.run import Run
from tests.export.conftest import Exported

PARENTS = np.array([0, 0, 1])
Main = Callable[..., tuple[int, str, str]]


def said(landmark: list[float], category: list[float], count: int) -> dict[str, np.ndarray]:
    return {
        "landmark": np.tile(np.array(landmark, np.float32), (count, 1)),
        "category": np.tile(np.array(category, np.float32), (count, 1)),
    }


KNOWN = said([0.9, 0.05, 0.05], [0.9, 0.1], 40)
TORN = said([0.9, 0.05, 0.05], [0.1, 0.9], 10)  # sure, but of two things that exclude each other


def test_heads_that_exclude_each_other_are_a_stranger() -> None:
    found = fit_rejection(PARENTS, KNOWN, KNOWN, UnknownOutputs(fit=TORN, test=TORN), 0.95)
    assert found.kept == found.auroc == 1.0
    assert found.false_accepts == 0.0
    assert 0.14 < found.threshold < 0.86
    assert (found.known, found.unknown) == (40, 10)
    assert found.heads["landmark"] == pytest.approx(0.9, abs=1e-5)


def test_too_few_images_refuse_nothing() -> None:
    few = said([0.9, 0.05, 0.05], [0.9, 0.1], 18)
    found = fit_rejection(PARENTS, few, None, None, 0.95)
    assert found.threshold == 0.0
    assert found.auroc is found.kept is found.false_accepts is None


def test_images_with_a_wrong_landmark_keep_no_threshold_down() -> None:
    known = said([0.9, 0.05, 0.05], [0.9, 0.1], 100)
    known["landmark"][:, 0] = np.linspace(0.1, 0.99, 100)
    right = np.arange(100) >= 10
    found = fit_rejection(PARENTS, known, known, None, 0.95, {"val": right, "test": right})
    alone = fit_rejection(PARENTS, {h: v[right] for h, v in known.items()}, None, None, 0.95)
    assert (found.threshold, found.heads) == (alone.threshold, alone.heads)
    assert found.known == 90
    assert found.kept == 0.87, "of all, those with a wrong landmark among them"
    assert fit_rejection(PARENTS, known, None, None, 0.95).threshold < found.threshold


class TestCurve:
    right: ClassVar = {"val": np.arange(40) > 3, "test": np.arange(40) > 1}

    def test_it_is_of_images_that_chose_nothing(self) -> None:
        others = UnknownOutputs(fit=KNOWN, test=TORN)
        found = fit_rejection(PARENTS, KNOWN, KNOWN, others, 0.95, self.right)
        (point,) = found.curve  # all images have one score
        assert (found.measured, point.kept, point.false_accepts) == ("test", 1.0, 0.0)
        assert point.accuracy == 38 / 40
        without = fit_rejection(PARENTS, KNOWN, None, None, 0.95, self.right)
        assert (without.measured, without.curve[0].accuracy) == ("val", 36 / 40)
        assert without.curve[0].false_accepts is None
        assert found.as_dict()["curve"][0]["kept"] == 1.0

    def test_the_coverage_may_be_chosen_by_it(self) -> None:
        known = said([0.9, 0.05, 0.05], [0.9, 0.1], 100)
        known["landmark"][:, 0] = np.linspace(0.5, 0.99, 100)
        right = {"val": np.ones(100, bool)}
        weak = said([0.55, 0.0, 0.45], [0.9, 0.1], 10)  # like the lowest tenth
        few, many = (
            fit_rejection(PARENTS, known, None, UnknownOutputs(fit=one, test=one), None, right)
            for one in (TORN, {name: np.concatenate([v, TORN[name]]) for name, v in weak.items()})
        )
        assert few.coverage == 0.99
        assert 0.8 <= many.coverage < 0.99
        with pytest.raises(LmedgeError, match="pass --unknown"):
            fit_rejection(PARENTS, known, None, None, None, right)

    def test_the_command(self, trained: Run, exported: Exported, main: Main) -> None:
        code, _, error = main("export", trained.folder, "--int8", "--coverage", "auto")
        assert code == 2
        assert "needs --unknown" in error
        for value in ("49", "nan", "most"):
            code, _, error = main("export", trained.folder, "--int8", "--coverage", value)
            assert code == 2
            assert f"allowed are auto and 50 to 100, not '{value}'" in " ".join(error.split())
        rejection = exported.outcome.findings.rejection
        assert rejection is not None
        assert rejection.measured == "test"
        assert rejection.curve[-1].kept == 1.0
        score = exported.outcome.findings.comparisons[-1].file_scores["landmark"]
        assert rejection.curve[-1].accuracy == pytest.approx(score.accuracy)


def test_the_file_holds_what_the_report_says(exported: Exported) -> None:
    model = read_model(exported.path)
    outcome = exported.outcome
    assert outcome.findings.rejection is not None
    assert model.info["rejection"] == outcome.findings.rejection.as_dict()
    assert Classifier(model).threshold.least == outcome.findings.rejection.threshold
    errors = model.info["metrics"]["val"]["calibration_error"]
    assert set(errors) == {"landmark", "category"}
    assert all(0 <= value <= 1 for one in errors.values() for value in one.values())


def test_the_card_tells_the_figures_of_the_file(exported: Exported, main: Main) -> None:
    _, card, _ = main("inspect", exported.path)
    score = exported.outcome.findings.comparisons[-1].file_scores["landmark"]
    assert f"test: landmark F1 {score.macro_f1:.3f}" in " ".join(card.split())


def test_validation_images_pass_the_threshold_they_chose(exported: Exported) -> None:
    run, classifier = exported.run, Classifier(exported.path)
    known = [classifier.classify(image).known for image in run.images("val")]
    assert np.mean(known) >= 0.95


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    folder = tmp_path / "strangers"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 255, (60, 60, 3), np.uint8))
    return folder


def test_strangers_are_parted_in_two(
    exported: Exported, strangers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejection, "CHUNK", 4)
    found = rejection.run_unknown(
        read_model(exported.path), list_unknown_images(strangers, LEAST_UNKNOWN)
    )
    assert len(found.fit["landmark"]) == len(found.test["category"]) == 3
    one = Classifier(exported.path).classify(
        cv2.cvtColor(cv2.imread(str(strangers / "1.png")), cv2.COLOR_BGR2RGB)
    )
    assert found.test["landmark"][0] == pytest.approx(one.landmark_marginal)


@pytest.mark.parametrize("option", ["--unknown", "--strangers"])  # by its former name too
def test_a_folder_without_images(tmp_path: Path, trained: Run, main: Main, option: str) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds 0 images; --unknown needs a folder of at least 2"):
        list_unknown_images(tmp_path / "none", LEAST_UNKNOWN)
    code, _, error = main(
        "-q",
        "export",
        trained.folder,
        "--int8",
        option,
        tmp_path / "none",
        "-o",
        tmp_path / "x.tflite",
    )
    assert code == 3
    assert len(error.splitlines()) == 1


def test_a_broken_stranger_is_named(exported: Exported, strangers: Path) -> None:
    (strangers / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"0\.png"):
        rejection.run_unknown(
            read_model(exported.path), list_unknown_images(strangers, LEAST_UNKNOWN)
        )
