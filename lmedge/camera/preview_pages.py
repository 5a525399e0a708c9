"""The pages of the preview as a WSGI application: who may see them, and their headers."""

from __future__ import annotations

import base64
import collections
import hashlib
import hmac
import ipaddress
import re
import secrets
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .preview_token import is_own

Newest = Callable[[int], tuple[int, bytes, str] | None]
_PAGE = Path(__file__).with_name("preview.html")
_FREE = 3  # wrong tokens of an address before it has to wait
_LONGEST = 4.0  # seconds to wait between two wrong tokens, at the most
_ADDRESSES = 1024  # that are remembered
_COOKIE = "lmedge"
_REASONS = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
    500: "Internal Server Error",
}


class RefusedRequest(Exception):  # noqa: N818  (it is an answer, not an error of ours)
    """An answer that is no page: its status, its line, and the seconds to wait."""

    def __init__(self, status: int, line: str, wait: float = 0.0) -> None:
        """Take the status, one line of text, and the seconds after which to ask again."""
        super().__init__(line)
        self.status, self.line, self.wait = status, line, wait


class Attempts:
    """The wrong tokens of each address: after a few, the next one has to wait."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lock = threading.Lock()
        # address -> wrong tokens, and the time of the next one
        self._wrong: collections.OrderedDict[str, tuple[int, float]] = collections.OrderedDict()

    def wait(self, address: str) -> float:
        """Return the seconds until a token of this address is looked at."""
        with self._lock:
            _, free = self._wrong.get(_network(address), (0, 0.0))
        return max(0.0, free - time.monotonic())

    def wrong(self, address: str) -> None:
        """Count a wrong token."""
        with self._lock:
            count = self._wrong.pop(_network(address), (0, 0.0))[0] + 1
            pause = 0.0 if count < _FREE else min(_LONGEST, 0.5 * 2.0 ** min(count - _FREE, 8))
            self._wrong[_network(address)] = (count, time.monotonic() + pause)
            while len(self._wrong) > _ADDRESSES:
                self._wrong.popitem(last=False)

    def right(self, address: str) -> None:
        """Forget the wrong ones."""
        with self._lock:
            self._wrong.pop(_network(address), None)


class PreviewPages:
    """The application: `/` and `/newest?after=N`, for GET and HEAD."""

    def __init__(self, newest: Newest, token: str | None) -> None:
        """Take the function of the newest image, and the token, None on loopback alone."""
        self._newest = newest
        self._token = None if token is None else token.encode()
        self._session = secrets.token_urlsafe(24)  # shows that a browser has had the token
        self._attempts = Attempts()
        self._page = _PAGE.read_bytes()
        self._policy = content_policy(self._page.decode())

    def __call__(self, environ: Mapping[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request; whatever it holds, the answer is a status and never a traceback."""
        headers = self._common_headers()
        try:
            body, more = self._answer(environ)
            status = 200 if body else 204
            headers += more
            _trust(environ)
        except RefusedRequest as refused:
            status, body = refused.status, f"{refused.line}\n".encode()
            headers.append(("Content-Type", "text/plain; charset=utf-8"))
            if refused.wait:
                headers.append(("Retry-After", str(int(refused.wait) + 1)))
        except (ValueError, KeyError, UnicodeError):  # a request that no browser sends
            status, body = 400, b"bad request\n"
        headers.append(("Content-Length", str(len(body))))
        start_response(f"{status} {_REASONS[status]}", headers)
        return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else body]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[bytes, list[tuple[str, str]]]:
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            raise RefusedRequest(405, "only GET")
        path = environ.get("PATH_INFO", "")
        query = urllib.parse.parse_qs(
            environ.get("QUERY_STRING", ""), keep_blank_values=True, max_num_fields=8
        )
        _check_site(environ, is_page=path == "/")
        self._check_token(environ, query)
        if path == "/":
            cookie = f"{_COOKIE}={self._session}; Path=/; HttpOnly; SameSite=Strict"
            html = [("Content-Type", "text/html; charset=utf-8")]
            return self._page, [*html, *([("Set-Cookie", cookie)] if self._token else [])]
        if path != "/newest":
            raise RefusedRequest(404, "there is no such page")
        after = query.get("after", ["0"])[0]
        number = int(after) if re.fullmatch("[0-9]{1,15}", after) else 0
        found = self._newest(number)
        if found is None:
            return b"", []
        number, jpeg, figures = found
        shown = [("X-Number", str(number)), ("X-Figures", figures)]
        return jpeg, [("Content-Type", "image/jpeg"), *shown]

    def _check_token(self, environ: Mapping[str, Any], query: Mapping[str, list[str]]) -> None:
        if self._token is None:
            # A page elsewhere may give its own name the address 127.0.0.1.
            host = environ.get("HTTP_HOST", "")
            if not is_own((host.rpartition(":")[0] or host).strip("[]")) and not is_own(host):
                raise RefusedRequest(403, "ask for 127.0.0.1")
            return
        address = environ.get("REMOTE_ADDR", "")
        wait = 0.0 if self._has_cookie(environ) else self._attempts.wait(address)
        if wait:
            raise RefusedRequest(429, "too many wrong tokens; try again later", wait)
        bearer = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ").encode("latin-1")
        given = query["token"][0].encode("utf-8", "replace") if "token" in query else bearer
        if not hmac.compare_digest(given, self._token):
            self._attempts.wrong(address)
            raise RefusedRequest(403, "token missing or wrong")
        self._attempts.right(address)

    def _has_cookie(self, environ: Mapping[str, Any]) -> bool:
        wanted = f"{_COOKIE}={self._session}".encode()
        given = environ.get("HTTP_COOKIE", "").encode("latin-1").split(b";")
        return any(hmac.compare_digest(one.strip(), wanted) for one in given)

    def _common_headers(self) -> list[tuple[str, str]]:
        return [
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", self._policy),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
        ]


def content_policy(page: str) -> str:
    """Return a policy that allows the page's own script and style, by their hashes, and no other.

    https://www.w3.org/TR/CSP3/ (hash-source), also for frame-ancestors.
    """
    hashes = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        )
        for tag in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "img-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _check_site(environ: Mapping[str, Any], *, is_page: bool) -> None:
    """Refuse requests that a page of another site makes; a link to the page itself is fine."""
    site = environ.get("HTTP_SEC_FETCH_SITE", "none")
    link = environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
    whole = environ.get("HTTP_SEC_FETCH_DEST") == "document"
    if site not in {"same-origin", "none"} and not (is_page and link and whole):
        raise RefusedRequest(403, "not from another site")


def _trust(environ: Mapping[str, Any]) -> None:
    """Let the connection stay open for more requests: waitress hands out a method of it."""
    channel = getattr(environ.get("waitress.client_disconnected"), "__self__", None)
    if channel is not None:
        channel.trusted = True


def _network(address: str) -> str:
    """Return the network whose addresses one person has: all of IPv4's, /64 of IPv6's."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
