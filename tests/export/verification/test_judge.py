"""The judge of a cross-fitted run: certain by memory, and still no damage passes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lmedge.decoding import softmax
from lmedge.evaluation import CROSS_VALIDATED
from lmedge.export.verification.comparison import Logits, compare_outputs
from lmedge.export.verification.gate import Limits, gate
from lmedge.export.verification.judge import Judge
from lmedge.model_file import HEADS
from lmedge.taxonomy import Taxonomy

TAXONOMY = Taxonomy.from_pairs([("x", "a"), ("x", "b"), ("y", "c"), ("y", "d")])
ONES = dict.fromkeys(HEADS, 1.0)
COUNT = 240


@pytest.fixture(scope="module")
def judge() -> Judge:
    """A network that is right on nine images in ten, and on all that it has learned."""
    rng = np.random.default_rng(0)
    landmark = np.arange(COUNT) % 4
    truth = {"landmark": landmark, "category": TAXONOMY.parent_index[landmark].astype(np.int64)}
    sizes = {"landmark": 4, "category": 2}
    one_hot = {head: np.eye(sizes[head], dtype=np.float32)[truth[head]] for head in HEADS}
    noise = {head: rng.normal(0, 1, one_hot[head].shape).astype(np.float32) for head in HEADS}
    return Judge(
        part=CROSS_VALIDATED,
        places=np.arange(COUNT),
        truth=truth,
        honest={head: 2.5 * one_hot[head] + noise[head] for head in HEADS},
        own={head: 12 * one_hot[head] + 0.3 * noise[head] for head in HEADS},
    )


def problems(judge: Judge, given: Logits) -> tuple[str, ...]:
    """Return the verdict on a file that gives these logits for the learned images."""
    raw = {head: softmax(given[head]) for head in HEADS}
    file = judge.shifted_file(raw, ONES)
    compared = compare_outputs(judge.part, judge.honest, ONES, file, ONES, judge.truth, TAXONOMY)
    return gate(compared, raw, Limits()).problems


def test_a_file_like_float_passes(judge: Judge) -> None:
    assert judge.own is not None
    assert problems(judge, judge.own) == ()


def test_the_change_is_that_of_the_learned_images(judge: Judge) -> None:
    assert judge.own is not None
    more = {head: values + 1.5 for head, values in judge.own.items()}
    shifted = judge.shifted(more)
    for head in HEADS:
        np.testing.assert_allclose(shifted[head], judge.honest[head] + 1.5, atol=1e-5)


def test_probabilities_of_a_file_are_shifted_as_its_logits(judge: Judge) -> None:
    assert judge.own is not None
    temperatures = {"landmark": 0.7, "category": 1.4}
    noisy = {head: values * 1.01 for head, values in judge.own.items()}
    file = {head: softmax(noisy[head], temperatures[head]) for head in HEADS}
    found = judge.shifted_file(file, temperatures)
    for head in HEADS:
        wanted = softmax(judge.shifted(noisy)[head], temperatures[head])
        np.testing.assert_allclose(found[head], wanted, atol=2e-3)


def swapped(logits: Logits) -> Logits:
    return {**logits, "landmark": logits["landmark"][:, [1, 0, 2, 3]]}


def constant(logits: Logits) -> Logits:
    return {**logits, "category": np.repeat(logits["category"][:1], COUNT, axis=0)}


def noisy(logits: Logits) -> Logits:
    """Noise that flips no learned image, and many of those that are new."""
    rng = np.random.default_rng(1)
    values = logits["landmark"]
    return {**logits, "landmark": values + rng.normal(0, 2, values.shape).astype(np.float32)}


@pytest.mark.parametrize("damage", [swapped, constant, noisy])
def test_a_damage_is_refused(judge: Judge, damage: Callable[[Logits], Logits]) -> None:
    assert judge.own is not None
    assert problems(judge, damage(judge.own))


def test_noise_that_memory_hides_is_seen(judge: Judge) -> None:
    """The learned images themselves would show nothing."""
    assert judge.own is not None
    given, truth = noisy(judge.own)["landmark"], judge.truth["landmark"]
    assert (given.argmax(axis=1) == truth).mean() > 0.99
    assert any("landmark macro F1 fell" in one for one in problems(judge, noisy(judge.own)))
