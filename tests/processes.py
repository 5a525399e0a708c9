"""Real processes for tests of the command line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def lmedge(
    *arguments: object, cwd: Path | None = None, seconds: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `lmedge` in a process of its own and return what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "lmedge", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        timeout=seconds,
        check=False,
    )


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def without(folder: Path, *modules: str) -> dict[str, str]:
    """Return an environment of processes that cannot import `modules`; `folder` is new."""
    folder.mkdir()
    for name in modules:
        (folder / f"{name}.py").write_text(f"raise ImportError('blocked', name={name!r})\n")
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.getenv("PYTHONPATH"))))}


def assert_refused(process: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Assert that a command failed with `code` and one line on standard error."""
    assert process.returncode == code, process.stderr
    assert "Traceback" not in process.stderr
    assert len(process.stderr.splitlines()) == 1, process.stderr
    for word in words:
        assert word in process.stderr
