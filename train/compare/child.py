"""`python -m lmedge.train.compare.child WORDS`: an lmedge command that ends with its parent.

Its standard input is a pipe of the parent. When the pipe closes, however the parent ended, the
command ends too, so that no training continues beside the next one.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn

from lmedge.cli import main

ENDED = 75  # the exit code, EX_TEMPFAIL of sysexits.h


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(ENDED)


def run_command(words: list[str]) -> NoReturn:
    """Run a command of lmedge and end with its exit code, or when standard input closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main(words)


if __name__ == "__main__":
    run_command(sys.argv[1:])
