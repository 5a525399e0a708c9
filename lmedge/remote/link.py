"""The way to a remote machine: its name, its options of ssh, and the patience with it."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

PATIENCE = 60.0  # seconds


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
