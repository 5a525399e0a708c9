"""A whole board in an emulator, and what runs there after each thing that happens to boards.

    sudo python -m benchmarks.studies.board_image board
    python -m benchmarks.studies.whole_board board FIRST.tflite SECOND.tflite --cuts 20

Real systemd, real sshd, a V4L2 camera. The plug is pulled by killing qemu: what the guest has not
flushed is lost, what it has flushed stays. Each row is written as soon as it is known, and a second
call goes on behind the last row.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from lmedge.deploy.signing import SecretKey
from lmedge.report.csv_files import write_csv

from .board_machine import Machine, last_step
from .common import PATH, out_option, run_study

SECOND = "deploy the second file"  # its duration is the span of the cuts in deployments
_DATA = "a camera of the driver vivid, 320 x 180 pixels, 2 frames a second"
_FULL = (
    'fallocate -l "$(df --output=avail -B1 / | tail -1)" /full; '
    "dd if=/dev/zero of=/full-too bs=64k 2>/dev/null; sync; df -m --output=avail / | tail -1"
)
_PROCESS = "$(pgrep -f 'lmedge camera')"
_KEEPER = "$(pgrep -f 'lmedge board keep')"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoardRow:
    """Something that happened to the board, and what ran afterwards.

    `after_seconds` is the time that it took, or after which the plug was pulled. `seconds` passed
    until the camera gave frames again. `whole` is true if the bytes of the current release are
    those that were sent, and no trial is left.
    """

    number: int
    event: str
    after_seconds: float
    ended: str
    state: str
    release: str
    whole: bool
    seconds: float


class Story:
    """The rows so far, and the file that holds them."""

    def __init__(self, machine: Machine, out: Path) -> None:
        self.machine, self._out = machine, out
        self.rows: list[BoardRow] = []
        if out.is_file():
            lines = [line for line in out.read_text("utf-8").splitlines() if line[:1] != "#"]
            self.rows = [_row(found) for found in csv.DictReader(lines)]

    def tell(self, event: str, ended: str = "", after: float = 0.0) -> None:
        """Wait for frames, and write a row."""
        look = self.machine.wait_for_frames()
        row = BoardRow(
            number=len(self.rows) + 1,
            event=event,
            after_seconds=round(after, 1),
            ended=ended,
            state=look.state,
            release=look.release[:12],
            whole=look.content == "whole",
            seconds=round(look.seconds, 1),
        )
        self.rows.append(row)
        click.echo(json.dumps(dataclasses.asdict(row)))
        write_csv(self._out, self.rows, data=_DATA)

    def span(self) -> float:
        """Return the seconds of a deployment, by the rows."""
        return next((row.after_seconds for row in self.rows if row.event == SECOND), 60.0)

    def runs(self, sha256: str) -> bool:
        """Return True if the board runs a file by the last row."""
        return bool(self.rows) and sha256.startswith(self.rows[-1].release)


def _row(found: dict[str, str]) -> BoardRow:
    return BoardRow(
        number=int(found["number"]),
        event=found["event"],
        after_seconds=float(found["after_seconds"]),
        ended=found["ended"],
        state=found["state"],
        release=found["release"],
        whole=found["whole"] == "True",
        seconds=float(found["seconds"]),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Happenings:
    """The things that happen; each method does one and returns its end."""

    story: Story
    first: Path
    second: Path
    seed: int

    @property
    def machine(self) -> Machine:
        """The board."""
        return self.story.machine

    def all(self, cuts: int) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yield the name of each, and what does it."""
        machine, first, second = self.machine, self.first, self.second
        yield "deploy the first file", lambda: machine.deploy(first)
        yield "deploy it again", lambda: machine.deploy(first)
        yield "reboot", self.reboot
        yield SECOND, lambda: machine.deploy(second)
        for _ in range(cuts // 2):
            yield "plug pulled in service", self.cut_in_service
            yield "plug pulled in a deployment", self.cut_in_deployment
        yield "deploy one over its budget", lambda: machine.deploy(first, "--budget-ms", "0.01")
        yield "roll back by hand", self.roll_back
        yield (
            "deploy one that gives too few frames",
            lambda: machine.deploy(second, board="demanding"),
        )
        yield "camera away for a minute", self.camera_away
        yield "camera process stopped", lambda: self.stop(_PROCESS)
        yield "keeper and camera process stopped", lambda: self.stop(f"{_KEEPER} {_PROCESS}")
        yield "collect and record", lambda: machine.deploy(first, board="keeping")
        yield "full disk", self.fill
        yield "deploy to a full disk", lambda: machine.deploy(second, board="keeping")
        yield "free disk", self.free
        yield "deploy a signed file with its key", lambda: self.sign(first, second)
        yield "deploy an unsigned file", lambda: machine.deploy(self.unsigned(first))
        yield "signature replaced by a wrong one, restart", self.forge
        yield "deploy the signed file again", lambda: machine.deploy(self.copied(second))
        yield "deploy with a wheelhouse", self.wheelhouse

    def reboot(self) -> str:
        """Start the system anew."""
        self.machine.ssh("systemctl reboot")
        time.sleep(20)
        return ""

    def roll_back(self) -> str:
        """Go back by hand."""
        process = self.machine.lmedge("-q", "fleet", "rollback", str(self.machine.fleet()), "--all")
        output, errors = process.communicate()
        return (output or errors).strip()

    def cut_in_service(self) -> str:
        """Pull the plug within a minute."""
        time.sleep(self.chance().uniform(0, 60))
        self.machine.pull_the_plug()
        self.machine.start()
        return ""

    def cut_in_deployment(self) -> str:
        """Pull the plug while the other file is deployed; return the step that was cut."""
        from lmedge.model_file import read_model

        file = self.second if self.story.runs(read_model(self.first).sha256) else self.first
        process = self.machine.start_deployment(file, "--give-up", "5")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.chance().uniform(0, 1.05 * self.story.span()))
        self.machine.pull_the_plug()
        _, errors = process.communicate()
        self.machine.start()
        return last_step(errors)

    def chance(self) -> random.Random:
        """Return the dice of the next row, the same if a second call goes on."""
        return random.Random(f"{self.seed} {len(self.story.rows)}")

    def camera_away(self) -> str:
        """Take the driver away for a minute."""
        place = "/sys/bus/platform/drivers/vivid"
        script = f"echo vivid.0 >{place}/unbind; sleep 60; echo vivid.0 >{place}/bind; echo bound"
        return (self.machine.ssh(script, 180.0) or "no answer").strip()

    def stop(self, processes: str) -> str:
        """Stop processes as a driver that hangs would, and wait for what ends them."""
        before = self.machine.ssh(f"kill -STOP {processes}; pgrep -f 'lmedge camera'")
        until = time.monotonic() + self.machine.stall + 240
        while time.monotonic() < until:
            time.sleep(10)
            now = self.machine.ssh("pgrep -f 'lmedge camera'")
            if now and now != before:
                break
        return self.machine.journal("no frame was classified|[Ww]atchdog timeout", 1)

    def fill(self) -> str:
        """Fill the disk, and wait for what the camera tells about it."""
        left = (self.machine.ssh(_FULL, 300.0) or "?").strip()
        time.sleep(60)
        return f"{left} MB left; " + self.machine.journal("paus", 3)

    def free(self) -> str:
        """Remove what filled the disk, and wait until collecting and recording go on."""
        self.machine.ssh("rm -f /full /full-too; sync")
        time.sleep(150)
        return self.machine.journal("goes on", 3)

    def sign(self, *files: Path) -> str:
        """Sign copies of the files, and deploy the last so that the board learns the key."""
        key = SecretKey.make()
        public = self.machine.folder / "museum.pub"
        public.write_text(key.public.text())
        for file in files:
            copy = self.copied(file)
            signature = copy.with_name(copy.name + ".minisig")
            signature.write_text(key.sign(copy.read_bytes(), copy.name))
        return self.machine.deploy(self.copied(files[-1]), "--key", str(public))

    def copied(self, file: Path) -> Path:
        """Return the copy of a file that is signed."""
        folder = self.machine.folder / "signed"
        folder.mkdir(exist_ok=True)
        if not (folder / file.name).exists():
            shutil.copy(file, folder)
        return folder / file.name

    def unsigned(self, file: Path) -> Path:
        """Return a copy of a file without a signature."""
        folder = self.machine.folder / "unsigned"
        folder.mkdir(exist_ok=True)
        return Path(shutil.copy(file, folder))

    def forge(self) -> str:
        """Replace the signature of the current release by one of another key, and restart."""
        forged = SecretKey.make().sign(self.copied(self.second).read_bytes(), "forged")
        script = (
            f"cd /var/lib/lmedge/current && printf %s '{forged}' >$(echo *.minisig) && "
            "systemctl restart lmedge; sleep 60; echo done"
        )
        self.machine.ssh(script, 180.0)
        return self.machine.journal("signed by|not signed", 2)

    def wheelhouse(self) -> str:
        """Deploy to a Python without packages; the board reaches no index."""
        self.machine.make_bare_python()
        house = str(self.machine.folder / "wheelhouse")
        file = self.copied(self.second)
        return self.machine.deploy(file, "--wheelhouse", house, board="bare")


@click.command()
@click.argument("folder", type=PATH)
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@click.option("--cuts", type=click.IntRange(0), default=20, show_default=True)
@click.option(
    "--patience", type=float, default=300.0, show_default=True, help="Seconds to wait for frames."
)
@click.option("--seed", type=int, default=0, show_default=True)
@out_option("whole_board.csv")
def main(
    folder: Path, first: Path, second: Path, cuts: int, patience: float, seed: int, out: Path
) -> None:
    """Write what ran on the board in FOLDER after each thing that happened to it."""
    machine = Machine(folder, patience)
    story = Story(machine, out)
    things = Happenings(story=story, first=first, second=second, seed=seed)
    machine.start_and_wait()
    try:
        for event, act in list(things.all(cuts))[len(story.rows) :]:
            begun = time.monotonic()
            ended = act()
            story.tell(event, ended, time.monotonic() - begun)
    finally:
        machine.pull_the_plug()


if __name__ == "__main__":
    run_study(main)
