"""The file's third output: how far an image looks like one of its landmarks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmedge.classifier import Classifier
from lmedge.evaluation.unknown import auroc
from lmedge.export import convert, exporting
from lmedge.export.verification import known
from lmedge.export.verification.comparison import run_file
from lmedge.export.verification.gate import Limits
from lmedge.model_file import HEADS, KNOWN, read_model
from lmedge.rejection import AGREEMENT
from lmedge.train.network import load_network, predict_with_features
from lmedge.train.run import Run
from tests.export.conftest import Exported


def test_directions_and_cosines_by_hand() -> None:
    features = np.array([[2.0, 0.0], [4.0, 0.0], [3.0, 4.0]])
    directions = known.mean_directions(features, np.array([0, 0, 2]), 3)
    np.testing.assert_allclose(directions, [[1, 0, 0.6], [0, 0, 0.8]])
    np.testing.assert_allclose(
        known.cosines(np.array([[0.0, 5.0], [0.0, 0.0]]), directions), [[0, 0, 0.8], [0, 0, 0]]
    )


def test_a_mean_is_of_no_more_images_than_needed() -> None:
    truth = np.repeat([0, 1, 2], [3, known.PER_LANDMARK + 5, known.PER_LANDMARK])
    chosen = known.spread(truth, np.random.default_rng(0))
    assert np.bincount(truth[chosen]).tolist() == [3, known.PER_LANDMARK, known.PER_LANDMARK]
    assert len(set(chosen.tolist())) == len(chosen)


def wanted(network: Any, found: Any, images: np.ndarray, third: known.Known) -> np.ndarray:
    """Return the score of (N, S, S, 3) images in float, from the file's own probabilities."""
    features = predict_with_features(network, images)["features"].astype(np.float64)
    return third.score(features, found)


def test_a_score_by_hand() -> None:
    third = known.Known(
        directions=np.array([[1, 0], [0, 0.6]], np.float32),
        offsets=np.array([0.1, 0.2], np.float32),
        belongs=np.eye(2, dtype=np.float32),
        lowest=0.0,
        largest=1.0,
    )
    sure = {head: np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]) for head in HEADS}
    features = np.array([[3.0, 4.0], [3.0, 4.0], [-9.0, 0.0]])
    np.testing.assert_allclose(third.score(features, sure), [0.7, 0.68, 0.0], atol=1e-6)
    torn = {"landmark": np.full((3, 2), 0.5), "category": sure["category"]}
    np.testing.assert_allclose(third.score(features, torn), [0.175, 0.17, 0.0], atol=1e-6)
    apart = {"landmark": sure["landmark"], "category": sure["landmark"][:, ::-1]}
    np.testing.assert_allclose(third.score(features, apart), 0, atol=1e-6)


class TestUnknownImages:
    """Two landmarks and a third thing, between them in the mean but apart in a feature."""

    @staticmethod
    def drawn(rng: np.random.Generator, centre: list[float], count: int) -> np.ndarray:
        return np.asarray(np.array(centre) + rng.normal(0, 0.15, (count, 4)))

    def test_the_likeness_is_flat_on_them(self) -> None:
        rng = np.random.default_rng(0)
        features = np.concatenate(
            [self.drawn(rng, [1, 0, 0.1, 0], 20), self.drawn(rng, [0, 1, 0.1, 0], 20)]
        )
        truth, parents = np.repeat([0, 1], 20), np.array([0, 0])
        learned, others = (self.drawn(rng, [0.8, 0, 0.1, 0.6], 20) for _ in range(2))
        sure = {"landmark": np.tile([1.0, 0.0], (20, 1)), "category": np.ones((20, 1))}
        scores = {}
        for name, unknown in (("without", None), ("with", learned)):
            third = known.fit_known(features, truth, parents, unknown, read=4)
            own = third.score(self.drawn(np.random.default_rng(1), [1, 0, 0.1, 0], 20), sure)
            scores[name] = auroc(own, third.score(others, sure))
        assert scores["without"] < 0.97 < scores["with"], scores

    @pytest.mark.parametrize("count", [2, 30])  # fewer images than features, and more
    def test_the_regression_is_the_minimum(self, count: int) -> None:
        rng = np.random.default_rng(2)
        features, truth = rng.normal(0, 1, (2 * count, 12)), np.repeat([0, 1], count)
        unknown = rng.normal(0.5, 1, (count, 12))
        kernel, bias = known.flat_regression(features, truth, 2, unknown)
        x = np.concatenate([features, unknown])
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        targets = np.concatenate([np.eye(2)[truth], np.zeros((count, 2))])
        centred = x - x.mean(axis=0)
        ridge = known.RIDGE * np.square(centred).sum() / len(x)

        def loss(w: np.ndarray, b: np.ndarray) -> float:
            return float(np.square(x @ w + b - targets).sum() + ridge * np.square(w).sum())

        least = loss(kernel, bias)
        for _ in range(20):
            step, shift = rng.normal(0, 1e-3, kernel.shape), rng.normal(0, 1e-3, bias.shape)
            assert loss(kernel + step, bias + shift) > least

    def test_a_file_has_learned_them(self, trained: Run, tmp_path: Path) -> None:
        entries = trained.entries("test")[:3]  # as if they were of something else
        run = dataclasses.replace(trained, unknown=entries)
        path = tmp_path / "f.tflite"
        exporting.export_format(
            run, path, "float32", exporting.Options(limits=Limits(tolerance=1.0), force=True)
        )
        network, images = load_network(run), run.images("val")[:]
        features = predict_with_features(network, run.images("train"))["features"]
        unknown = predict_with_features(network, run.unknown_images())["features"]
        truth, parents = run.labels("train")["landmark"], run.taxonomy.parent_index
        third = known.fit_known(features, truth, parents, unknown, read=24)
        assert third.offsets.any()
        found = run_file(read_model(path), images)
        np.testing.assert_allclose(
            found[KNOWN][:, 0], wanted(network, found, images, third), atol=1e-4
        )


