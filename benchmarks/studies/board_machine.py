"""The emulated board of `board_image`: switch it on, pull its plug, ask it, deploy to it.

The network of the emulator is restricted: the board reaches nothing, and only ssh reaches it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lmedge.errors import LmedgeError
from lmedge.processes import python_command

from .board_image import PORT

LOOK = 8.0  # seconds between looks at the board
STORE = "/var/lib/lmedge"  # the folder of a board that root deploys to
# Cheap to ask while the board starts: `lmedge fleet status` starts Python there. It prints if
# frames come and no trial is left, the release, and if its bytes are those of its name.
_ASK = (
    f"cd {STORE} || exit 1\n"
    + r"""
name=$(readlink current)
grep -q "$(cat /proc/sys/kernel/random/boot_id)" run/status.json &&
  last=$(sed -n 's/.*"last": \([0-9]*\).*/\1/p' run/status.json)
now=$(cut -d. -f1 /proc/uptime)
if [ -z "$last" ] || [ $((now - last)) -gt 15 ]; then echo no frames
elif grep -q '"trial": null' state.json; then echo well; else echo on trial; fi
echo "${name#releases/}"
sum=$(sha256sum "$name"/*.tflite | cut -d" " -f1)
case "$name" in releases/$sum-*) echo whole;; *) echo damaged;; esac
"""
)
_MEMORY = 1024  # megabytes
_DEFAULTS = """\
[defaults]
host = "root@127.0.0.1"
ssh-options = [
    "Port={port}", "IdentityFile={folder}/key", "UserKnownHostsFile={folder}/known",
    "ConnectTimeout=60", "ServerAliveInterval=60",
]
source = "/dev/video0"
size = "320x180"
fps = 2
threads = 1
least-rate = 0.2
watch = 10
grace = {patience}
stall = {stall}

"""
# One board with several settings: what no camera gives, and a Python without packages at the end.
SETTINGS = {
    "qemu": 'python = "/usr/bin/python3"\n',
    "keeping": (
        'python = "/usr/bin/python3"\ncollect = "field"\ncollect-one-in = 10\n'
        'record = "field/day.mp4"\n'
    ),
    "demanding": 'python = "/usr/bin/python3"\nleast-rate = 1000\n',
    "teaching": (
        'python = "/usr/bin/python3"\npreview = "127.0.0.1:8000"\nteach = true\n'
        'teach-photographs = "lessons"\nfps = 1\n'
    ),
    "bare": 'python = "/usr/local/bin/bare-python"\n',
}
_BARE = r'#!/bin/sh\nexec /usr/bin/python3 -S -s "$@"\n'


WELL, NO_FRAMES = "well", "no frames"  # the first two states that _ASK prints


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoardLook:
    """The state of the board: WELL, `on trial`, NO_FRAMES or `not reached`."""

    state: str = "not reached"
    release: str = ""
    content: str = ""
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happens to the board.

    Attributes:
        name: Its name in the table.
        act: Function that does it and returns its end.
        state: The state of the board afterwards.
        check: Function that asks the board after that; its line is added to the end.
    """

    name: str
    act: Callable[[], str]
    state: str = WELL
    check: Callable[[], str] | None = None


class Machine:
    """The emulated board."""

    def __init__(self, folder: Path, patience: float, stall: float = 120.0) -> None:
        """Take the folder of `board_image`, and the seconds to wait for frames."""
        self.folder = folder.absolute()
        self.patience, self.stall = patience, stall
        self._process: subprocess.Popen[bytes] | None = None
        text = _DEFAULTS.format(port=PORT, folder=self.folder, patience=patience, stall=stall)
        for name, setting in SETTINGS.items():
            self.fleet(name).write_text(f"{text}[board.{name}]\n{setting}")

    def fleet(self, name: str = "qemu") -> Path:
        """Return the fleet.toml of one of the SETTINGS."""
        return self.folder / f"fleet-{name}.toml"

    def start(self) -> None:
        """Switch it on."""
        words = ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72"]
        words += ["-m", str(_MEMORY), "-display", "none", "-monitor", "none"]
        words += ["-kernel", f"{self.folder}/vmlinuz", "-initrd", f"{self.folder}/initrd.img"]
        words += ["-append", "root=/dev/vda rw console=ttyAMA0 quiet"]
        # Its clock counts instructions: an emulator that this machine starves meets no time-outs.
        words += ["-icount", "shift=3"]
        words += ["-drive", f"file={self.folder}/disk.img,format=raw,if=none,id=disk"]
        words += ["-device", "virtio-blk-pci,drive=disk"]
        network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{PORT}-:22"
        words += ["-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile="]
        words += ["-serial", f"file:{self.folder}/console.log"]
        self._process = subprocess.Popen(words, stderr=subprocess.DEVNULL)

    def start_and_wait(self) -> None:
        """Switch it on, and wait until it lets ssh in. Raises LmedgeError if it does not."""
        if self.ssh("true") is not None:
            raise LmedgeError(f"something answers at port {PORT} already; end it first")
        self.start()
        until = time.monotonic() + self.patience
        while self.ssh("true") is None:
            if time.monotonic() > until:
                raise LmedgeError(
                    f"{self.folder}: did not start; look at {self.folder}/console.log"
                )
            time.sleep(LOOK)

    def pull_the_plug(self) -> None:
        """Kill the emulator: what the guest has not flushed is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ssh(self, script: str, seconds: float = 60.0) -> str | None:
        """Return what a script prints there, None if it fails or takes longer."""
        words = ["ssh", "-q", "-o", f"UserKnownHostsFile={self.folder}/known"]
        words += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-i", f"{self.folder}/key"]
        words += ["-p", str(PORT), "root@127.0.0.1", script]
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=seconds, check=False
            )
            return done.stdout if done.returncode == 0 else None
        return None

    def make_bare_python(self) -> None:
        """Let the board have a Python that finds no packages, for a virtual environment."""
        place = "/usr/local/bin/bare-python"
        self.ssh(f"mkdir -p /usr/local/bin; printf '{_BARE}' >{place} && chmod 755 {place}")

    def lmedge(self, *words: str) -> subprocess.Popen[str]:
        """Start a command of lmedge here."""
        command = python_command("-m", "lmedge", *words)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def start_deployment(self, file: Path, *words: str, board: str = "qemu") -> Any:
        """Start to deploy a file."""
        return self.lmedge("deploy", str(file), "--fleet", str(self.fleet(board)), "--json", *words)

    def deploy(self, file: Path, *words: str, board: str = "qemu") -> str:
        """Deploy a file and return its end."""
        output, errors = self.start_deployment(file, *words, board=board).communicate()
        return end_of(output, errors)

    def has_release(self) -> bool:
        """Return True if a release is in service, or was."""
        return self.ssh(f"test -e {STORE}/current", self.patience) is not None

    def wait_for(self, state: str = WELL) -> BoardLook:
        """Wait for a state, and return the last look at the board."""
        begun, look = time.monotonic(), BoardLook()
        while look.state != state and time.monotonic() - begun < self.patience:
            if look.seconds:
                time.sleep(LOOK)
            lines = (self.ssh(_ASK) or "").splitlines()
            seconds = time.monotonic() - begun
            look = _look(lines, seconds)
        return look

    def mark(self) -> str:
        """Return the end of the service's journal as it is now, for `journal`.

        Behind an entry of another unit, journalctl would leave out the first of this one.
        """
        found = self.ssh(
            "journalctl -b -u lmedge -n 1 -o cat --no-pager --show-cursor | "
            "sed -n 's/^-- cursor: //p'"
        )
        return (found or "").strip()

    def journal(self, pattern: str, mark: str, lines: int = 1) -> str:
        """Wait for lines of the service's journal behind a mark, and return them joined.

        Seconds of the emulated board are longer than those of this machine if it starves.

        Args:
            pattern: A pattern of `grep -E`, without quotes.
            mark: The value of `mark` from before.
            lines: The number of lines to wait for.
        """
        behind = f"--after-cursor='{mark}'" if mark else "-b"
        script = f"journalctl -u lmedge -o cat --no-pager {behind} | grep -E '{pattern}'; true"
        until = time.monotonic() + self.patience
        while True:
            found = [line for line in (self.ssh(script) or "").splitlines() if line][-3:]
            if len(found) >= lines or time.monotonic() >= until:
                return " / ".join(found) or f"no line with {pattern}"
            time.sleep(LOOK)


def _look(lines: list[str], seconds: float) -> BoardLook:
    """Return what the lines of _ASK tell; others are of a board that does not answer yet."""
    if len(lines) != 3:
        return BoardLook(seconds=seconds)
    state, release, content = lines
    return BoardLook(state=state, release=release, content=content, seconds=seconds)


def end_of(output: str, errors: str) -> str:
    """Return the end of a deployment to one board, and its reason."""
    for line in output.splitlines():
        found = json.loads(line)
        return str(found["done"]) + (f": {found['reason']}" if found["reason"] else "")
    lines = errors.strip().splitlines()
    return lines[-1] if lines else "no message"


def last_step(errors: str, board: str = "qemu") -> str:
    """Return the last step of a deployment in its lines of progress."""
    ends = {"ended", "deployed", "unchanged", "refused", "went back", "failed", "not reached"}
    steps = [line.removeprefix(f"{board}: ") for line in errors.splitlines()]
    steps = [step for step, line in zip(steps, errors.splitlines(), strict=True) if step != line]
    return next((step for step in reversed(steps) if step not in ends), "not begun")
