"""A small server of the page: on this machine alone, or with a certificate on a network."""

from __future__ import annotations

import functools
import http.server
import ssl
import urllib.parse
from pathlib import Path
from typing import Any

from ..camera.preview_token import is_own
from ..errors import LmedgeError

_TYPES = {
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".tflite": "application/octet-stream",
    ".json": "application/json",
}
_HEADERS = {
    "Cache-Control": "no-cache",  # the page asks again, and gets 304 if nothing changed
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    # Browsers allow threads only to a page that is isolated from other origins.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Answer GET and HEAD for the files of the folder, and list no folder."""

    protocol_version = "HTTP/1.1"
    server_version = "lmedge"
    sys_version = ""
    timeout = 60
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, **_TYPES}  # noqa: RUF012

    def __init__(self, *arguments: Any, only_own: bool, **named: Any) -> None:
        self._only_own = only_own
        super().__init__(*arguments, **named)

    def send_head(self) -> Any:
        """Refuse names that are not this machine's own: they may point here by DNS rebinding."""
        host = urllib.parse.urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        if self._only_own and not is_own(host):
            self.send_error(403, "ask for 127.0.0.1 or localhost")
            return None
        return super().send_head()

    def list_directory(self, path: Any) -> None:
        """Answer as for a missing file."""
        self.send_error(404)

    def end_headers(self) -> None:
        """Add the headers of every answer."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""


class AppServer(http.server.ThreadingHTTPServer):
    """Serve a folder. `url` is its address."""

    daemon_threads = True

    def __init__(
        self, folder: Path, host: str, port: int, cert: Path | None = None, key: Path | None = None
    ) -> None:
        """Listen at once; `serve_forever` answers.

        Args:
            folder: The folder that `write_app` wrote.
            host: Address to listen on; any but this machine's own needs a certificate.
            port: Port to listen on; 0 takes a free one.
            cert: Certificate chain in PEM.
            key: Its private key in PEM; None if it is in `cert`.

        Raises:
            LmedgeError: The address is in use or needs a certificate, or that cannot be used.
        """
        if cert is None and not is_own(host):
            raise LmedgeError(
                f"--serve {host}:{port}: browsers open a camera only with https; add --cert and "
                "--key, or use 127.0.0.1"
            )
        context = None if cert is None else _context(cert, key)
        handler = functools.partial(_Handler, directory=str(folder), only_own=is_own(host))
        self.address_family = _family(host)
        try:
            super().__init__((host, port), handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise LmedgeError(
                f"--serve {host}:{port}: cannot listen there ({reason}); choose another port"
            ) from error
        self._context = context
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http{'' if cert is None else 's'}://{shown}:{self.server_port}/"

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer a request, behind TLS if there is a certificate; here in a thread of its own."""
        if self._context is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(_Handler.timeout)
        with self._context.wrap_socket(request, server_side=True) as private:
            super().finish_request(private, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that went away or refused the certificate."""


def _family(host: str) -> Any:
    import socket

    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _context(cert: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, password="")  # a locked key is refused, not asked for
    except (OSError, ssl.SSLError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LmedgeError(
            f"{cert}: the certificate or its key cannot be used ({reason}); pass both in PEM, "
            "the key without a passphrase"
        ) from error
    return context
