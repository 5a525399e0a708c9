"""Scripts and folders for another machine, by the system's ssh, rsync and scp.

All commands share one connection (OpenSSH's ControlMaster), so that a password is asked for once.
If it is lost, the next command opens another. Host keys are always checked.
"""

from __future__ import annotations

import contextlib
import logging
import random
import secrets
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from ..errors import HostError, MissingDependencyError
from ..harmless import harmless_lines
from .link import Link

T = TypeVar("T")
_log = logging.getLogger(__name__)
BUSY_SECONDS = 30.0  # for which a machine that takes no more log-ins is tried again
_MOST_OUTPUT = 16 << 20  # bytes of errors and the like
_MOST_ERRORS = 1 << 16
_LONGEST = 3600.0  # seconds of one command: copying photographs, or pip on a slow remote host
_LOST = 255  # what ssh itself exits with; the scripts below never do
_RSYNC_LOST = {10, 12, 30, 35, _LOST}  # rsync(1): socket, data stream, time-outs, ssh
_RSYNC_GONE = 24  # files that were listed have gone meanwhile
# Refusals that another attempt would meet again: words of ssh, and our message.
_REFUSALS = (
    (
        "HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one known here: it was set up anew, or somebody is in between; "
        "when you know that it is the former, `ssh-keygen -R` its name and `ssh` to it once",
    ),
    (
        "Host key verification failed",
        "its host key is not known here; `ssh` to it once and compare the fingerprint",
    ),
    ("Permission denied", "refused the log-in; `ssh` to it must work with this user and key"),
    ("Could not resolve", "no machine of that name is found; check the name"),
    ("Bad configuration option", "ssh does not know one of its options; check --ssh-option"),
)
# The server closes before it has named itself: sshd does so beyond MaxStartups log-ins at a time,
# which many boards behind one machine of ProxyJump reach.
_BUSY = ("kex_exchange_identification", "banner exchange")


class LostError(Exception):
    """The connection is lost; another attempt may succeed."""


class BusyError(LostError):
    """The machine closed the connection before a log-in; another attempt may succeed."""


