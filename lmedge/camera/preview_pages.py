"""The pages of the preview as a WSGI application."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, LmedgeError
from ..harmless import harmless_values
from .guarded_pages import GuardedPages, Headers, PageRequest, RefusedRequest, content_policy

if TYPE_CHECKING:
    from .teacher import Teacher

Newest = Callable[[int], tuple[int, bytes, str] | None]
_PAGE = Path(__file__).with_name("preview.html")
_PLAIN, _TEACHING = b"<body>", b"<body class=teaching>"
_JSON = [("Content-Type", "application/json")]


class PreviewPages(GuardedPages):
    """The application: `/` and `/newest?after=N`; with a teacher also `/teach`, GET and POST."""

    def __init__(self, newest: Newest, token: str | None, teacher: Teacher | None = None) -> None:
        """Take the function of the newest image, the token, and the teacher if there is one.

        The token is None on loopback alone, and never with a teacher.
        """
        self._newest, self._teacher = newest, teacher
        self._page = _PAGE.read_bytes()
        super().__init__(token, content_policy(self._page.decode()))
        if teacher is not None:
            if token is None:
                raise LmedgeError("a page that teaches needs a token")
            self.methods = self.methods | {"POST"}
            self._page = self._page.replace(_PLAIN, _TEACHING, 1)

    def answer(self, request: PageRequest) -> tuple[bytes, Headers]:
        """Return the page, the newest image with its figures, or the step of a lesson."""
        if request.path == "/teach" and self._teacher is not None:
            if request.method == "POST":
                _act(self._teacher, request.body)
            return _state_of(self._teacher), _JSON
        if request.method == "POST":
            raise RefusedRequest(405, "POST to /teach only")
        if request.path == "/":
            return self.html(self._page)
        if request.path != "/newest":
            raise RefusedRequest(404, "there is no such page")
        after = request.value("after", "0")
        found = self._newest(int(after) if re.fullmatch("[0-9]{1,15}", after) else 0)
        if found is None:
            return b"", []
        number, jpeg, figures = found
        shown = [("X-Number", str(number)), ("X-Figures", figures)]
        return jpeg, [("Content-Type", "image/jpeg"), *shown]


def _act(teacher: Teacher, body: bytes) -> None:
    """Do what a button asks for. Raises ValueError for what no page of ours sends."""
    try:
        value = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("no object")
    names = [value.get(name, "") for name in ("do", "landmark", "category")]
    keep = value.get("keep", False)
    if not all(isinstance(name, str) for name in names) or not isinstance(keep, bool):
        raise ValueError("a value of another type")
    do, landmark, category = names
    acts: dict[str, Callable[[], None]] = {
        "burst": teacher.begin,
        "cancel": teacher.cancel,
        "undo": teacher.undo,
        "teach": lambda: teacher.teach(landmark, category, keep=keep),
    }
    if do not in acts:
        raise ValueError("no such button")
    try:
        acts[do]()
    except DataError as error:
        raise RefusedRequest(409, str(error)) from error


def _state_of(teacher: Teacher) -> bytes:
    state = teacher.state
    found = {
        "phase": state.phase.value,
        "taken": state.taken,
        "wanted": state.wanted,
        "message": state.message,
        "failed": state.failed,
        "undo": state.can_undo,
        "folder": "" if teacher.photographs is None else str(teacher.photographs),
        "labels": sorted([name, category] for name, category in teacher.labels.items()),
    }
    return json.dumps(harmless_values(found)).encode()
