"""The orders in which the two heads are trained, as data that `steps` interprets."""

from __future__ import annotations

import dataclasses

from ..recipes.sections import check_known


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strategy:
    """An order of the two heads.

    Attributes:
        name: the name at the command line and in run.json.
        help: one line for people.
        first: the heads that are trained first, together, through the network.
        second: the head that is trained afterwards on the same backbone, or None.
        feeds_second: if true, the first head's probabilities are a feature of the second head.
    """

    name: str
    help: str
    first: tuple[str, ...]
    second: str | None = None
    feeds_second: bool = False

    @property
    def feature(self) -> str | None:
        """The head whose probabilities are a feature of the other head, or None."""
        return self.first[0] if self.feeds_second else None


_ALL = (
    Strategy(
        name="landmarks-first",
        help="landmarks, then categories on the same backbone",
        first=("landmark",),
        second="category",
    ),
    Strategy(
        name="categories-first",
        help="categories, then landmarks on the same backbone",
        first=("category",),
        second="landmark",
    ),
    Strategy(
        name="landmarks-feature",
        help="landmarks, their probabilities an extra feature for categories",
        first=("landmark",),
        second="category",
        feeds_second=True,
    ),
    Strategy(
        name="categories-feature",
        help="categories, their probabilities an extra feature for landmarks",
        first=("category",),
        second="landmark",
        feeds_second=True,
    ),
    Strategy(
        name="parallel", help="both at once, their losses added", first=("landmark", "category")
    ),
)
STRATEGIES = {strategy.name: strategy for strategy in _ALL}
DEFAULT_STRATEGY = _ALL[0].name


def check_strategy(name: str) -> None:
    """Raise RecipeError, with the nearest name, unless `name` is a strategy."""
    check_known("strategy", name, STRATEGIES)
