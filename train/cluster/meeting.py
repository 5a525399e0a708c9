"""The meeting of the workers, before TensorFlow is imported.

The chief listens at its address of TF_CONFIG until all others have come. Then nothing listens there
any more, and TensorFlow's own server takes the port. The connections stay: over them the workers
compare what they train on, exchange arrays, and notice when one of them is lost.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator, Mapping

from lmedge.errors import DeviceError, LmedgeError, WorkerLostError, WorkersDifferError

from ..options import Cluster
from .wire import Message, WorkerLink

PROTOCOL = 1  # raised with every change of the messages
HELLO_SECONDS = 5.0  # for the first message of a connection
PERIOD = 10.0  # seconds between lines of a worker that waits
_TICK = 0.2  # seconds between attempts
_ALIVE = 20.0  # seconds that the chief may be silent; it writes a line each second
logger = logging.getLogger(__name__)


def meet(cluster: Cluster) -> dict[int, WorkerLink]:
    """Wait for the other workers and return the connections to them, by their numbers.

    The chief has one to each other worker, and each other worker one to the chief.

    Raises:
        DeviceError: The own port is in use, or two workers have one number.
        WorkerLostError: The others did not come in time.
        WorkersDifferError: Another worker has other addresses or another protocol.
    """
    if cluster.chief:
        with _listening(cluster) as server:
            return _Reception(cluster, server).wait()
    with _listening(cluster):  # in use is known now, not when TensorFlow needs it
        pass
    return {0: _join(cluster)}


@contextlib.contextmanager
def _listening(cluster: Cluster) -> Iterator[socket.socket]:
    """Listen at the own port, on loopback alone if the address is there."""
    host, port = cluster.place(cluster.number)
    six = socket.has_dualstack_ipv6() and ":" in host
    try:
        with socket.create_server(
            (host if _is_loopback(host) else "", port),
            family=socket.AF_INET6 if six else socket.AF_INET,
            dualstack_ipv6=six,
            backlog=128,
        ) as server:
            server.settimeout(_TICK)
            yield server
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            action = "give this worker a port above 1023 in TF_CONFIG"
            raise DeviceError(
                f"port {port} of TF_CONFIG: {error.strerror or error}; {action}"
            ) from error
        raise DeviceError(
            f"port {port} of TF_CONFIG is in use on this machine; end the process that has it, or "
            "give this worker another port on all machines"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hello(cluster: Cluster) -> Message:
    about = {
        "protocol": PROTOCOL,
        "worker": cluster.number,
        "addresses": list(cluster.addresses),
    }
    return Message(kind="hello", about=about)


class _Waiting:
    """Lines about whom a worker waits for, and the end of its patience."""

    def __init__(self, cluster: Cluster) -> None:
        self._limit = cluster.wait
        self._began = time.monotonic()
        self._next = 1.0

    def check(self, whom: str, reason: str = "") -> None:
        """Log who is missing now and then; raise WorkerLostError after the limit."""
        waited, why = time.monotonic() - self._began, f" ({reason})" if reason else ""
        if waited >= self._limit:
            raise WorkerLostError(
                f"{whom} did not come within {self._limit:.0f} s{why}; start it with the same "
                "command, check the addresses of TF_CONFIG, or wait longer with "
                "--wait-for-workers"
            )
        if waited >= self._next:
            self._next = waited - waited % PERIOD + PERIOD
            logger.info(
                "waiting for %s, for %.0f s of at most %.0f%s", whom, waited, self._limit, why
            )


class _Reception:
    """The chief's side: it welcomes each worker once."""

    def __init__(self, cluster: Cluster, server: socket.socket) -> None:
        self._cluster, self._server = cluster, server
        self._came: queue.Queue[tuple[WorkerLink, Message]] = queue.Queue()
        self._there: dict[int, WorkerLink] = {}

    def wait(self) -> dict[int, WorkerLink]:
        """Return the connections once all are there."""
        waiting = _Waiting(self._cluster)
        try:
            while missing := self._missing():
                waiting.check(missing)
                self._accept()
                self._tell(Message(kind="waiting", about={"for": missing}))
            self._tell(Message(kind="all", about={}))
        except BaseException as error:
            self._tell(Message(kind="failed", about={"line": _line(error), "code": _code(error)}))
            for connection in self._there.values():
                connection.close()
            raise
        return self._there

    def _missing(self) -> str:
        names = [
            self._cluster.name(number)
            for number in range(1, self._cluster.size)
            if number not in self._there
        ]
        return " and ".join(names)

    def _accept(self) -> None:
        """Take who knocks; others may knock while one says nothing."""
        with contextlib.suppress(TimeoutError):
            link, _ = self._server.accept()
            link.settimeout(HELLO_SECONDS)
            threading.Thread(target=self._greet, args=(WorkerLink(link),), daemon=True).start()
        with contextlib.suppress(queue.Empty):
            while True:
                self._welcome(*self._came.get_nowait())

    def _greet(self, connection: WorkerLink) -> None:
        try:
            self._came.put((connection, connection.receive(HELLO_SECONDS)))
        except (OSError, ValueError):  # no worker of ours
            connection.close()

    def _welcome(self, connection: WorkerLink, hello: Message) -> None:
        number, about = hello.about.get("worker"), hello.about
        if hello.kind != "hello" or not isinstance(number, int) or isinstance(number, bool):
            connection.close()
            return
        if about.get("protocol") != PROTOCOL or about.get("addresses") != list(
            self._cluster.addresses
        ):
            what = (
                "addresses in TF_CONFIG"
                if about.get("protocol") == PROTOCOL
                else "version of lmedge"
            )
            error: LmedgeError = WorkersDifferError(
                f"worker {number + 1} has another {what} than worker 1, the chief; give all the "
                "same"
            )
            _refuse(connection, error)
            raise error
        if not 0 < number < self._cluster.size or number in self._there:
            error = DeviceError(
                f"two processes are {self._cluster.name(number % self._cluster.size)}; give each "
                "its own index in TF_CONFIG, and end those of an earlier training"
            )
            _refuse(connection, error)
            raise error
        self._there[number] = connection

    def _tell(self, message: Message) -> None:
        """Write to all who are there; who has left is missing again."""
        for number, connection in list(self._there.items()):
            try:
                connection.send_if_free(message)
            except OSError:
                connection.close()
                del self._there[number]


