"""The study of both kinds of heads: photographs in pairs, and all runs as one."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.studies.taught_or_trained import Answers, row, together

pytestmark = pytest.mark.study


def answers(name: str, trained: list[int], taught: list[int]) -> Answers:
    truth = np.array([0, 0, 1, 1, 2, 2])
    return Answers(name=name, truth=truth, trained=np.array(trained), taught=np.array(taught))


def test_photographs_are_compared_in_pairs() -> None:
    found = row(answers("a", [0, 0, 1, 1, 2, 0], [0, 1, 0, 1, 2, 2]))
    assert (found.trained_wrong, found.taught_wrong) == (1, 2)
    assert (found.gained, found.lost) == (1, 2)
    assert found.p == 1.0
    assert found.trained_f1 == pytest.approx((0.8 + 1 + 2 / 3) / 3)


def test_equal_answers_differ_by_chance_at_most() -> None:
    assert row(answers("a", [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2])).p == 1.0


def test_all_runs_are_one_row() -> None:
    runs = [answers("a", [1] * 6, [0, 0, 1, 1, 2, 2]), answers("b", [2] * 6, [0, 0, 1, 1, 2, 2])]
    found = row(together(runs))
    assert (found.run, found.photographs) == ("all", 12)
    assert (found.gained, found.lost, found.taught_wrong) == (8, 0, 0)
    assert found.p == pytest.approx(2 * 0.5**8)
