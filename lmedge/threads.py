"""The thread count that runs a file fastest on this machine, measured once and kept."""

from __future__ import annotations

import contextlib
import json
import statistics
import time

from . import machine
from .errors import LmedgeError
from .files import cache_folder, write_json
from .interpreter import Interpreter
from .model_file import ModelFile
from .regular import read_regular
from .runtime import load_runtime, runtime_label

_FILE = "threads.json"
_RUNS = 12
_SECONDS = 0.5  # at most for one count, after its first two invokes
# More threads must be this much faster, since capture and decoding need cores too.
_WORTH = 0.85
_OTHERS = 0.5  # busy cores of other processes up to which the count is kept


def best_threads(model: ModelFile, runtime: str | None = None) -> int:
    """Return the thread count to run `model` with: 1, or a power of two up to the cores.

    The count is kept in `threads.json` of the cache folder, by file, processor, cores and runtime.
    If that cannot be written, or other processes were busy, the next call measures again. Takes up
    to two seconds.
    """
    cores = machine.cores()
    if cores == 1:
        return 1
    package, _ = load_runtime(runtime)
    label = f"{machine.processor_model()}, {cores} cores, {runtime_label(package)}"
    key = f"{model.sha256[:16]} on {label}"
    known = _known()
    if key not in known:
        start, before, own = time.monotonic(), machine.busy_seconds(), time.process_time()
        known[key] = _measure(model, cores, runtime)
        passed, after = time.monotonic() - start, machine.busy_seconds()
        if before is not None and after is not None:
            others = after - before - (time.process_time() - own)
            if others > _OTHERS * passed:
                return known[key]  # right beside others; the next call measures again
        with contextlib.suppress(LmedgeError):
            write_json(cache_folder() / _FILE, known)
    return known[key]


def _known() -> dict[str, int]:
    """Return earlier counts; a damaged file counts as none."""
    try:
        content = json.loads(read_regular(cache_folder() / _FILE))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: count for key, count in content.items() if isinstance(count, int) and count > 0}


def _measure(model: ModelFile, cores: int, runtime: str | None) -> int:
    best, seconds = 1, _seconds(Interpreter(model, 1, runtime=runtime))
    count = 2
    while count <= cores:
        faster = _seconds(Interpreter(model, count, runtime=runtime))
        if faster > _WORTH * seconds:
            break
        best, seconds = count, faster
        count *= 2
    return best


def _seconds(interpreter: Interpreter) -> float:
    """Return the median seconds of an invoke on the present content of the input."""
    interpreter.invoke()
    interpreter.invoke()
    taken: list[float] = []
    while len(taken) < _RUNS and sum(taken) < _SECONDS:
        start = time.perf_counter()
        interpreter.invoke()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
