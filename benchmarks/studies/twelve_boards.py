"""Twelve boards in one call against one alone, and a call in which one of them dies.

    python -m benchmarks.studies.twelve_boards FILE.tflite OTHER.tflite

The boards are folders behind one sshd on this machine, each with a service of its own that a fake
systemctl starts. Their camera is one MJPEG stream. All share the processor of this machine, so
that the times compare the calls and do not predict those of boards.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from lmedge.processes import python_command
from lmedge.report.csv_files import write_csv

from .common import PATH, out_option, run_study

BOARDS = 12
STARTUPS = "10:30:100"  # the default of sshd, which twelve log-ins at a time exceed


@dataclasses.dataclass(frozen=True, kw_only=True)
class FleetCall:
    """One call of `lmedge deploy`: how many boards, how long, and how they ended."""

    call: str
    boards: int
    seconds: float
    deployed: int
    unchanged: int
    failed: int
    exit_code: int
    others_run: bool
    reasons: str


def _of_tests(module: str, name: str) -> Any:
    """Return a part of the tests, which are not typed as strictly as the studies."""
    return getattr(importlib.import_module(f"tests.{module}"), name)


def fleet_text(server: Any, python: Path, url: str, boards: int) -> str:
    """Return a fleet.toml of boards that differ in folder and service."""
    options = [word for word in server.options() if word != "--ssh-option"]
    head = (
        f"[defaults]\nhost = {json.dumps(_of_tests('sshd', 'user')())}\n"
        f"ssh-options = {json.dumps(options)}\n"
        f"python = {json.dumps(str(python))}\nsource = {json.dumps(url)}\nwatch = 5\nthreads = 1\n"
    )
    return head + "".join(
        f"[board.b{number:02}]\nfolder = {json.dumps(str(server.folder / f'b{number:02}'))}\n"
        f'service = "lmedge-b{number:02}"\n'
        for number in range(1, boards + 1)
    )


def call(name: str, file: Path, fleet: Path, *words: str, kill: Path | None = None) -> FleetCall:
    """Deploy, and return the row; `kill` is the folder of a board that dies while it installs."""
    begun = time.monotonic()
    command = ["-m", "lmedge", "-q", "deploy", str(file), "--fleet", str(fleet), "--json"]
    command += ["--at-once", str(BOARDS), "--give-up", "60", *words]
    process = subprocess.Popen(python_command(*command), stdout=subprocess.PIPE, text=True)
    if kill is not None:
        _kill_installer(kill, process)
    output, _ = process.communicate()
    seconds = time.monotonic() - begun
    lines = [json.loads(line) for line in output.splitlines()]
    ends = {found["board"]: found["done"] for found in lines}
    dead = None if kill is None else kill.name
    return FleetCall(
        call=name,
        boards=len(ends),
        seconds=round(seconds, 1),
        deployed=sum(end == "deployed" for end in ends.values()),
        unchanged=sum(end == "unchanged" for end in ends.values()),
        failed=sum(end not in {"deployed", "unchanged"} for end in ends.values()),
        exit_code=process.returncode,
        others_run=all(
            end in {"deployed", "unchanged"} for name, end in ends.items() if name != dead
        ),
        reasons="; ".join(
            f"{found['board']}: {found['reason'] or found['done']}"
            for found in lines
            if found["done"] not in {"deployed", "unchanged"}
        ),
    )


def _kill_installer(folder: Path, process: subprocess.Popen[str]) -> None:
    """Kill the deployment of one board as soon as it holds its lock."""
    while process.poll() is None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            os.kill(json.loads((folder / "lock.json").read_text())["pid"], signal.SIGKILL)
            return
        time.sleep(0.02)


@click.command()
@click.argument("file", type=PATH)
@click.argument("other", type=PATH)
@out_option("twelve_boards.csv")
def main(file: Path, other: Path, out: Path) -> None:
    """Write the time of each call, and how the boards ended."""
    streams = _of_tests("lmedge.camera.streams", "mjpeg_server")
    rows: list[FleetCall] = []
    with tempfile.TemporaryDirectory(prefix="lmedge-") as text, streams() as stream:
        folder = Path(text)
        systemd = _of_tests("lmedge.deploy.systemctl", "FakeSystemd")(folder / "systemd")
        with _of_tests("sshd", "serve")(folder / "sshd", STARTUPS, **systemd.environment) as server:
            python = _of_tests("sshd", "board_python")(folder / "python", lmedge=False)
            fleet = folder / "fleet.toml"
            fleet.write_text(fleet_text(server, python, stream.url, BOARDS))
            try:
                dying = server.folder / "b07"
                for name, given, words, kill in (
                    ("one alone", file, ["--only", "b01"], None),
                    ("all, of which one has it", file, [], None),
                    ("all again", file, [], None),
                    ("another file, b07 dies", other, [], dying),
                    ("again after that", other, [], None),
                ):
                    rows.append(call(name, given, fleet, *words, kill=kill))
                    click.echo(json.dumps(dataclasses.asdict(rows[-1])))
                    write_csv(out, rows, data="one MJPEG stream of 320 x 240 pixels")
            finally:
                systemd.stop()


if __name__ == "__main__":
    run_study(main)
