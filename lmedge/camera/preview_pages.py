"""The pages of the preview as a WSGI application."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from .guarded_pages import GuardedPages, Headers, PageRequest, RefusedRequest, content_policy

Newest = Callable[[int], tuple[int, bytes, str] | None]
_PAGE = Path(__file__).with_name("preview.html")


class PreviewPages(GuardedPages):
    """The application: `/` and `/newest?after=N`, for GET and HEAD."""

    def __init__(self, newest: Newest, token: str | None) -> None:
        """Take the function of the newest image, and the token, None on loopback alone."""
        self._newest = newest
        self._page = _PAGE.read_bytes()
        super().__init__(token, content_policy(self._page.decode()))

    def answer(self, request: PageRequest) -> tuple[bytes, Headers]:
        """Return the page, or the newest image with its figures."""
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