def test_the_file_computes_it(exported: Exported) -> None:
    """In int8 but for the last steps: the products have 255 steps over their range."""
    images = exported.run.images("test")[:]
    found = run_file(read_model(exported.path), images)
    score = wanted(exported.quantized, found, images, exported.known)
    np.testing.assert_allclose(found[KNOWN][:, 0], score, atol=0.03)
    np.testing.assert_allclose(found[KNOWN].sum(axis=1), 1, atol=1e-6)
    assert np.ptp(score) > 0.1


def test_a_float_file_computes_it(trained: Run, exported: Exported, tmp_path: Path) -> None:
    outcome = exporting.export_format(
        trained,
        tmp_path / "f.tflite",
        "float32",
        exporting.Options(limits=Limits(tolerance=1.0), force=True),
    )
    assert outcome.findings.rejection is not None
    assert outcome.findings.rejection.score == KNOWN
    network, images = load_network(trained), trained.images("test")[:]
    truth = trained.labels("train")["landmark"]
    features = predict_with_features(network, trained.images("train"))["features"]
    third = known.fit_known(features, truth, trained.taxonomy.parent_index, read=24)
    assert features.shape[1] == 40, "the averages over the widest map are not read"
    assert third.directions.shape[0] == 24
    found = run_file(read_model(tmp_path / "f.tflite"), images)
    score = wanted(network, found, images, third)
    np.testing.assert_allclose(found[KNOWN][:, 0], score, atol=1e-4)


def test_the_two_heads_do_not_change(exported: Exported, tmp_path: Path) -> None:
    """Bit by bit the same as without the third output."""
    from ai_edge_litert.interpreter import Interpreter

    plain = convert.to_int8(exported.quantized, exported.outcome.temperatures)
    runners = [
        Interpreter(model_content=graph).get_signature_runner() for graph in (plain, exported.graph)
    ]
    for image in exported.run.images("test"):
        before, after = (runner(image=image[None]) for runner in runners)
        assert set(after) - set(before) == {KNOWN}
        for head in HEADS:
            assert before[head].tobytes() == after[head].tobytes()


def test_the_threshold_is_of_it(exported: Exported) -> None:
    classifier = Classifier(exported.path)
    rejection = exported.outcome.findings.rejection
    assert rejection is not None
    assert classifier.threshold.score == rejection.score == KNOWN
    assert rejection.heads[KNOWN] == rejection.threshold
    for image in exported.run.images("val"):
        prediction = classifier.classify(image)
        assert prediction.known_probability is not None
        assert prediction.known == (prediction.known_probability >= rejection.threshold)
        assert prediction.known_probability <= prediction.agreement * 1.01


@pytest.mark.parametrize(("name", "io"), [("int8-ptq", "uint8"), ("int8", "int8")])
def test_a_file_without_it(trained: Run, name: str, io: str, tmp_path: Path) -> None:
    path = tmp_path / "without.tflite"
    options = exporting.Options(limits=Limits(tolerance=1.0), force=True, io=io)
    outcome = exporting.export_format(trained, path, name, options)
    assert outcome.findings.rejection is not None
    assert outcome.findings.rejection.score == AGREEMENT
    assert set(outcome.findings.rejection.heads) == set(HEADS)
    assert read_model(path).known is None
    assert Classifier(path).classify(trained.images("test")[0]).known_probability is None
