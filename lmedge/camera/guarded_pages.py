"""WSGI applications for one person's browser: who may see them, and the headers of each answer."""

from __future__ import annotations

import base64
import collections
import dataclasses
import hashlib
import hmac
import ipaddress
import re
import secrets
import threading
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from .preview_token import is_own

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
    409: "Conflict",
    429: "Too Many Requests",
    500: "Internal Server Error",
}
Headers = list[tuple[str, str]]


class RefusedRequest(Exception):  # noqa: N818  (it is an answer, not an error of ours)
    """An answer that is no page: its status, its line, and the seconds to wait."""

    def __init__(self, status: int, line: str, wait: float = 0.0) -> None:
        """Take the status, one line of text, and the seconds after which to ask again."""
        super().__init__(line)
        self.status, self.line, self.wait = status, line, wait


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageRequest:
    """A request that was let in.

    Attributes:
        method: GET, HEAD or POST.
        path: The path, decoded.
        query: The values by their names.
        body: The bytes of a POST.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    body: bytes = b""

    def value(self, name: str, default: str = "") -> str:
        """Return the first value of a name in the query."""
        return self.query.get(name, [default])[0]


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


class GuardedPages:
    """The base of an application: `answer` is called for requests that were let in."""

    methods = frozenset({"GET", "HEAD"})
    page_path = "/"  # the one address that a link elsewhere may lead to

    def __init__(self, token: str | None, policy: str) -> None:
        """Take the token, None on loopback alone, and the Content-Security-Policy."""
        self._token = None if token is None else token.encode()
        self._session = secrets.token_urlsafe(24)  # shows that a browser has had the token
        self._attempts = Attempts()
        self._policy = policy

    def answer(self, request: PageRequest) -> tuple[bytes, Headers]:
        """Return body and headers of an answer, without a body one of status 204.

        Raises:
            RefusedRequest: The answer is another one.
        """
        raise NotImplementedError

    def __call__(self, environ: Mapping[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request; whatever it holds, the answer is a status and never a traceback."""
        headers = self._common_headers()
        try:
            body, more = self.answer(self._let_in(environ))
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

    def html(self, page: bytes) -> tuple[bytes, Headers]:
        """Return a page with the cookie that lets its browser in from now on."""
        cookie = f"{_COOKIE}={self._session}; Path=/; HttpOnly; SameSite=Strict"
        html = [("Content-Type", "text/html; charset=utf-8")]
        return page, [*html, *([("Set-Cookie", cookie)] if self._token else [])]

    def _let_in(self, environ: Mapping[str, Any]) -> PageRequest:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if method not in self.methods:
            raise RefusedRequest(405, f"only {' and '.join(sorted(self.methods - {'HEAD'}))}")
        query = urllib.parse.parse_qs(
            environ.get("QUERY_STRING", ""), keep_blank_values=True, max_num_fields=8
        )
        _check_site(environ, is_page=path == self.page_path, is_read=method != "POST")
        self._check_token(environ, query)
        body = environ["wsgi.input"].read() if method == "POST" else b""
        return PageRequest(method=method, path=path, query=query, body=body)

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

    def _common_headers(self) -> Headers:
        return [
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", self._policy),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
        ]


def content_policy(page: str, images: str = "blob:") -> str:
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
        f"default-src 'none'; script-src {hashes['script'] or NOTHING}; "
        f"style-src {hashes['style'] or NOTHING}; img-src {images}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


NOTHING = "'none'"


def _check_site(environ: Mapping[str, Any], *, is_page: bool, is_read: bool) -> None:
    """Refuse requests that a page of another site makes; a link to the page itself is fine.

    What changes something needs a browser that tells where it comes from, or no browser at all.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE", "none")
    link = environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
    whole = environ.get("HTTP_SEC_FETCH_DEST") == "document"
    if site not in {"same-origin", "none"} and not (is_page and is_read and link and whole):
        raise RefusedRequest(403, "not from another site")
    origin = environ.get("HTTP_ORIGIN")
    if not is_read and origin is not None and origin != f"http://{environ.get('HTTP_HOST')}":
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
