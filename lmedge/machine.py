"""Facts about this machine that a reader of a report needs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
OPENCV_PACKAGES = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


def package_version(*names: str) -> str | None:
    """Return the version of the first distribution installed, without importing it."""
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the system's name of the processor or board, otherwise the architecture.

    x86 names the processor in `model name`; boards with ARM name themselves in `Model` or in the
    device tree.
    """
    for key in ("model name", "Model", "Hardware"):
        for line in _read(cpuinfo).splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key and value.strip():
                return " ".join(value.split())
    board = _read(Path("/proc/device-tree/model")).strip("\0 \n")
    return board or platform.processor() or platform.machine() or "unknown"


def processor_celsius(zones: Path = Path("/sys/class/thermal")) -> float | None:
    """Return the temperature of the hottest thermal zone in °C, None if not available.

    Linux gives thousandths of a degree; zones that are switched off give nothing or nonsense.
    """
    values = [_read(path).strip() for path in zones.glob("thermal_zone*/temp")]
    degrees = [int(value) / 1000 for value in values if value.lstrip("-").isdigit()]
    return max((value for value in degrees if 0 < value < 150), default=None)


def load_average() -> tuple[float, float, float] | None:
    """Return the load over 1, 5 and 15 minutes, None if not available."""
    try:
        return os.getloadavg()
    except (OSError, AttributeError):
        return None


def busy_seconds(stat: Path = Path("/proc/stat")) -> float | None:
    """Return the busy seconds of all cores since the system started, None if not available."""
    try:
        ticks = [int(word) for word in _read(stat).splitlines()[0].split()[1:9]]
    except (IndexError, ValueError):
        return None
    if len(ticks) < 8:
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user already
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def boot_id(path: Path = BOOT_ID) -> str:
    """Return a name of this start of the system, empty where the system does not tell."""
    return _read(path).strip()


def boot_seconds() -> float:
    """Return the seconds since the system started; no change of the clock moves them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def process_start(pid: int) -> int | None:
    """Return the start of a process in ticks since the boot, None if it does not run.

    Two processes of one boot that had the same number differ in it.
    """
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] == "Z":
        return None
    return int(fields[19])


def memory_bytes() -> int | None:
    """Return the memory of this machine in bytes, None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def address_space_bytes() -> int | None:
    """Return the address space of this process in bytes, None where the system does not tell."""
    return _statm(0)


def resident_bytes() -> int | None:
    """Return the resident memory of this process in bytes, None where the system does not tell."""
    return _statm(1)


def peak_bytes(usage: Any = None) -> int | None:
    """Return the largest resident memory in bytes, None where the system does not tell.

    Args:
        usage: The `resource.struct_rusage` of a process that ended; None means this process.
    """
    if usage is None:
        try:
            import resource
        except ImportError:  # Windows
            return None
        usage = resource.getrusage(resource.RUSAGE_SELF)
    # Linux counts in KiB, macOS in bytes.
    return int(usage.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def _statm(field: int) -> int | None:
    """Return a field of Linux's /proc/self/statm, which counts pages, in bytes."""
    try:
        return int(_read(Path("/proc/self/statm")).split()[field]) * os.sysconf("SC_PAGE_SIZE")
    except (IndexError, ValueError):
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
