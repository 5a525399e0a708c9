"""Both heads decoded together: how much the category is heard, fitted and kept in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lmedge.classifier import Classifier
from lmedge.decoding import joint_probabilities
from lmedge.evaluation.scoring import fit_category_weight, score_probabilities
from lmedge.taxonomy import Taxonomy
from tests import tiny_file as tiny
from tests.in_process import lmedge

TAXONOMY = Taxonomy.from_pairs([("old", "a"), ("old", "b"), ("new", "c"), ("new", "d")])
PARENTS = TAXONOMY.parent_index


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)


def answers(
    count: int, *, noise: float, category_noise: float
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draw heads that are each calibrated, by the noise of what they see."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, count)
    above = PARENTS[truth]
    seen = np.eye(4)[truth] + rng.normal(0, noise, (count, 4))
    seen_above = np.eye(2)[above] + rng.normal(0, category_noise, (count, 2))
    found = {
        "landmark": softmax(seen / noise**2),
        "category": softmax(seen_above / category_noise**2),
    }
    return found, {"landmark": truth, "category": above.astype(np.int64)}


def test_independent_heads_are_heard_alike() -> None:
    assert fit_category_weight(*answers(4000, noise=0.7, category_noise=0.7), TAXONOMY) == (
        pytest.approx(1.0, abs=0.1)
    )


def test_a_head_that_repeats_the_other_is_not_heard() -> None:
    found, truth = answers(4000, noise=0.7, category_noise=0.7)
    copied = found["landmark"] @ np.eye(2, dtype=np.float32)[PARENTS]
    assert fit_category_weight({**found, "category": copied}, truth, TAXONOMY) < 0.1


def test_a_few_right_answers_say_nothing() -> None:
    found, truth = answers(12, noise=0.05, category_noise=0.05)
    assert fit_category_weight(found, truth, TAXONOMY) == pytest.approx(1.0, abs=0.05)


def test_no_images_leave_one() -> None:
    found = {"landmark": np.zeros((0, 4), np.float32), "category": np.zeros((0, 2), np.float32)}
    none = {"landmark": np.zeros(0, np.int64), "category": np.zeros(0, np.int64)}
    assert fit_category_weight(found, none, TAXONOMY) == 1.0


def test_a_weight_decides_between_the_heads() -> None:
    landmark, category = np.array([0.5, 0.05, 0.4, 0.05]), np.array([0.6, 0.4])
    said = [
        int(joint_probabilities(landmark, category, PARENTS, weight).argmax())
        for weight in (0.0, 0.25, 1.0)
    ]
    assert said == [0, 0, 2]
    assert joint_probabilities(landmark, category, PARENTS, 0.0) == pytest.approx(landmark)


def test_scores_follow_the_weight() -> None:
    found, truth = answers(500, noise=0.5, category_noise=2.0)
    unheard = score_probabilities(found, truth, TAXONOMY, 0.0)
    assert unheard["landmark"].macro_f1 == unheard.alone["landmark"].macro_f1
    assert unheard.as_dict()["category_weight"] == 0.0
    heard = score_probabilities(found, truth, TAXONOMY)
    assert heard["landmark"].macro_f1 != unheard["landmark"].macro_f1


def with_weight(path: Path, value: object) -> Path:
    from lmedge.metadata import Card, pack

    info = {
        "preprocessing": {"size": 32, "resize": "crop"},
        "decoding": {"category_weight": value},
    }
    card = Card(
        name="tiny",
        description="four colours",
        version="0.1.0",
        taxonomy=tiny.TAXONOMY,
        size=32,
        info=info,
    )
    path.write_bytes(pack(tiny.graph(), card))
    return path


def test_the_file_says_how_it_is_decoded(tiny_file: Path, tmp_path: Path) -> None:
    frame = tiny.image("grey stone")
    plain = Classifier(tiny_file).classify(frame)
    alone = Classifier(with_weight(tmp_path / "alone.tflite", 0)).classify(frame)
    total = alone.landmark_marginal.sum()  # int8 does not add up to one exactly
    assert alone.joint == pytest.approx(alone.landmark_marginal / total, abs=1e-6)
    assert np.abs(plain.joint - alone.joint).max() > 0.001
    assert "category weight 0" in lmedge("inspect", tmp_path / "alone.tflite").stdout


@pytest.mark.parametrize("value", ["much", -1, 3, None, [0.5]])
def test_a_damaged_weight_is_one_line(value: object, tmp_path: Path) -> None:
    process = lmedge("predict", with_weight(tmp_path / "bad.tflite", value), tmp_path)
    assert process.returncode == 4
    (line,) = process.stderr.splitlines()
    assert "its decoding cannot be used" in line
