"""A whole board in an emulator, and what runs there after each thing that happens to boards.

    sudo python -m benchmarks.studies.board_image board
    python -m benchmarks.studies.whole_board board FIRST.tflite SECOND.tflite --cuts 20

Real systemd, real sshd, a V4L2 camera. The plug is pulled by killing qemu: what the guest has not
flushed is lost, what it has flushed stays. Each row is written as soon as it is known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from lmedge.errors import LmedgeError
from lmedge.processes import python_command
from lmedge.report.csv_files import write_csv

from .board_image import PORT
from .common import PATH, out_option, run_study

_LOOK = 5.0  # seconds between looks at the board
_FLEET = """\
[board.qemu]
host = "root@127.0.0.1"
ssh-options = ["Port={port}", "IdentityFile={folder}/key", "UserKnownHostsFile={folder}/known"]
python = "/usr/bin/python3"
source = "/dev/video0"
size = "320x180"
threads = 1
watch = 10
grace = {patience}
stall = {patience}
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoardRow:
    """Something that happened to the board, and what ran afterwards.

    `seconds` passed until the camera gave frames again. `whole` is true if the bytes of the current
    release are those that were sent, and no trial is left.
    """

    number: int
    event: str
    after_seconds: float
    ended: str
    state: str
    release: str
    whole: bool
    seconds: float


class Machine:
    """The emulated board."""

    def __init__(self, folder: Path, patience: float) -> None:
        self.folder = folder.absolute()
        self.patience = patience
        self.fleet = self.folder / "fleet.toml"
        self.fleet.write_text(_FLEET.format(port=PORT, folder=self.folder, patience=patience))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Switch it on."""
        words = ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "2"]
        words += ["-m", "1024", "-display", "none", "-monitor", "none"]
        words += ["-kernel", f"{self.folder}/vmlinuz", "-initrd", f"{self.folder}/initrd.img"]
        words += ["-append", "root=/dev/vda rw console=ttyAMA0 quiet"]
        words += ["-drive", f"file={self.folder}/disk.img,format=raw,if=none,id=disk"]
        words += ["-device", "virtio-blk-pci,drive=disk"]
        words += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{PORT}-:22"]
        words += ["-device", "virtio-net-pci,netdev=net,romfile="]
        words += ["-serial", f"file:{self.folder}/console.log"]
        self._process = subprocess.Popen(words, stderr=subprocess.DEVNULL)

    def pull_the_plug(self) -> None:
        """Kill the emulator."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ssh(self, script: str) -> str | None:
        """Return what a script prints there, None if it fails."""
        words = ["ssh", "-q", "-o", f"UserKnownHostsFile={self.folder}/known"]
        words += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-i", f"{self.folder}/key"]
        words += ["-p", str(PORT), "root@127.0.0.1", script]
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
            return done.stdout if done.returncode == 0 else None
        return None

    def lmedge(self, *words: str) -> subprocess.Popen[str]:
        """Start a command of lmedge here."""
        command = python_command("-m", "lmedge", *words)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def deploy(self, file: Path, *words: str) -> str:
        """Deploy a file and return its end."""
        process = self.lmedge(
            "-q", "deploy", str(file), "--fleet", str(self.fleet), "--json", *words
        )
        output, errors = process.communicate()
        for line in output.splitlines():
            found = json.loads(line)
            return str(found["done"]) + (f": {found['reason']}" if found["reason"] else "")
        return errors.strip()

    def wait_for_frames(self) -> tuple[dict[str, Any], float]:
        """Return the status once frames come and no trial is left, and the seconds that passed."""
        begun, found = time.monotonic(), {"state": "not reached", "release": None}
        while time.monotonic() - begun < self.patience:
            process = self.lmedge("-q", "fleet", "status", str(self.fleet), "--json")
            for line in process.communicate()[0].splitlines():
                found = json.loads(line)
            if found["state"] == "well":
                break
            time.sleep(_LOOK)
        return found, time.monotonic() - begun

    def whole(self) -> bool:
        """Return True if the current release has its bytes, and no trial is left."""
        script = (
            "cd /var/lib/lmedge && sync && name=$(readlink current) && "
            'sum=$(sha256sum "$name"/*.tflite | cut -d" " -f1) && '
            'case "$name" in releases/$sum-*) ;; *) exit 1;; esac && '
            "grep -q '\"trial\": null' state.json"
        )
        return self.ssh(script) is not None


