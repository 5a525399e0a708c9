"""`--on-change`: a program that is started when the label changes, never through a shell."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence

import click

from ..errors import LmedgeError
from .frames import Absence
from .label_state import LabelFollower, LabelState
from .mqtt_address import PASSWORD_VARIABLE
from .preview_token import TOKEN_VARIABLE
from .sinks import FrameResult

LONGEST = 60.0  # seconds of one start; then the program is ended
AT_THE_END = 5.0  # seconds that the end of the loop waits for the last start
_SECRETS = {TOKEN_VARIABLE, PASSWORD_VARIABLE}
_log = logging.getLogger(__name__)


class Words(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """A command line as words, split as a shell would, without one."""

    name = "COMMAND"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the words, at least one."""
        if isinstance(value, tuple):
            return value
        try:
            words = tuple(shlex.split(str(value)))
        except ValueError as error:
            self.fail(f"{value!r} cannot be split into words ({error})", param, ctx)
        if not words:
            self.fail("name a program", param, ctx)
        try:
            return tuple(find_program(words))
        except LmedgeError as error:
            self.fail(str(error).removeprefix("--on-change: "), param, ctx)


def find_program(words: Sequence[str]) -> list[str]:
    """Return the words with the path of the program; raise LmedgeError if it cannot be run."""
    program = shutil.which(words[0])
    if program is None:
        raise LmedgeError(
            f"--on-change: {words[0]}: no program of this name can be run; give its whole path, "
            "and `chmod +x` it"
        )
    return [os.path.abspath(program), *words[1:]]  # noqa: PTH100  (links stay)


def variables(state: LabelState) -> dict[str, str]:
    """Return the environment variables of a state; docs/formats.md names them."""
    return {
        "LMEDGE_KNOWN": "1" if state.known else "0",
        "LMEDGE_LANDMARK": state.landmark,
        "LMEDGE_CATEGORY": state.category,
        "LMEDGE_PROBABILITY": f"{state.probability:.6f}" if state.known else "",
        "LMEDGE_LAST_LANDMARK": state.last_landmark,
        "LMEDGE_LAST_CATEGORY": state.last_category,
        "LMEDGE_IMAGE": state.name,
    }


class ChangeCommand:
    """Start a program for each change of the label, one at a time.

    A thread starts it and waits for it. If the label changes meanwhile, the newest label waits, and
    those in between are left out: the loop never waits, and the last start has the newest label.
    """

    goes_on = True

    def __init__(
        self,
        words: Sequence[str],
        *,
        longest: float = LONGEST,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Take the program with its arguments.

        Args:
            words: The program and its arguments.
            longest: Seconds after which a start that has not ended is killed.
            environment: What the program finds beside the label; None takes that of this process,
                without the secrets of lmedge.

        Raises:
            LmedgeError: There is no such program.
        """
        self._words = find_program(words)
        self._longest = longest
        found = os.environ if environment is None else environment
        self._environment = {key: value for key, value in found.items() if key not in _SECRETS}
        self._follower = LabelFollower()
        self._changed = threading.Condition()
        self._newest: LabelState | None = None
        self._closing = False
        self._process: subprocess.Popen[bytes] | None = None
        self._failed: str | None = None  # the last failure that was logged
        self._thread = threading.Thread(target=self._work, name="on-change", daemon=True)
        self._thread.start()

    def take(self, result: FrameResult) -> bool:
        """Leave the state for the thread if the label changed."""
        state = self._follower.update(result)
        if state is not None:
            with self._changed:
                self._newest = state
                self._changed.notify()
        return True

    def absent(self, absence: Absence) -> bool:
        """Do nothing: the label has not changed."""
        return True

    def close(self) -> None:
        """Wait a moment for the last start, and end what has not ended by then."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(AT_THE_END)
        if self._thread.is_alive() and (process := self._process) is not None:
            self._newest = None
            _kill(process)
            self._thread.join(AT_THE_END)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._closing)
                state, self._newest = self._newest, None
            if state is None:
                return
            self._report(self._run(state))

    def _run(self, state: LabelState) -> str | None:
        """Run the program to its end; return the failure, None without one."""
        try:
            process = subprocess.Popen(
                self._words,
                env={**self._environment, **variables(state)},
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output belongs to the JSON lines
                start_new_session=True,  # so that Ctrl-C ends the loop alone, and a kill all of it
            )
        except (OSError, ValueError) as error:
            return f"cannot be started ({getattr(error, 'strerror', None) or error})"
        self._process = process
        begun = time.monotonic()
        try:
            code = process.wait(self._longest)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.wait()
            return f"had not ended after {self._longest:g} s and was killed"
        finally:
            self._process = None
        _log.debug("%s: ended after %.2f s", self._words[0], time.monotonic() - begun)
        return None if code == 0 else f"ended with exit code {code}"

    def _report(self, failure: str | None) -> None:
        if failure is not None and failure != self._failed:
            _log.warning("--on-change: %s: %s; the labels go on", self._words[0], failure)
        self._failed = failure


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and what it has started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
