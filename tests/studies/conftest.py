"""Fixtures of the studies: the small run and the small export of their own rooms."""

from __future__ import annotations

from tests.export.conftest import exported, own_cache, tiny, trained
from tests.train.conftest import finished_run, small_photographs, tiny_weights

__all__ = [
    "exported",
    "finished_run",
    "own_cache",
    "small_photographs",
    "tiny",
    "tiny_weights",
    "trained",
]
