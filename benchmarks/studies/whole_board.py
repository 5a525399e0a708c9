"""A whole board in an emulator, and what runs there after each thing that happens to boards.

    sudo python -m benchmarks.studies.board_image board
    python -m benchmarks.studies.whole_board board FIRST.tflite SECOND.tflite --cuts 20
    python -m benchmarks.studies.whole_board board FIRST.tflite SECOND.tflite --only disk

Real systemd, real sshd, a V4L2 camera. The plug is pulled by killing qemu: what the guest has not
flushed is lost, what it has flushed stays. Each row is written as soon as it is known, and a second
call leaves out the events that have one.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import click

from lmedge.report.csv_files import study_command, write_csv

from .board_events import FIRST, SCENARIOS, BoardEvents
from .board_machine import Event, Machine
from .common import PATH, out_option, run_study

_DATA = "a camera of the driver vivid, 320 x 180 pixels, 2 frames a second, 1 in lessons"


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

    def __init__(self, machine: Machine, out: Path, command: str) -> None:
        self.machine, self._out, self._command = machine, out, command
        self.rows: list[BoardRow] = []
        if out.is_file():
            lines = [line for line in out.read_text("utf-8").splitlines() if line[:1] != "#"]
            self.rows = [_row(found) for found in csv.DictReader(lines)]

    def left(self, events: Sequence[Event]) -> list[Event]:
        """Return the events that have no row yet; an event that comes twice has two."""
        told = collections.Counter(row.event for row in self.rows)
        left = []
        for event in events:
            told[event.name] -= 1
            if told[event.name] < 0:
                left.append(event)
        return left

    def tell(self, event: Event, ended: str, after: float) -> None:
        """Wait for the state that the event should lead to, and write a row."""
        look = self.machine.wait_for(event.state)
        if event.check is not None:
            ended = "; ".join(filter(None, [ended, event.check()]))
        row = BoardRow(
            number=len(self.rows) + 1,
            event=event.name,
            after_seconds=round(after, 1),
            ended=ended,
            state=look.state,
            release=look.release[:12],
            whole=look.content == "whole",
            seconds=round(look.seconds, 1),
        )
        self.rows.append(row)
        click.echo(json.dumps(dataclasses.asdict(row)))
        write_csv(self._out, self.rows, data=_DATA, command=self._command)

    def span(self, name: str) -> float:
        """Return the seconds of an event, by its first row."""
        return next((row.after_seconds for row in self.rows if row.event == name), 60.0)


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


@click.command()
@click.argument("folder", type=PATH)
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@click.option(
    "--only",
    type=click.Choice(SCENARIOS),
    multiple=True,
    help="Only this scenario; repeat for more  [default: all, in this order]",
)
@click.option(
    "--taught",
    type=PATH,
    metavar="FILE.tflite",
    help="A file that remembers its photographs, for the lessons  [default: SECOND]",
)
@click.option("--cuts", type=click.IntRange(0), default=20, show_default=True)
@click.option(
    "--patience", type=float, default=300.0, show_default=True, help="Seconds to wait for frames."
)
@click.option("--seed", type=int, default=0, show_default=True)
@out_option("whole_board.csv")
def main(
    folder: Path,
    first: Path,
    second: Path,
    only: tuple[str, ...],
    taught: Path | None,
    cuts: int,
    patience: float,
    seed: int,
    out: Path,
) -> None:
    """Write what ran on the board in FOLDER after each thing that happened to it."""
    machine = Machine(folder, patience)
    # Rows of several calls, with --only, make one table: the command is that of all of them.
    words = ["board", first.name, second.name]
    words += ["--taught", taught.name] if taught else []
    words += ["--cuts", str(cuts), "--patience", f"{patience:g}"]
    story = Story(machine, out, study_command(["whole_board.py", *words]))
    events = BoardEvents(
        machine=machine,
        first=first,
        second=second,
        taught=taught or second,
        cuts=cuts,
        seed=seed,
        rows=lambda: len(story.rows),
        release=lambda: story.rows[-1].release if story.rows else "",
        span=story.span,
    )
    wanted = [event for name in only or SCENARIOS for event in events.scenario(name)]
    machine.start_and_wait()
    try:
        left = story.left(wanted)
        if left and not machine.has_release():
            left = left if left[0].name == FIRST else [next(events.scenario("deploy")), *left]
        elif left:
            machine.wait_for()  # what happens does not happen to a board that starts
        for event in left:
            begun = time.monotonic()
            ended = event.act()
            story.tell(event, ended, time.monotonic() - begun)
    finally:
        machine.pull_the_plug()


if __name__ == "__main__":
    run_study(main)
