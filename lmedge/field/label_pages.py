"""The page of `lmedge label` as a WSGI application."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..camera.guarded_pages import (
    GuardedPages,
    Headers,
    PageRequest,
    RefusedRequest,
    content_policy,
)
from ..errors import DataError, LmedgeError
from ..harmless import harmless_values
from ..regular import read_regular
from .groups import ImageGroup
from .labelling import UNDO, Labeller

BODY_BYTES = 8192
_PAGE = Path(__file__).with_name("label.html")
_LARGEST_IMAGE = 64 << 20
_JSON = [("Content-Type", "application/json")]


class LabelPages(GuardedPages):
    """The application: `/`, `/state`, `/image?name=NAME`, and POST of a decision to `/decide`."""

    methods = frozenset({"GET", "HEAD", "POST"})

    def __init__(self, labeller: Labeller, token: str | None) -> None:
        """Take what the page shows and changes, and the token, None on loopback alone."""
        self._labeller = labeller
        self._page = _PAGE.read_bytes()
        super().__init__(token, content_policy(self._page.decode()))

    def answer(self, request: PageRequest) -> tuple[bytes, Headers]:
        """Return the page, what it shows, an image, or the state after a decision."""
        if (request.method == "POST") != (request.path == "/decide"):
            raise RefusedRequest(405, "GET a page, or POST to /decide")
        if request.path == "/":
            return self.html(self._page)
        if request.path == "/state":
            return self._state(), _JSON
        if request.path == "/decide":
            self._decide(request.body)
            return self._state(), _JSON
        if request.path == "/image":
            return self._image(request.value("name")), [("Content-Type", "image/jpeg")]
        raise RefusedRequest(404, "there is no such page")

    def _decide(self, body: bytes) -> None:
        try:
            value = json.loads(body)
        except RecursionError:
            raise ValueError("nested too deep") from None
        if not isinstance(value, dict) or not isinstance(value.get("images", []), list):
            raise ValueError("no decision")
        texts = [value.get(name, "") for name in ("do", "landmark", "category")]
        names = value.get("images", [])
        if not all(isinstance(text, str) for text in [*texts, *names]):
            raise ValueError("a name is no text")
        try:
            if texts[0] == UNDO:
                self._labeller.undo()
            else:
                self._labeller.decide(texts[0], names, texts[1], texts[2])
        except LmedgeError as error:
            raise RefusedRequest(
                409 if isinstance(error, DataError) else 500, str(error)
            ) from error

    def _image(self, name: str) -> bytes:
        image = self._labeller.image(name)
        if image is None:
            raise RefusedRequest(404, "there is no such image")
        try:
            return read_regular(image.path, _LARGEST_IMAGE)
        except OSError as error:
            raise RefusedRequest(404, f"cannot be read ({error.strerror})") from error

    def _state(self) -> bytes:
        labeller = self._labeller
        accuracy = labeller.accuracy()
        groups = [self._group(one) for one in labeller.upcoming(2)]
        state = {
            "total": labeller.total,
            "left": len(labeller.left()),
            "counts": labeller.counts(),
            "undo": labeller.can_undo,
            "group": groups[0] if groups else None,
            "next": [one["name"] for group in groups[1:] for one in group["images"]],
            "labels": sorted([name, category] for name, category in labeller.categories.items()),
            "accuracy": None
            if accuracy is None
            else {
                "images": accuracy.images,
                "right": accuracy.right,
                "bursts": accuracy.bursts,
                "low": round(accuracy.interval[0], 4),
                "high": round(accuracy.interval[1], 4),
            },
        }
        return json.dumps(harmless_values(state)).encode()

    def _group(self, group: ImageGroup) -> dict[str, Any]:
        return {
            "images": [
                {
                    "name": self._labeller.name_of(one),
                    "landmark": one.landmark,
                    "known": one.known,
                    "probability": round(one.certainty, 4),
                    "reasons": list(one.reasons),
                    "time": one.time,
                }
                for one in group.images
            ],
            "candidates": [
                {"landmark": landmark, "category": category, "probability": round(share, 4)}
                for landmark, category, share in group.candidates
            ],
        }
