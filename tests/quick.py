"""`pytest --quick`: tests that need neither TensorFlow nor another process.

There is no list and there are no marks. A test that imports TensorFlow or starts a process is
skipped at that point; so is a whole module that imports TensorFlow when it is loaded. A test that
ran to its end needed neither.
"""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import pytest

TENSORFLOW = {"tensorflow", "tf_keras", "tensorflow_model_optimization"}
STARTS = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"}
_lifted = False
_installed = False


def install() -> None:
    """Skip, from now on, what needs more than this process."""
    global _installed
    _installed = True
    platform.platform()  # starts `uname` once; the workers of pytest-xdist report it
    sys.meta_path.insert(0, _Finder())
    sys.addaudithook(_skip_process)


@contextlib.contextmanager
def lifted() -> Iterator[None]:
    """Let a process be started meanwhile: what is shared by all tests is made in one."""
    global _lifted
    before, _lifted = _lifted, True
    try:
        yield
    finally:
        _lifted = before


class _Finder:
    """The first of the import system, which refuses TensorFlow."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        if name.split(".", maxsplit=1)[0] in TENSORFLOW and not _lifted:
            pytest.skip("needs TensorFlow", allow_module_level=True)


def needs_process() -> None:
    """Skip what starts a process in a place from which a skip cannot leave, such as asyncio."""
    if _installed:
        _skip_process("subprocess.Popen", ())


def _skip_process(event: str, _: tuple[Any, ...]) -> None:
    if event in STARTS and not _lifted:
        pytest.skip("needs another process", allow_module_level=True)
