"""Run command lines one by one, each in a forked child with little memory and time.

    python -m tests.hostile.runner < commands.json > results.json

The imports are paid once. The results distinguish a child that is killed or does not end from one
that fails.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.locations import ROOT

SECONDS = 10  # of a processor, the children of a command apart
WAIT = 90.0  # seconds until a command counts as hung, whatever else the machine does
MEGABYTES = 3 * 1024  # of address space, of which the libraries take a good part
# Paid once, and not by each command.
IMPORTED = (
    "ai_edge_litert.interpreter",
    "lmedge.benchmarks.command",
    "lmedge.benchmarks.latency",
    "lmedge.benchmarks.report",
    "lmedge.commands.inspect",
    "lmedge.commands.predict",
)


def run_all(commands: Sequence[Sequence[str]], cwd: Path) -> list[dict[str, Any]]:
    """Return for each command line `code` (negative: the signal), `error` and `seconds`."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.hostile.runner"],
        input=json.dumps([list(words) for words in commands]),
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(process.stdout)
    return found


def _run(words: list[str]) -> dict[str, Any]:
    began = time.monotonic()
    with tempfile.TemporaryFile() as error:
        child = os.fork()
        if not child:
            _child(words, error.fileno())
        code = _wait(child, began + WAIT)
        error.seek(0)
        printed = error.read().decode(errors="replace")
    return {"code": code, "error": printed, "seconds": time.monotonic() - began}


def _wait(child: int, end: float) -> int | None:
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _child(words: list[str], error: int) -> None:
    from lmedge import cli

    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(error, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    code = 99
    try:
        cli.main(words)
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
    except BaseException as raised:
        sys.stderr.write(f"Traceback: {type(raised).__name__}: {raised}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Read command lines as JSON, write results as JSON."""
    import cv2

    for name in IMPORTED:
        importlib.import_module(name)
    cv2.setNumThreads(1)  # a child has no threads of its parent

    json.dump([_run(words) for words in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