def _refuse(connection: WorkerLink, error: LmedgeError) -> None:
    with contextlib.suppress(OSError):
        connection.send(Message(kind="failed", about={"line": str(error), "code": error.exit_code}))
    connection.close()


def _line(error: BaseException) -> str:
    return str(error) if isinstance(error, LmedgeError) else "it was ended"


def _code(error: BaseException) -> int:
    return error.exit_code if isinstance(error, LmedgeError) else 1


def _join(cluster: Cluster) -> WorkerLink:
    """Connect to the chief and wait until it has all workers."""
    waiting = _Waiting(cluster)
    chief, reason = cluster.name(0), ""
    while True:
        waiting.check(chief, reason)
        try:
            link = socket.create_connection(cluster.place(0), timeout=HELLO_SECONDS)
        except OSError as error:
            reason = (error.strerror or str(error) or "no answer").lower()
            time.sleep(_TICK)
            continue
        connection = WorkerLink(link)
        try:
            if _is_own(link):  # a port of loopback that nobody listens on may connect to itself
                raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            connection.send(_hello(cluster))
            _wait_for_all(connection, waiting)
            return connection
        except (OSError, ValueError) as error:
            connection.close()
            reason = "what answers there is no chief of this version of lmedge"
            if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
                reason = str(error.strerror).lower()
            time.sleep(_TICK)
        except BaseException:
            connection.close()
            raise


def _is_own(link: socket.socket) -> bool:
    return bool(link.getsockname() == link.getpeername())


def _wait_for_all(connection: WorkerLink, waiting: _Waiting) -> None:
    """Return when the chief has all workers. Raises OSError or ValueError if it is none."""
    missing = "the other workers"
    while True:
        message = connection.receive(_ALIVE)
        if message.kind == "all":
            return
        if message.kind == "failed":
            raise from_peer(message.about)
        if message.kind != "waiting":
            raise ValueError("not a chief")
        missing = str(message.about.get("for", missing))
        waiting.check(missing)


def from_peer(about: Mapping[str, object]) -> LmedgeError:
    """Return the error that another worker ended with, as this worker ends with it."""
    line, code = str(about.get("line", "")), about.get("code")
    kinds = {kind.exit_code: kind for kind in (WorkersDifferError, WorkerLostError)}
    kind = kinds.get(code, WorkerLostError) if isinstance(code, int) else WorkerLostError
    return kind(line)
