"""Names that must be one of those there are."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from lmedge.errors import RecipeError


def check_known(kind: str, name: str, known: Collection[str]) -> None:
    """Raise RecipeError, with the nearest name, unless `name` is a known `kind`."""
    if name in known:
        return
    near = difflib.get_close_matches(name.lower(), known, 1, 0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise RecipeError(f"unknown {kind} {name!r} (known: {', '.join(known)}){hint}")
