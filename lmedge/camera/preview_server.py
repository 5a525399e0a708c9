"""The server of the preview: limits of requests, connections and time, on waitress.

A thread of its own reads and writes; eight more answer. The camera's loop shares the interpreter
with them, so that the number of requests a second is bounded, whoever sends them. Nobody can keep
others out: a new connection takes the place of the oldest one of the address with the most.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import LmedgeError, MissingDependencyError

BODY_BYTES = 1024
HEADER_BYTES = 8192
CONNECTIONS = 64
FIRST_SECONDS = 5.0  # for a whole request, from its first byte or from the connection on
IDLE_SECONDS = 30.0  # between two requests of a browser
_WORKERS = 8  # requests answered at once; each is short, the page asks again
_TICK = 0.01  # seconds between two looks at the sockets; each accepts one connection
_PART_PAUSE = 0.25  # seconds between two parts of an unfinished request
_REQUESTS = 80.0  # a second, of all browsers together


class PreviewServer:
    """A WSGI application on an address, served by threads until it is closed."""

    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        host: str,
        port: int,
        body_bytes: int = BODY_BYTES,
    ) -> None:
        """Listen at once; port 0 takes a free one, and a body has at most `body_bytes`.

        Raises:
            OSError: The address is in use, or not of this machine.
            ValueError: There is no such address.
            MissingDependencyError: waitress is not installed.
        """
        create, self._loop, channel = _waitress()
        self._sockets: dict[int, Any] = {}
        self._closing = threading.Event()
        try:
            self._server = create(
                application,
                map=self._sockets,
                host=host,
                port=port,
                threads=_WORKERS,
                ident=None,
                connection_limit=4 * CONNECTIONS,  # below it, room is made
                max_request_body_size=body_bytes,
                max_request_header_size=HEADER_BYTES,
                channel_timeout=int(IDLE_SECONDS),
                log_socket_errors=False,
            )
        except (OSError, ValueError):
            self._loop.close_all(self._sockets)
            raise
        for listener in list(self._sockets.values()):
            if hasattr(listener, "channel_class"):  # a name may have several addresses
                listener.channel_class = channel
        self.port = int(self._server.effective_port)
        self._thread = threading.Thread(target=self._serve, name="preview", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self._closing.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._closing.is_set():
            self._loop.loop(timeout=0.05, use_poll=True, map=self._sockets, count=1)
            now = time.monotonic()
            for one in self._channels():
                if one.is_overdue(now):
                    one.handle_close()
            make_room(self._channels())
            self._closing.wait(_TICK)
        self._server.task_dispatcher.shutdown()
        self._loop.close_all(self._sockets, ignore_all=True)

    def _channels(self) -> list[Any]:
        return [one for one in list(self._sockets.values()) if hasattr(one, "is_overdue")]


def open_server(
    application: Callable[..., Iterable[bytes]],
    host: str,
    port: int,
    *,
    option: str,
    body_bytes: int = BODY_BYTES,
) -> PreviewServer:
    """Serve an application; `option` is named in errors.

    Raises:
        LmedgeError: The address is in use, or not of this machine.
        MissingDependencyError: waitress is not installed.
    """
    try:
        return PreviewServer(application, host, port, body_bytes)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LmedgeError(
            f"{option} {host}:{port}: cannot listen there ({reason}); choose another port"
        ) from error


def make_room(channels: list[Any]) -> None:
    """Close connections beyond CONNECTIONS: the oldest of the address that has the most.

    Those of browsers that have been let in stay as long as there are others.
    """
    while len(channels) > CONNECTIONS:
        strangers = [one for one in channels if not one.trusted] or channels
        counts = collections.Counter(one.addr[0] for one in strangers)
        most = counts.most_common(1)[0][0]
        oldest = min((one for one in strangers if one.addr[0] == most), key=lambda one: one.opened)
        channels.remove(oldest)
        oldest.handle_close()


def _waitress() -> tuple[Any, Any, Any]:
    """Return waitress's `create_server`, its loop, and our kind of connection."""
    try:
        import waitress.wasyncore
        from waitress.channel import HTTPChannel
    except ImportError as error:
        raise MissingDependencyError(
            f"a page for browsers needs {error.name}: run `pip install 'lmedge[camera]'`"
        ) from error
    # It logs slow moments, and requests that are no HTTP with a traceback.
    logging.getLogger("waitress").setLevel(logging.CRITICAL)

    class TimedChannel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
        """A connection that is let in for one request, and longer if that was answered."""

        trusted = False

        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.opened = time.monotonic()
            self._begun: float | None = self.opened  # of a request that is not whole yet
            self._next = 0.0  # time before which nothing is read
            super().__init__(*arguments, **options)

        def readable(self) -> bool:
            return time.monotonic() >= self._next and bool(super().readable())

        def received(self, data: bytes) -> Any:
            result, now = super().received(data), time.monotonic()
            if self.request is None:  # whole
                self._begun = None
                self._next = now + len(self.server.active_channels) / _REQUESTS
            else:
                self._begun = now if self._begun is None else self._begun
                self._next = now + _PART_PAUSE
            return result

        def service(self) -> None:
            super().service()
            if not self.trusted:
                self.close_when_flushed = True
                with contextlib.suppress(OSError):  # the server has been closed meanwhile
                    self.server.pull_trigger()

        def is_overdue(self, now: float) -> bool:
            return self._begun is not None and now - self._begun > FIRST_SECONDS

    return waitress.create_server, waitress.wasyncore, TimedChannel
