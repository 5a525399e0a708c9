"""Scripts and folders for another machine, by the system's ssh, rsync and scp.

All commands share one connection (OpenSSH's ControlMaster), so that a password is asked for once.
If it is lost, the next command opens another. Host keys are always checked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from ..errors import HostError, MissingDependencyError
from ..harmless import harmless_lines

T = TypeVar("T")
_log = logging.getLogger(__name__)
PATIENCE = 60.0  # seconds
_MOST_OUTPUT = 16 << 20  # bytes of errors and the like
_MOST_ERRORS = 1 << 16
_LONGEST = 3600.0  # seconds of one command: copying photographs, or pip on a slow remote host
_LOST = 255  # what ssh itself exits with; the scripts below never do
_RSYNC_LOST = {10, 12, 30, 35, _LOST}  # rsync(1): socket, data stream, time-outs, ssh
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


class LostError(Exception):
    """The connection is lost; another attempt may succeed."""


def check_host(text: str) -> str:
    """Return `text` if it can be the name of a machine; otherwise raise ValueError.

    A word that begins with - would be an option of ssh, and no name has / or a space.
    """
    user, _, host = text.rpartition("@")
    if not re.fullmatch(r"[^\s/\x00-\x1f\x7f]+", text) or user.startswith("-"):
        raise ValueError("write it as BOARD or USER@BOARD")
    if not host or host.startswith("-"):
        raise ValueError("write it as BOARD or USER@BOARD")
    return text


def check_option(text: str) -> str:
    """Return `text`, KEY=VALUE of ssh_config(5); raise ValueError for an option of no choice."""
    key, equals, _ = text.partition("=")
    if not equals or not key.isalnum():
        raise ValueError("write it as KEY=VALUE, as in `man ssh_config`")
    if key.lower() == "stricthostkeychecking":
        raise ValueError("host keys are always checked; `ssh` to the host once to add its key")
    return text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Link:
    """The way to reach a machine.

    Attributes:
        host: HOST or USER@HOST.
        options: Options of ssh_config(5), KEY=VALUE each.
        interactive: True if a person can answer questions of ssh.
        patience: Seconds for which a lost connection is tried again.
    """

    host: str
    options: tuple[str, ...] = ()
    interactive: bool = dataclasses.field(default_factory=sys.stdin.isatty)
    patience: float = PATIENCE

    def settings(self, socket: Path) -> list[str]:
        """Return the -o options of every command; the first that names a key counts for ssh."""
        strict, batch = ("ask", "no") if self.interactive else ("yes", "yes")
        values = (
            f"StrictHostKeyChecking={strict}",
            f"BatchMode={batch}",
            *self.options,
            "ControlMaster=auto",
            f"ControlPath={socket}",
            "ControlPersist=60",
            "ConnectTimeout=15",
            "ServerAliveInterval=10",
            "ServerAliveCountMax=3",
            "ForwardAgent=no",
            "ForwardX11=no",
            "ClearAllForwardings=yes",
            "RemoteCommand=none",
            "RequestTTY=no",
            "LogLevel=ERROR",
        )
        return [word for value in values for word in ("-o", value)]

    def address(self, path: str) -> str:
        """Return HOST:PATH as rsync and scp read it; an IPv6 address gets its brackets."""
        user, at, host = self.host.rpartition("@")
        bare = host if ":" not in host or host.startswith("[") else f"[{host}]"
        return f"{user}{at}{bare}:{path}"


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

    def fetch(self, there: str, folder: Path, suffixes: Sequence[str]) -> None:
        """Copy the files of these suffixes from a folder there, by rsync; what is here stays.

        No link is followed or made, and nothing is written outside `folder`.
        """
        kept = [f"--include=*{suffix}" for suffix in suffixes]
        chosen = ["--include=*/", *kept, "--exclude=*", "--no-links", "--prune-empty-dirs"]
        command = [*self._rsync(), *chosen, self.link.address(f"{there}/"), f"{folder}/"]
        self._persist(lambda: self._copy(command))

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

    def _copy(self, command: list[str]) -> None:
        code, _, errors = self._execute(command)
        if not code:
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
        timer.start()
        try:
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
            process.stdout.close()
        return output

    def _failure(self, errors: str) -> Exception:
        for words, meaning in _REFUSALS:
            if words in errors:
                return HostError(f"{self.link.host}: {meaning}")
        reason = _last(errors) or "the connection was closed"
        return LostError(reason) if self.stood else HostError(f"{self.link.host}: {reason}")

    def _persist(self, action: Callable[[], T]) -> T:
        end, pause = 0.0, 0.5
        while True:
            try:
                return action()
            except LostError as lost:
                now = time.monotonic()
                if not end:
                    _log.warning("the connection to %s was lost, trying again", self.link.host)
                    end = now + self.link.patience
                if now + pause > end:
                    raise HostError(
                        f"{self.link.host}: the connection was lost and did not come back within "
                        f"{self.link.patience:g} s ({lost})"
                    ) from lost
            time.sleep(pause)
            pause = min(2 * pause, 8.0)


def _last(text: str) -> str:
    lines = [line.strip() for line in harmless_lines(text.replace("\r", "\n")).splitlines()]
    return next((line for line in reversed(lines) if line), "")
