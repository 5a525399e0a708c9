"""The orders in which the two tasks are learned, each a few lines over the shared steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..recipes.sections import check_known

if TYPE_CHECKING:
    from .steps import Job


@dataclasses.dataclass(frozen=True)
class Strategy:
    """An order of the tasks; `feature` is the head whose answer is a feature of the other."""

    train: Callable[[Job], None]
    summary: str
    feature: str | None = None


def parallel(job: Job) -> None:
    """Both losses together, on a frozen trunk and then through it."""
    if job.pretrained:
        job.fit_heads("landmark", "category")
    job.fine_tune("landmark", "category")


def landmarks_first(job: Job) -> None:
    """Landmarks through the whole network, then categories on the same trunk."""
    _one_after_the_other(job, "landmark", "category")


def categories_first(job: Job) -> None:
    """Categories through the whole network, then landmarks on the same trunk."""
    _one_after_the_other(job, "category", "landmark")


def _one_after_the_other(job: Job, first: str, second: str) -> None:
    if job.pretrained:
        job.fit_heads(first)
    job.fine_tune(first)
    job.fit_second_head(second)
    if job.distils:
        job.fine_tune(second, held=first)


STRATEGIES: dict[str, Strategy] = {
    "landmarks-first": Strategy(
        landmarks_first, "landmarks, then categories on the same trunk (the default)"
    ),
    "categories-first": Strategy(categories_first, "categories, then landmarks on the same trunk"),
    "landmarks-feature": Strategy(
        landmarks_first, "landmarks, their answer an extra feature for categories", "landmark"
    ),
    "categories-feature": Strategy(
        categories_first, "categories, their answer an extra feature for landmarks", "category"
    ),
    "parallel": Strategy(parallel, "both at once, their losses added"),
}


def check_strategy(name: str) -> None:
    """Raise RecipeError, with the nearest name, unless `name` is a strategy."""
    check_known("strategy", name, STRATEGIES)
