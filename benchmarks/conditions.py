"""The state of the machine before and after: the reasons to doubt a latency."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

from lmedge import machine

TAIL = 2.0  # highest ratio of the 99th percentile to the median
OTHERS = 0.25  # most cores that other processes keep busy
_CPU = Path("sys/devices/system/cpu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moment:
    """The state of the processor at one moment; None if the system does not report a value.

    Attributes:
        governor: Frequency governor of the first core.
        frequency_mhz: Frequency of the first core.
        temperature_c: Temperature of the warmest sensor.
        throttled: How often heat or low voltage slowed the processor since it was started.
        busy_seconds: Busy time of all cores together.
        own_seconds: Processor time of this process and its children.
        seconds: The monotonic clock.
    """

    governor: str | None
    frequency_mhz: float | None
    temperature_c: float | None
    throttled: int | None
    busy_seconds: float | None
    own_seconds: float
    seconds: float

    @classmethod
    def now(cls, root: Path = Path("/"), helpers: float = 0.0) -> Moment:
        """Read the state; `helpers` is the processor time of our own running child processes."""
        frequency = _number(root / _CPU / "cpu0/cpufreq/scaling_cur_freq")
        times = os.times()
        return cls(
            governor=_text(root / _CPU / "cpu0/cpufreq/scaling_governor"),
            frequency_mhz=None if frequency is None else frequency / 1e3,
            temperature_c=machine.processor_celsius(root / "sys/class/thermal"),
            throttled=_throttled(root),
            busy_seconds=machine.busy_seconds(root / "proc/stat"),
            own_seconds=sum(times[:4]) + helpers,  # this process and those that have ended
            seconds=time.monotonic(),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditions:
    """The state before and after a measurement."""

    before: Moment
    after: Moment

    @property
    def others(self) -> float | None:
        """Cores that other processes kept busy on average, None if not available."""
        if self.before.busy_seconds is None or self.after.busy_seconds is None:
            return None
        busy = self.after.busy_seconds - self.before.busy_seconds
        own = self.after.own_seconds - self.before.own_seconds
        return max(0.0, (busy - own) / max(self.after.seconds - self.before.seconds, 1e-9))

    def doubts(self, tail: float, cores: int) -> list[str]:
        """Return the reasons to doubt a run on `cores`; `tail` is that of its Spread."""
        found = []
        if tail > TAIL:
            found.append(f"the 99th percentile is {tail:.1f} times the median")
        if self.others is not None and self.others > OTHERS:
            found.append(f"other processes kept {self.others:.1f} of {cores} cores busy")
        if (self.after.throttled or 0) > (self.before.throttled or 0):
            found.append("the processor was throttled")
        return found

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        sides = {}
        for name in ("before", "after"):
            values = dataclasses.asdict(getattr(self, name))
            sides[name] = {
                key: values[key]
                for key in ("governor", "frequency_mhz", "temperature_c", "throttled")
            }
        return {**sides, "others_cores": self.others}


def _throttled(root: Path) -> int | None:
    """Return Intel's count of throttling, or the number of a Raspberry Pi's throttling bits."""
    count = _number(root / _CPU / "cpu0/thermal_throttle/core_throttle_count")
    if count is not None:
        return int(count)
    bits = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    try:
        return None if bits is None else int(bits, 16).bit_count()
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return None


def _number(path: Path) -> float | None:
    try:
        return float(_text(path) or "")
    except ValueError:
        return None