class Story:
    """The rows so far."""

    def __init__(self, machine: Machine, out: Path) -> None:
        self.machine, self._out = machine, out
        self.rows: list[BoardRow] = []

    def tell(self, event: str, ended: str = "", after: float = 0.0) -> None:
        """Wait for frames, and write a row."""
        found, seconds = self.machine.wait_for_frames()
        row = BoardRow(
            number=len(self.rows) + 1,
            event=event,
            after_seconds=round(after, 1),
            ended=ended,
            state=str(found["state"]),
            release=str(found["release"])[:12],
            whole=self.machine.whole(),
            seconds=round(seconds, 1),
        )
        self.rows.append(row)
        click.echo(json.dumps(dataclasses.asdict(row)))
        write_csv(self._out, self.rows, data="a camera of the driver vivid, 320 x 180 pixels")


def happenings(
    machine: Machine, first: Path, second: Path, cuts: int, chance: random.Random
) -> Iterator[tuple[str, Callable[[], tuple[str, float]]]]:
    """Yield the name of each thing that happens, and what does it and returns (end, seconds)."""

    def reboot() -> tuple[str, float]:
        machine.ssh("systemctl reboot")
        time.sleep(20)
        return "", 0.0

    def cut_in_service() -> tuple[str, float]:
        after = chance.uniform(0, 60)
        time.sleep(after)
        machine.pull_the_plug()
        machine.start()
        return "", after

    def cut_in_deployment(file: Path) -> tuple[str, float]:
        process = machine.lmedge(
            "-q", "deploy", str(file), "--fleet", str(machine.fleet), "--give-up", "5"
        )
        begun, after = time.monotonic(), chance.uniform(0, machine.patience / 3)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        after = time.monotonic() - begun
        machine.pull_the_plug()
        process.communicate()
        machine.start()
        return "", after

    def shell(script: str) -> Callable[[], tuple[str, float]]:
        return lambda: (str(machine.ssh(script)).strip()[-80:], 0.0)

    yield "deploy the first file", lambda: (machine.deploy(first), 0.0)
    yield "deploy it again", lambda: (machine.deploy(first), 0.0)
    yield "reboot", reboot
    yield "deploy the second file", lambda: (machine.deploy(second), 0.0)
    yield "deploy one over its budget", lambda: (machine.deploy(first, "--budget-ms", "0.01"), 0.0)
    yield "roll back by hand", lambda: (_roll_back(machine), 0.0)
    driver = "/sys/bus/platform/drivers/vivid"
    yield (
        "camera away for a minute",
        shell(f"echo vivid.0 >{driver}/unbind; sleep 60; echo vivid.0 >{driver}/bind"),
    )
    yield (
        "full disk",
        shell("dd if=/dev/zero of=/full bs=1M 2>/dev/null; sync; df -k / | tail -1"),
    )
    yield "deploy to a full disk", lambda: (machine.deploy(second), 0.0)
    yield "free disk", shell("rm -f /full; df -k / | tail -1")
    for number in range(cuts // 2):
        yield "plug pulled in service", cut_in_service
        file = (second, first)[number % 2]
        yield "plug pulled in a deployment", lambda file=file: cut_in_deployment(file)  # type: ignore[misc]


def _roll_back(machine: Machine) -> str:
    process = machine.lmedge("-q", "fleet", "rollback", str(machine.fleet), "--all")
    output, errors = process.communicate()
    return (output or errors).strip()


@click.command()
@click.argument("folder", type=PATH)
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@click.option("--cuts", type=click.IntRange(0), default=20, show_default=True)
@click.option(
    "--patience", type=float, default=900.0, show_default=True, help="Seconds to wait for frames."
)
@click.option("--seed", type=int, default=0, show_default=True)
@out_option("whole_board.csv")
def main(
    folder: Path, first: Path, second: Path, cuts: int, patience: float, seed: int, out: Path
) -> None:
    """Write what ran on the board in FOLDER after each thing that happened to it."""
    machine = Machine(folder, patience)
    if machine.ssh("true") is not None:
        raise LmedgeError(f"something answers at port {PORT} already; end it first")
    story = Story(machine, out)
    machine.start()
    try:
        until = time.monotonic() + patience
        while machine.ssh("true") is None:
            if time.monotonic() > until:
                raise LmedgeError(f"{folder}: did not start; look at {folder}/console.log")
            time.sleep(_LOOK)
        for event, act in happenings(machine, first, second, cuts, random.Random(seed)):
            ended, after = act()
            story.tell(event, ended, after)
    finally:
        machine.pull_the_plug()


if __name__ == "__main__":
    run_study(main)
