"""Folders that tests read: the checkout, and the photographs and weights beside it.

`LMEDGE_SHARED` names the folder with photographs (`data/`) and weights (`weights/`); the default is
`shared` beside the checkout. A test that needs an absent folder is skipped, with the reason.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("LMEDGE_SHARED") or ROOT.parent / "shared")
PHOTOGRAPHS = SHARED / "data" / "usc30"
B0_WEIGHTS = SHARED / "weights" / "efficientnetb0_notop.h5"
LITE0_WEIGHTS = SHARED / "weights" / "efficientnet_lite0_notop.weights.h5"


def missing(*paths: Path) -> str:
    """Return the reason to skip a test that needs `paths`; empty if all exist."""
    absent = [str(path) for path in paths if not path.exists()]
    return f"LMEDGE_SHARED: no {' and no '.join(absent)}" if absent else ""


def needs(*paths: Path) -> pytest.MarkDecorator:
    """Skip a test or a class of tests unless all `paths` exist."""
    reason = missing(*paths)
    return pytest.mark.skipif(bool(reason), reason=reason)
