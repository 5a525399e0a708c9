"""Temperatures: a probability of 0.9 is right nine times in ten; then how loud a head speaks."""

from __future__ import annotations

import numpy as np
import pytest

from lmedge.decoding import softmax
from lmedge.evaluation.scoring import fit_category_weight
from lmedge.evaluation.temperature import HIGH, LOW, fit_temperature
from lmedge.taxonomy import Taxonomy
from lmedge.train.calibration import fit_calibration

TAXONOMY = Taxonomy(
    landmarks=tuple("abcdef"), categories=("first", "second"), parents=(0, 0, 0, 1, 1, 1)
)


def draw(temperature: float, count: int = 4000, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are too sure of themselves by `temperature`, and the truth."""
    rng = np.random.default_rng(1)
    honest = rng.normal(0, 2, (count, classes))
    chances = softmax(honest)
    truth = np.array([rng.choice(classes, p=row / row.sum()) for row in chances.astype(float)])
    return (honest * temperature).astype(np.float32), truth


@pytest.mark.parametrize("temperature", [0.25, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    assert fit_temperature(*draw(temperature)) == pytest.approx(temperature, rel=0.06)


def test_it_makes_probabilities_honest() -> None:
    logits, truth = draw(5.0)

    def gap(probabilities: np.ndarray) -> float:
        right = probabilities.argmax(axis=1) == truth
        return abs(float(probabilities.max(axis=1).mean() - right.mean()))

    fitted = softmax(logits, fit_temperature(logits, truth))
    assert gap(fitted) < 0.02
    assert gap(softmax(logits)) > 0.1


@pytest.mark.parametrize("count", [1, 3, 60])
def test_a_few_images_that_are_all_right_do_not_ask_for_certainty(count: int) -> None:
    """Without smoothing the best temperature would be zero."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 30, count)
    logits = rng.normal(0, 1, (count, 30)).astype(np.float32)
    logits[np.arange(count), truth] += 12
    temperature = fit_temperature(logits, truth)
    sure = softmax(logits, temperature).max(axis=1).mean()
    assert LOW < temperature < HIGH
    assert sure == pytest.approx((count + 1) / (count + 2), abs=0.03)


def test_nothing_to_learn_from() -> None:
    assert fit_temperature(np.zeros((0, 5), np.float32), np.zeros(0, np.int64)) == 1.0
    assert fit_temperature(np.zeros((4, 1), np.float32), np.zeros(4, np.int64)) == 1.0


def test_logits_that_say_nothing() -> None:
    temperature = fit_temperature(np.zeros((9, 5), np.float32), np.zeros(9, np.int64))
    assert LOW <= temperature <= HIGH


def test_heads_that_are_unsure_of_themselves_are_not_heard_louder() -> None:
    """Label smoothing leaves logits too small; a weight alone would make good for that."""
    landmark, truth = draw(1.0)
    heads = np.stack([landmark[:, :3].max(axis=1), landmark[:, 3:].max(axis=1)], axis=1)
    right = {"landmark": truth, "category": truth // 3}
    logits = {"landmark": landmark, "category": heads}  # says nothing that landmark does not
    honest = fit_calibration(logits, right, TAXONOMY)
    smoothed = {head: values * np.float32(0.3) for head, values in logits.items()}
    found = fit_calibration(smoothed, right, TAXONOMY)
    assert honest.decoding.category_weight < 0.3
    assert found.decoding.category_weight == pytest.approx(honest.decoding.category_weight)
    assert found.temperatures["landmark"] == pytest.approx(
        0.3 * honest.temperatures["landmark"], rel=0.01
    )
    alone = {head: softmax(values) for head, values in smoothed.items()}
    assert fit_category_weight(alone, right, TAXONOMY) > 1


def test_a_weight_is_a_number_of_images() -> None:
    logits, truth = draw(2.0)
    counts = 1 + np.arange(len(truth)) % 3
    several = fit_temperature(np.repeat(logits, counts, axis=0), np.repeat(truth, counts))
    assert fit_temperature(logits, truth, counts.astype(np.float64)) == pytest.approx(several)
