"""The first run of a file on this machine, in a child process with limits that may crash.

The checks of graph.py and the checksums find what is wrong with a file in itself. A graph that was
changed on purpose may still make the runtime read beyond its memory, request all memory, or compute
for minutes. So the child runs it on a black, a white and a noisy image and the golden images first,
with the memory and the time that it may take here. Whatever the child refuses is final.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .base_file import BaseFile, parse_any
from .errors import LmedgeError, ModelFileError
from .image import RgbImage
from .machine import address_space_bytes, memory_bytes
from .model_file import ModelFile
from .processes import child_environment, python_command
from .progress import quiet_stderr
from .runner import FeatureRunner, GraphRunner
from .runtime import load_runtime
from .verdicts import has_survived, keep_verdict, verdict_key

GOLDEN = 3  # number of golden images
SECONDS = 8  # of a processor, for loading and all images of the trial
WAIT = 4 * SECONDS  # for a child that shares the processor with others
MEGABYTES = 512  # that a graph may take, on a machine with twice as much or more
SETTING = "LMEDGE_MODEL_MB"
_survived: set[tuple[str, str | None]] = set()
_REFUSED = 87  # exit code of a child that gave a reason
_LONGEST = 2000  # bytes of the reason


def memory_limit() -> int:
    """Return the bytes that a graph may take: LMEDGE_MODEL_MB, or MEGABYTES, or half the memory.

    Raises LmedgeError when the variable is no number of megabytes.
    """
    wanted = os.environ.get(SETTING)
    if wanted:
        if not (wanted.isascii() and wanted.isdigit() and 0 < int(wanted[:12]) < 10**9):
            raise LmedgeError(f"{SETTING} must be a number of megabytes, not {wanted[:40]!r}")
        return int(wanted) << 20
    return min(MEGABYTES << 20, (memory_bytes() or sys.maxsize) // 2)


def survive(model: ModelFile | BaseFile, runtime: str | None = None) -> None:
    """Load the file and run the images of the trial in a child process, once for each content.

    What survived is remembered in the cache folder, see verdicts.py.

    Raises:
        ModelFileError: The graph needs too much memory or time, crashes, is refused by the runtime,
            or gives no probabilities.
        MissingDependencyError: The runtime is not installed.
    """
    if (model.sha256, runtime) in _survived:
        return
    limit = memory_limit()
    if model.bytes_needed > limit:
        raise ModelFileError(
            f"{model.path}: its graph needs {model.bytes_needed >> 20} MB of memory, more than the "
            f"{limit >> 20} MB that it may take here; set {SETTING} to allow more"
        )
    package, _ = load_runtime(runtime)  # before the child, which then need not
    key = verdict_key(model.sha256, package, limit)
    if not has_survived(key):
        _run_trial(model, runtime)
        keep_verdict(key)
    _survived.add((model.sha256, runtime))


def _run_trial(model: ModelFile | BaseFile, runtime: str | None) -> None:
    with quiet_stderr():
        # A fork takes milliseconds, but another thread of Python may hold a lock that it needs.
        alone = hasattr(os, "fork") and threading.active_count() == 1
        code, reason = _forked(model, runtime) if alone else _spawned(model, runtime)
    if code:
        raise ModelFileError(reason if code == _REFUSED and reason else _explained(model, code))


def _explained(model: ModelFile | BaseFile, code: int) -> str:
    """Return the reason of a child that gave none; its exit code is the signal, negative."""
    name = f"exit code {code}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
    if name in ("SIGXCPU", "SIGALRM"):
        return (
            f"{model.path}: did not run {GOLDEN + 3} images within {SECONDS} s; it is too slow for "
            "this machine, or was made to be"
        )
    return (
        f"{model.path}: the runtime does not survive it ({name}); it is damaged or was tampered "
        "with: export it again"
    )


def golden_image(number: int, size: int) -> RgbImage:
    """Return golden image `number`, (size, size, 3) uint8 RGB, computed in integers alone."""
    place = np.arange(size)
    rows, columns = place[:, None, None] * (5 - number), place[None, :, None] * (3 + number)
    waves = (columns + rows + np.arange(3) * 61) % 511
    return np.asarray(np.abs(waves - 255) * (number + 1) // GOLDEN, np.uint8)


def trial_images(size: int) -> Iterator[RgbImage]:
    """Yield the images of the trial, (size, size, 3) uint8: black, white, noise, golden."""
    shape = (size, size, 3)
    yield np.zeros(shape, np.uint8)
    yield np.full(shape, 255, np.uint8)
    noise = hashlib.shake_128(b"lmedge").digest(size * size * 3)
    yield np.frombuffer(noise, np.uint8).reshape(shape)
    for number in range(GOLDEN):
        yield golden_image(number, size)


def _forked(model: ModelFile | BaseFile, runtime: str | None = None) -> tuple[int, str]:
    """Return the exit code of a child and the reason that it gave."""
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # native threads: none holds our locks
        child = os.fork()
    if not child:
        code = 1
        try:
            code, reason = _try(model, runtime)
            os.write(theirs, reason)
        finally:
            os._exit(code)
    os.close(theirs)
    try:
        code = _wait(child)
        return code, os.read(ours, _LONGEST).decode(errors="replace")
    finally:
        os.close(ours)


def _wait(child: int) -> int:
    """Return the exit code of a child, that of SIGALRM if it does not end in time."""
    end, pause = time.monotonic() + WAIT, 0.001
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGALRM


def _spawned(model: ModelFile | BaseFile, runtime: str | None = None) -> tuple[int, str]:
    """Do as `_forked` in a new process."""
    command = python_command("-m", "lmedge.trial", os.fspath(model.path), runtime or "")
    try:
        done = subprocess.run(
            command,
            input=model.data,
            env=child_environment(),
            capture_output=True,
            timeout=WAIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -signal.SIGALRM, ""
    return done.returncode, done.stdout[:_LONGEST].decode(errors="replace")


def _try(model: ModelFile | BaseFile, runtime: str | None) -> tuple[int, bytes]:
    """Return 0, or _REFUSED and the reason. May end in a signal."""
    _limit()
    try:
        runner = _runner(model, runtime)
        for image in trial_images(model.size):
            runner.run(image)
    except LmedgeError as error:
        reason = str(error)
    except MemoryError:
        reason = f"{model.path}: needs more memory than it may take here; set {SETTING}"
    else:
        return 0, b""
    return _REFUSED, reason.encode(errors="replace")[:_LONGEST]


def _runner(model: ModelFile | BaseFile, runtime: str | None) -> FeatureRunner | GraphRunner:
    if isinstance(model, BaseFile):
        return FeatureRunner(model, runtime=runtime)
    return GraphRunner(model, runtime=runtime)


def _limit() -> None:
    """Limit memory and processor time of this process."""
    try:
        import resource
    except ImportError:
        return  # no such limits here
    used = address_space_bytes()
    memory = None if used is None else used + memory_limit()
    spent = int(time.process_time()) + 1
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, spent + SECONDS),
        (resource.RLIMIT_AS, memory),
    ):
        with contextlib.suppress(OSError, ValueError):
            _, hard = resource.getrlimit(kind)
            if limit is not None and (hard == resource.RLIM_INFINITY or limit < hard):
                resource.setrlimit(kind, (limit, hard))


def _main() -> int:
    """Try the file that comes in on standard input; print the reason of a refusal."""
    load_runtime(sys.argv[2] or None)  # its libraries do not count as memory of the graph
    model = parse_any(sys.stdin.buffer.read(), Path(sys.argv[1]))
    code, reason = _try(model, sys.argv[2] or None)
    sys.stdout.buffer.write(reason)
    return code


if __name__ == "__main__":
    sys.exit(_main())
