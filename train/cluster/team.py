"""The workers of a training at work: they exchange arrays, and end together if one is lost.

TensorFlow waits for a lost worker in a call that no signal ends. So a thread watches the
connections, and ends the process if the main thread does not come back.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence

from lmedge.errors import DeviceError, LmedgeError, WorkerLostError, WorkersDifferError
from lmedge.harmless import print_error

from ..options import Cluster
from .meeting import from_peer, meet
from .signals import Signals
from .wire import Message, WorkerLink

BEAT = 1.0  # seconds between signs of life
SILENCE = 20.0  # seconds without one after which a worker is lost
_TICK = 0.2  # seconds between looks
_GRACE = 0.8  # seconds for the main thread to end by itself; then it is interrupted
_FORCE = 0.5  # seconds more; then the process ends
_SENTENCE = 2000  # characters of a line for the others
_current: Team | None = None
_Verdict = tuple[BaseException, int]  # why this process ends, and its exit code


class Team:
    """The workers of one training, as one of them sees them.

    Attributes:
        cluster: who they are.
        at: where this worker is, for the message of the others if it is lost.
        begun: returns true if there is something that --resume can go on with.
        cleanups: called if the process has to be ended without its main thread.
    """

    def __init__(self, cluster: Cluster, connections: dict[int, WorkerLink]) -> None:
        self.cluster = cluster
        self.at = "its start"
        self.begun: Callable[[], bool] = lambda: False
        self._has_begun = False
        self.cleanups: list[Callable[[], object]] = []
        self._connections = connections
        self._heard: dict[int, str] = {}  # where the others are
        self._left: set[int] = set()  # who has said so
        self._changed = threading.Condition()
        self._arrived: dict[tuple[int, int], bytes] = {}  # by exchange and worker
        self._exchanges = 0
        self._verdict: _Verdict | None = None
        self._closed = threading.Event()  # the main thread ends by itself
        for number in connections:
            threading.Thread(target=self._read, args=(number,), daemon=True).start()

    @property
    def number(self) -> int:
        """The number of this worker, from 0, the chief."""
        return self.cluster.number

    @property
    def size(self) -> int:
        """The number of workers."""
        return self.cluster.size

    def exchange(self, payload: bytes, join: Callable[[Sequence[bytes]], bytes]) -> bytes:
        """Return what the chief's `join` makes of the bytes of all workers, in their order.

        All workers must call it in the same order.

        Raises:
            LmedgeError: Another worker was lost, or ended.
        """
        self._exchanges += 1
        step = self._exchanges
        if not self.cluster.chief:
            self._send(0, Message(kind="part", about={"step": step}, payload=payload))
            return self._await(step, 0)
        others = [self._await(step, number) for number in range(1, self.size)]
        whole = join([payload, *others])
        for number in self._connections:
            self._send(number, Message(kind="part", about={"step": step}, payload=whole))
        return whole

    def _await(self, step: int, number: int) -> bytes:
        with self._changed:
            while (step, number) not in self._arrived:
                if self._verdict is not None:
                    raise self._verdict[0]
                if number in self._left:
                    raise WorkerLostError(f"{self.cluster.name(number)} has ended already")
                self._changed.wait(_TICK)  # short: signals are handled between two waits
            return self._arrived.pop((step, number))

    def _send(self, number: int, message: Message) -> None:
        try:
            self._connections[number].send(message)
        except OSError as error:  # the thread that reads knows more
            raise self.reason(error)[0] from error

    def _read(self, number: int) -> None:
        """Take the messages of one worker until the connection ends."""
        try:
            while True:
                self._take(number, self._connections[number].receive())
        except (OSError, ValueError, KeyError):
            if number not in self._left:
                self._lose(number, "its connection ended")

    def _take(self, number: int, message: Message) -> None:
        if message.kind == "beat":
            self._heard[number] = str(message.about["at"])
        elif message.kind == "part":
            with self._changed:
                self._arrived[int(message.about["step"]), number] = message.payload
                self._changed.notify_all()
        elif message.kind in {"done", "failed"}:
            self._left.add(number)
            if message.kind == "failed":
                error = from_peer(message.about)
                self.end(error, error.exit_code)

    def watch(self, signals: Signals) -> None:
        """Give signs of life, and look for those of the others and for signals, in a thread."""
        threading.Thread(target=self._watch, args=(signals,), daemon=True).start()

    def _watch(self, signals: Signals) -> None:
        beaten, looked = 0.0, time.monotonic()
        while not self._closed.wait(_TICK):
            now = time.monotonic()
            if now - looked > SILENCE / 2:  # it slept, and what came meanwhile is not read yet
                for connection in self._connections.values():
                    connection.heard = now
            looked = now
            if (number := signals.came()) is not None:
                self.end(*by_signal(number))
            if now - beaten >= BEAT:
                beaten = now
                self._has_begun = self._has_begun or self.begun()
                self._tell(Message(kind="beat", about={"at": self.at}))
            for other, connection in self._connections.items():
                if other not in self._left and now - connection.heard > SILENCE:
                    self._lose(other, f"nothing was heard of it for {SILENCE:.0f} s")

    def _tell(self, message: Message) -> None:
        for number, connection in self._connections.items():
            if number not in self._left:
                with contextlib.suppress(OSError):  # the thread that reads finds out
                    connection.send_if_free(message)

    def _lose(self, number: int, reason: str) -> None:
        where = self._heard.get(number, "its start")
        name = self.cluster.name(number)
        error = WorkerLostError(f"{name} was lost at {where}: {reason}; {self._action}")
        self.end(error, error.exit_code)

    @property
    def _action(self) -> str:
        return "start all again with --resume" if self._has_begun else "start all again"

    def end(self, error: BaseException, code: int) -> None:
        """End this process for the first reason that comes, and tell it to the others."""
        with self._changed:
            if self._verdict is not None or self._closed.is_set():
                return
            self._verdict = error, code
            self._changed.notify_all()
        threading.Thread(target=self._insist, daemon=True).start()
        self._tell_reason(error)

    def _insist(self) -> None:
        """See that the process ends, whatever its main thread waits for."""
        if self._closed.wait(_GRACE):
            return
        _thread.interrupt_main()
        if self._closed.wait(_FORCE) or self._verdict is None:
            return
        for cleanup in self.cleanups:
            with contextlib.suppress(Exception):
                cleanup()
        leave(*self._verdict)

    def _tell_reason(self, error: BaseException) -> None:
        """Tell the others why this worker ends."""
        line = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, WorkerLostError | WorkersDifferError):
            name = self.cluster.name(self.number)
            line = f"{name} ended at {self.at}: {line}; {self._action}"
        about = {"line": line[:_SENTENCE], "code": getattr(error, "exit_code", 1)}
        self._tell(Message(kind="failed", about=about))

    def reason(self, error: BaseException) -> _Verdict:
        """Return why this worker ends, `error` or what is behind it, and the exit code.

        TensorFlow's error about a lost worker comes before or after this module knows of it.
        """
        foreign = type(error).__module__.startswith("tensorflow")
        until = time.monotonic() + (SILENCE + 5 if foreign or isinstance(error, OSError) else 0)
        with self._changed:
            while self._verdict is None and time.monotonic() < until:
                self._changed.wait(_TICK)
        if self._verdict is not None:
            return self._verdict
        if foreign:
            line = str(error).partition("\n")[0]
            error = DeviceError(f"TensorFlow ended at {self.at}: {line}; {self._action}")
        if isinstance(error, KeyboardInterrupt | SystemExit):
            number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
            return by_signal(number)
        return error, error.exit_code if isinstance(error, LmedgeError) else 1

    def finish(self) -> None:
        """Tell the others that this worker has done its part."""
        self._closed.set()
        for connection in self._connections.values():
            with contextlib.suppress(OSError):
                connection.send(Message(kind="done"))
            connection.close()

    def fail(self, error: BaseException) -> _Verdict:
        """Tell the others that this worker ends; return why, and the exit code."""
        verdict = self.reason(error)
        self._closed.set()
        if self._verdict is None:
            self._tell_reason(verdict[0])
        return verdict


def by_signal(number: signal.Signals) -> _Verdict:
    """Return why a worker ends that a signal ends, and the exit code."""
    return LmedgeError(f"ended by {number.name}"), 128 + number


def team() -> Team | None:
    """Return the workers of the training of this process, None for a process on its own."""
    return _current


def note(at: str) -> None:
    """Keep where this worker is, for the others if it is lost."""
    if _current is not None:
        _current.at = at


@contextlib.contextmanager
def joined(cluster: Cluster | None) -> Iterator[Signals | None]:
    """Meet the other workers, and be one of them in the block; None stays on its own.

    An error in the block ends the process with its line: TensorFlow's own end would wait for
    workers that are lost.
    """
    global _current  # one training a process
    if cluster is None:
        yield None
        return
    with Signals() as signals:
        _current = Team(cluster, meet(cluster))
        _current.watch(signals)
        try:
            yield signals
        except ImportError as error:  # the command line has a line for a missing package
            _current.fail(error)
            raise
        except BaseException as error:
            leave(*_current.fail(error))
        else:
            _current.finish()
        finally:
            _current = None


def leave(error: BaseException, code: int) -> None:
    """End the process at once with the line of an error."""
    if isinstance(error, LmedgeError):
        print_error(error)
    elif isinstance(error, OSError):
        print_error(f"cannot go on: {error}")
    else:
        traceback.print_exception(error)
    with contextlib.suppress(Exception):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
