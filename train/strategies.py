"""The orders in which the two tasks are learned, each a few lines over the shared steps."""

from __future__ import annotations

from collections.abc import Callable

from .steps import Job


def landmarks_first(job: Job) -> None:
    """Landmarks through the whole network; then categories on the same trunk, left as it is."""
    if job.pretrained:
        job.fit_head("landmark", shared=True)
    job.fine_tune("landmark")
    job.fit_head("category", shared=False)


Strategy = Callable[[Job], None]
STRATEGIES: dict[str, Strategy] = {"landmarks-first": landmarks_first}
