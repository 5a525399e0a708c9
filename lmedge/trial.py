"""The first run of a file on this machine, in a child process that may crash.

The checksum detects damage by chance. A graph that was changed on purpose, with its checksum, may
still make the runtime read beyond its memory, request all memory, or never end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator

from .errors import ModelFileError
from .machine import address_space_bytes
from .model_file import ModelFile
from .processes import child_environment, python_command
from .progress import quiet_stderr
from .runtime import load_runtime

SECONDS = 8.0  # to load and run one image; the slowest board measured takes two
MEGABYTES = 2048  # of address space beyond what the process has
_survived: set[tuple[str, str | None]] = set()
_FAILED, _REFUSED = 86, 87  # exit codes of the child: any error, and the runtime's own refusal


def survive(model: ModelFile, runtime: str | None = None) -> None:
    """Load the file and run one image in a child process, once for each content and runtime.

    If the runtime refuses the file with an error, the caller will get the same error.

    Raises:
        ModelFileError: The process crashes, does not end, or needs too much memory.
    """
    if (model.sha256, runtime) in _survived:
        return
    with quiet_stderr():
        # A fork takes milliseconds, but another thread of Python may hold a lock that it needs.
        alone = hasattr(os, "fork") and threading.active_count() == 1
        code = _forked(model, runtime) if alone else _spawned(model, runtime)
    if code is None:
        raise ModelFileError(f"{model.path}: did not run within {SECONDS:g} s; export it again")
    if code not in (0, _REFUSED):
        raise ModelFileError(
            f"{model.path}: the runtime does not survive it ({_reason(code)}); it is damaged or "
            "was tampered with: export it again"
        )
    _survived.add((model.sha256, runtime))


def _reason(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return "out of memory" if code == _FAILED else f"exit code {code}"


def _forked(model: ModelFile, runtime: str | None = None) -> int | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # native threads: none holds our locks
        child = os.fork()
    if not child:
        code = _FAILED
        try:
            code = _try(model.data, model.image.index, runtime)
        finally:
            os._exit(code)
    for _ in _ticks():
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _ticks() -> Iterator[None]:
    """Yield until the time is over, waiting a little longer each time."""
    end, pause = time.monotonic() + SECONDS, 0.001
    while time.monotonic() < end:
        yield
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def _spawned(model: ModelFile, runtime: str | None = None) -> int | None:
    command = python_command("-m", "lmedge.trial", str(model.image.index), runtime or "")
    try:
        return subprocess.run(
            command,
            input=model.data,
            env=child_environment(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return None


def _try(data: bytes, image: int, runtime: str | None) -> int:
    """Return 0 if the graph runs, _REFUSED if the runtime refuses it with an error."""
    _limit_memory()
    try:
        runner = load_runtime(runtime)[1](model_content=data, num_threads=1)
        runner.allocate_tensors()
        runner.set_tensor(image, runner.get_tensor(image))
        runner.invoke()
    except (ValueError, RuntimeError):
        return _REFUSED
    except MemoryError:
        return _FAILED
    return 0


def _limit_memory() -> None:
    try:
        import resource

        used = address_space_bytes()
        if used is None:
            return
        limit = used + (MEGABYTES << 20)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ImportError, OSError, ValueError):
        return  # no such limits here


if __name__ == "__main__":
    sys.exit(_try(sys.stdin.buffer.read(), int(sys.argv[1]), sys.argv[2] or None))
