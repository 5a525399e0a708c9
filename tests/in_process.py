"""The command line in this process: the same words and results as in a process of its own.

The start of a process and of TensorFlow takes seconds. Tests whose promise is about arguments,
texts and files use this module; `tests.processes` is for promises about processes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner

from lmedge import cli


def lmedge(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `lmedge` and return its exit code, its standard output and its standard error."""
    words = [str(argument) for argument in arguments]
    code: object = None
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(cwd or Path.cwd()))
        stack.enter_context(_own_environment(environment))
        out, err, _ = stack.enter_context(CliRunner().isolation())
        stack.enter_context(_own_logging())
        try:
            cli.main(words)
        except SystemExit as done:
            code = done.code
        sys.stdout.flush()
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, _text(out.getvalue()), _text(err.getvalue()))


def _text(printed: bytes) -> str:
    return printed.decode("utf-8", "replace").replace("\r\n", "\n")


@contextlib.contextmanager
def _own_environment(environment: dict[str, str]) -> Iterator[None]:
    """Undo afterwards what the command line sets."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _own_logging() -> Iterator[None]:
    """Let the command line set logging up as in a new process; pytest has handlers of its own."""
    root, ours = logging.getLogger(), logging.getLogger("lmedge")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    root.handlers.clear()
    root.setLevel(logging.WARNING)
    ours.setLevel(logging.NOTSET)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