class Connection:
    """Commands to one machine; a context manager that ends the shared connection."""

    def __init__(self, link: Link) -> None:
        """Look for ssh; the first command connects. Raises MissingDependencyError without ssh."""
        if shutil.which("ssh") is None:
            raise MissingDependencyError("ssh is not installed: sudo apt install openssh-client")
        self.link = link
        self.stood = False  # True after a first success, since when a failure is a loss
        # The path of a socket may have about 100 bytes, and TMPDIR may be longer.
        short = "/tmp" if Path("/tmp").is_dir() else None
        self._folder = Path(tempfile.mkdtemp(prefix="lmedge-ssh-", dir=short))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the shared connection and delete its folder."""
        self._execute([*self._ssh(), "-O", "exit", "--", self.link.host])
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, script: str, most: int | None = None) -> str:
        """Run a POSIX shell script there and return its output.

        The script goes through standard input to `sh -s`, so that the log-in shell does not read
        it. If the connection is lost the script runs again, so it must be repeatable. Raises
        HostError if it fails, is refused, prints more than `most` bytes, or the machine does not
        come back.
        """
        return self._persist(lambda: self._run(script, most))

    def attempt(self, script: str) -> str:
        """Run a script once. Raises LostError if the connection is lost."""
        return self._run(script)

    def send(self, folder: Path, there: str, *, rsync: bool) -> None:
        """Copy the content of a folder into a folder there, following symbolic links."""
        if rsync:
            command = [*self._rsync(), "--copy-links", f"{folder}/", self.link.address(f"{there}/")]
        else:
            inside = [str(path) for path in sorted(folder.iterdir())]
            command = [*self._scp(), *inside, self.link.address(f"{there}/")]
        self._persist(lambda: self._copy(command))

    def fetch(
        self, there: str, folder: Path, suffixes: Sequence[str], *, inside: bool = True
    ) -> None:
        """Copy the files of these suffixes from a folder there, by rsync; what is here stays.

        With `inside`, those of the folders in it are copied too.

        No link is followed or made, and nothing is written outside `folder`. Hidden files, which
        are being written, stay there, and a file that goes meanwhile is no error.
        """
        kept = [f"--include=*{suffix}" for suffix in suffixes]
        folders = ["--include=*/"] if inside else []
        chosen = ["--exclude=.*", *folders, *kept, "--exclude=*", "--no-links"]
        chosen.append("--prune-empty-dirs")
        command = [*self._rsync(), *chosen, self.link.address(f"{there}/"), f"{folder}/"]
        self._persist(lambda: self._copy(command, fine=_RSYNC_GONE))

    def _settings(self) -> list[str]:
        return self.link.settings(self._folder / "s")

    def _ssh(self) -> list[str]:
        return ["ssh", "-T", *self._settings()]

    def _rsync(self) -> list[str]:
        # -s: no shell there reads the names. No -l: a link there is not followed here.
        return ["rsync", "-rts", "--partial", "--timeout=60", "-e", shlex.join(self._ssh())]

    def _scp(self) -> list[str]:
        return ["scp", "-r", "-q", *self._settings()]

    def _run(self, script: str, most: int | None = None) -> str:
        mark = f"lmedge-{secrets.token_hex(8)}"  # a start-up file may print something of its own
        text = f"echo {mark}\n{script}"
        code, output, errors = self._execute(
            [*self._ssh(), "--", self.link.host, "sh -s"],
            text.encode("utf-8", "surrogateescape"),
            most,
        )
        self.stood |= mark in output
        if code == _LOST:
            raise self._failure(errors)
        if code:
            raise HostError(f"{self.link.host}: {_last(errors) or f'exit code {code}'}")
        return output.partition(f"{mark}\n")[2]

    def _copy(self, command: list[str], fine: int = 0) -> None:
        code, _, errors = self._execute(command)
        if code in {0, fine}:
            return
        lost = _RSYNC_LOST if command[0] == "rsync" else {_LOST}
        gone = code in lost or "lost connection" in errors.lower()
        if gone and "No space left" not in errors:
            raise self._failure(errors)
        first = next((line for line in errors.splitlines() if line.strip()), f"exit code {code}")
        raise HostError(f"{self.link.host}: copying failed: {first.strip()}")

    def _execute(
        self, command: list[str], given: bytes = b"", most: int | None = None
    ) -> tuple[int, str, str]:
        # A file, not a pipe, since the shared connection may keep it open after the command.
        with tempfile.TemporaryFile() as stream:
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream
                )
            except FileNotFoundError as error:
                raise MissingDependencyError(f"{command[0]} is not installed") from error
            output = self._talk(process, given, most)
            stream.seek(0)
            errors = stream.read(_MOST_ERRORS).decode("utf-8", "replace")
        return process.returncode, output.decode("utf-8", "surrogateescape"), errors

    def _talk(self, process: subprocess.Popen[bytes], given: bytes, most: int | None) -> bytes:
        """Give a command its input and return its output, both of bounded size and time."""
        most = most or _MOST_OUTPUT
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(_LONGEST, process.kill)
        timer.daemon = True  # Ctrl-C while it starts would otherwise be followed by an hour's wait
        try:
            timer.start()
            with contextlib.suppress(BrokenPipeError):  # its exit code tells more
                process.stdin.write(given)  # a script: less than a pipe holds
                process.stdin.close()
            output = process.stdout.read(most + 1)
            if len(output) > most:
                raise HostError(
                    f"{self.link.host}: sent more than {most >> 20} MiB where less was "
                    "expected; check what runs there"
                )
            process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        return output

    def _failure(self, errors: str) -> Exception:
        for words, meaning in _REFUSALS:
            if words in errors:
                return HostError(f"{self.link.host}: {meaning}")
        reason = _last(errors) or "the connection was closed"
        if self.stood:
            return LostError(reason)
        if any(words in errors for words in _BUSY):
            return BusyError(reason)
        return HostError(f"{self.link.host}: {reason}")

    def _persist(self, action: Callable[[], T]) -> T:
        end, pause = 0.0, 0.5
        while True:
            try:
                return action()
            except LostError as lost:
                busy, now = isinstance(lost, BusyError), time.monotonic()
                patience = min(BUSY_SECONDS, self.link.patience) if busy else self.link.patience
                if not end:
                    host = self.link.host
                    what = (
                        f"{host} takes no log-in" if busy else f"the connection to {host} was lost"
                    )
                    _log.warning("%s, trying again", what)
                    end = now + patience
                if now + pause > end:
                    raise HostError(self._given_up(lost, patience)) from lost
            time.sleep(pause * random.uniform(0.5, 1.0))  # many boards do not come back at once
            pause = min(2 * pause, 8.0)

    def _given_up(self, lost: LostError, patience: float) -> str:
        if isinstance(lost, BusyError):
            return (
                f"{self.link.host}: took no log-in within {patience:g} s ({lost}); ask fewer "
                "boards at a time, or raise MaxStartups of the sshd that they share"
            )
        return (
            f"{self.link.host}: the connection was lost and did not come back within "
            f"{patience:g} s ({lost})"
        )


def _last(text: str) -> str:
    lines = [line.strip() for line in harmless_lines(text.replace("\r", "\n")).splitlines()]
    return next((line for line in reversed(lines) if line), "")
