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
    change = {head: np.random.default_rng(1).normal(0, 1, judge.own[head].shape) for head in HEADS}
    shifted = judge.shifted({head: judge.own[head] + change[head] for head in HEADS})
    for head in HEADS:
        moved, made = (
            values - values.mean(axis=1, keepdims=True)
            for values in (shifted[head] - judge.honest[head], change[head])
        )
        assert np.corrcoef(moved.ravel(), made.ravel())[0, 1] > 0.95


def test_what_all_learned_images_lose_alike_is_memory_and_no_change(judge: Judge) -> None:
    assert judge.own is not None
    rows = np.arange(COUNT)
    given = {head: 0.9 * values for head, values in judge.own.items()}
    for head in HEADS:
        given[head][rows, judge.truth[head]] -= 2.0
    shifted = judge.shifted(given)
    for head in HEADS:
        honest = judge.honest[head]
        wrong = honest.argmax(1) != judge.truth[head]
        assert 0.02 < wrong.mean() < 0.3
        assert np.mean((shifted[head].argmax(1) != judge.truth[head]) & ~wrong) < 0.02
    assert problems(judge, given) == ()


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
