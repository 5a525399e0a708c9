"""Addresses of streams, as users write them, and as messages may show them.

A password may contain any letter, also those that separate the parts of an address. It is then
found by what follows the last `@`, if that can be a host.
"""

from __future__ import annotations

import dataclasses
import re
import urllib.parse

HIDDEN = "***"
# A host that may be followed by a port, then by the end, a path, a query or a fragment.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s/?#@:\[\]]+)(:\d*)?(?=[/?#]|$)")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(://)(.*)", re.DOTALL)
_ALMOST = re.compile(r"(https?|rtsps?|rtmp)(:/?/?/?)(.*)", re.DOTALL | re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamAddress:
    """The parts of an address.

    Attributes:
        scheme: http, https, rtsp ...
        user: Name to log in with, decoded; None without one.
        password: Its password, decoded; None without one.
        host: Host, and port if there is one, as written.
        rest: Path, query and fragment, as written.
    """

    scheme: str
    user: str | None = dataclasses.field(default=None, repr=False)
    password: str | None = dataclasses.field(default=None, repr=False)
    host: str
    rest: str = dataclasses.field(default="", repr=False)

    @property
    def plain(self) -> str:
        """The address without user and password, with its query: not for messages."""
        return f"{self.scheme}://{self.host}{self.rest}"

    @property
    def quoted(self) -> str:
        """The whole address with user and password in percent-encoding: not for messages."""
        if self.user is None:
            return self.plain
        parts = [self.user] if self.password is None else [self.user, self.password]
        login = ":".join(urllib.parse.quote(part, safe="") for part in parts)
        return f"{self.scheme}://{login}@{self.host}{self.rest}"

    @property
    def secret(self) -> bool:
        """True if the address contains what messages must not show."""
        return self.quoted != self.shown

    @property
    def certain(self) -> bool:
        """False if the host may be a part of a login, a password with separators for example."""
        if not _HOST.fullmatch(self.host):
            return False
        return "@" not in self.rest or (self.user is None and ":" not in self.host)

    @property
    def shown(self) -> str:
        """The address as messages show it: no user, password, query or key=value in the path."""
        if not self.certain:
            return f"{self.scheme}://{HIDDEN}"
        path, mark, _ = re.sub("[?#]", "?", self.rest, count=1).partition("?")
        path = f"/{HIDDEN}" if "@" in path else re.sub(r"[^/]*[=&;][^/]*", HIDDEN, path)
        return f"{self.scheme}://{self.host}{path}{mark and mark + HIDDEN}"


def parse(text: str) -> StreamAddress | None:
    """Return the parts of `text`, None if it is no address."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    scheme, rest = match[1].lower(), match[3]
    head = re.split("[/?#]", rest, maxsplit=1)[0]
    at = _last_before_host(rest, 0, len(head))
    if at < 0 and not _HOST.fullmatch(head):
        at = _last_before_host(rest, len(head), len(rest))
    login, after = (None, rest) if at < 0 else (rest[:at], rest[at + 1 :])
    found = _HOST.match(after)
    host = found[0] if found else re.split("[/?#]", after, maxsplit=1)[0]
    if login is None:
        return StreamAddress(scheme=scheme, host=host, rest=after[len(host) :])
    user, colon, password = login.partition(":")
    return StreamAddress(
        scheme=scheme,
        user=urllib.parse.unquote(user),
        password=urllib.parse.unquote(password) if colon else None,
        host=host,
        rest=after[len(host) :],
    )


def without_secrets(text: str) -> str:
    """Return a source as messages show it: an address without secrets, anything else as it is.

    A text that is almost an address, such as `rtsp:/user:password@host`, is shown in part.
    """
    address = parse(text)
    if address is not None:
        return address.shown
    match = _ALMOST.fullmatch(text)
    return f"{match[1]}{match[2]}{HIDDEN}" if match else text


def _last_before_host(text: str, start: int, end: int) -> int:
    """Return the place of the last `@` from `start` to `end` that a host follows, -1 if none."""
    at = text.rfind("@", start, end)
    while at >= 0 and not _HOST.match(text, at + 1):
        at = text.rfind("@", start, at)
    return at
