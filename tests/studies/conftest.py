"""Fixtures of the studies: the small export of its own room."""

from __future__ import annotations

from tests.export.conftest import exported, trained

__all__ = ["exported", "trained"]
