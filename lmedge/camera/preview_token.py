"""The token of the preview page: given by the environment or a file, otherwise made and kept."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import secrets
import sys
import urllib.parse
from pathlib import Path

from ..errors import LmedgeError
from ..files import cache_folder
from ..regular import read_regular
from ..text_files import decode_text

TOKEN_VARIABLE = "LMEDGE_TOKEN"
SHORTEST = 16  # characters of a token; made ones have 128 random bits
_LARGEST_FILE = 4096  # bytes
_log = logging.getLogger(__name__)


def is_own(host: str) -> bool:
    """Return True if `host` can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_token(token: str) -> str:
    """Return a token that is long enough and can stand in an address.

    Raises:
        LmedgeError: It is empty, too short, or has blanks or control characters.
    """
    if len(token) < SHORTEST or not token.isprintable() or " " in token:
        raise LmedgeError(
            f"the token of --preview needs {SHORTEST} characters or more, without blanks; leave it "
            "out and one is made"
        )
    return token


def find_token(
    host: str, given: str | None = None, file: Path | None = None, *, always: bool = False
) -> str | None:
    """Return the token for an address, None if it needs none and none is given.

    `given` goes first, then `file`, then the environment. Another address than loopback always has
    a token: it is made once and kept in the cache folder, so that links stay valid. With `always`,
    loopback has one too: other users of this machine can reach it.

    Raises:
        LmedgeError: The token is too short, or its file cannot be read or written.
    """
    if given is not None:
        _log.warning(
            "--token can be read by everybody on this machine; use %s or --token-file",
            TOKEN_VARIABLE,
        )
        return check_token(given)
    if file is not None:
        return _read(file)
    if TOKEN_VARIABLE in os.environ:
        return check_token(os.environ[TOKEN_VARIABLE])
    if is_own(host) and not always:
        return None
    kept = kept_token()
    return _read(kept) if kept.exists() else _make(kept)


def kept_token() -> Path:
    """Return the path of the token that lmedge made, if it made one."""
    return cache_folder() / "preview-token"


def shown_address(address: str, token: str | None) -> str:
    """Return an address for people: with its token on a terminal, never in a log."""
    if token is None:
        return address
    if sys.stderr.isatty():
        return f"{address}?token={urllib.parse.quote(token)}"
    where = f"{TOKEN_VARIABLE}, --token-file or {kept_token()}"
    return f"{address}?token=... (the token of {where})"


def _read(path: Path) -> str:
    try:
        data = read_regular(path, _LARGEST_FILE)
        mode = path.stat().st_mode
    except OSError as error:
        raise LmedgeError(
            f"{path}: the token cannot be read ({error.strerror}); check the path"
        ) from error
    if os.name == "posix" and mode & 0o077:
        _log.warning("%s: others can read the token; run chmod 600 on it", path)
    try:
        return check_token(decode_text(data).strip())
    except (LmedgeError, ValueError) as error:
        raise LmedgeError(
            f"{path}: holds no token of {SHORTEST} characters or more; write one, or remove the "
            "file and one is made"
        ) from error


def _make(path: Path) -> str:
    token = secrets.token_urlsafe(16)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "w", encoding="utf-8") as stream:
                stream.write(f"{token}\n")
    except OSError as error:
        raise LmedgeError(
            f"{path}: the token cannot be kept ({error.strerror}); set {TOKEN_VARIABLE}, or pass "
            "--token-file FILE"
        ) from error
    return _read(path)
