"""The label of a stream as others are notified of it: what is shown, and the last known one."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..harmless import harmless
from .sinks import FrameResult


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelState:
    """The label of a stream. Names are harmless: they leave lmedge.

    Attributes:
        landmark: Name of the landmark; empty if the stream shows none that the file knows.
        category: Name of its category; empty likewise.
        probability: Joint probability of the landmark, 0 to 1; 0 likewise.
        last_landmark: The newest landmark that was known, this one included; empty if none was.
        last_category: Its category.
        name: Name of the image if the source is images, otherwise empty.
    """

    landmark: str = ""
    category: str = ""
    probability: float = 0.0
    last_landmark: str = ""
    last_category: str = ""
    name: str = ""

    @property
    def known(self) -> bool:
        """True if the stream shows a landmark that the file knows."""
        return bool(self.landmark)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON; docs/formats.md names them."""
        return {
            "known": self.known,
            "landmark": self.landmark or None,
            "category": self.category or None,
            "probability": round(self.probability, 6) if self.known else None,
            "last_landmark": self.last_landmark or None,
            "last_category": self.last_category or None,
        }


class LabelFollower:
    """Find the changes of a stream's label."""

    def __init__(self) -> None:
        """Begin without a label, so that the first one is a change."""
        self.state: LabelState | None = None
        self._shown: tuple[str, bool] | None = None

    def update(self, result: FrameResult) -> LabelState | None:
        """Take a result; return the new state if the label is another one, otherwise None."""
        prediction, known = result.prediction, result.known
        shown = (prediction.landmark if known else "", known)
        if shown == self._shown:
            return None
        self._shown = shown
        name = harmless(result.frame.name or "")
        if known:
            landmark, category = harmless(prediction.landmark), harmless(prediction.category)
            self.state = LabelState(
                landmark=landmark,
                category=category,
                probability=prediction.landmark_probability,
                last_landmark=landmark,
                last_category=category,
                name=name,
            )
        else:
            last = self.state or LabelState()
            self.state = LabelState(
                last_landmark=last.last_landmark, last_category=last.last_category, name=name
            )
        return self.state
