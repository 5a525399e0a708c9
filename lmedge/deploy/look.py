"""The facts of a board, read without changing it.

This file is sent to boards as it is and runs under any Python 3.9 or newer: it imports nothing but
the standard library, and prints one object of JSON.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

_MOST = 1 << 20  # bytes of a file that are read
# Bits of the Raspberry Pi's firmware: what is wrong now, and what was since the start.
_THROTTLED = {
    0: "under-voltage",
    2: "throttled",
    3: "too hot",
    16: "under-voltage before",
    18: "throttled before",
    19: "too hot before",
}


def board_facts(folder: str, service: str = "lmedge") -> dict[str, object]:
    """Return the facts of this board and of the store in `folder`."""
    root = os.geteuid() == 0
    place = Path(folder or ("/var/lib/lmedge" if root else "~/.local/share/lmedge")).expanduser()
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "python": list(sys.version_info[:2]),
        "root": root,
        "time": int(time.time()),
        "uptime": _first_number("/proc/uptime"),
        "boot": _read(Path("/proc/sys/kernel/random/boot_id")).strip(),
        "celsius": _celsius(),
        "warnings": _warnings(),
        "free_mb": _free(place),
        "cameras": sorted(path.name for path in Path("/dev").glob("video*")),
        "picamera2": _has("picamera2"),
        "systemd": _systemctl("show", "--property=Version") is not None,
        "linger": Path("/var/lib/systemd/linger", _user()).exists(),
        "active": (_systemctl("is-active", service + ".service") or "").strip(),
        "unit": _unit(service),
        "folder": str(place),
        "current": _link(place / "current"),
        "keeper": _link(place / "keeper"),
        "state": _object(place / "state.json"),
        "release": _object(place / "current" / "release.json"),
        "health": _object(place / "run" / "status.json"),
        "failures": _object(place / "run" / "failures.json"),
        "trusted": _read(place / "trusted.pub"),
        "environments": sorted(path.parent.name for path in place.glob("environments/*/complete")),
    }


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(_MOST)
    except OSError:
        return ""


def _object(path: Path) -> object:
    try:
        return json.loads(_read(path))
    except ValueError:
        return None


def _link(path: Path) -> str | None:
    try:
        return path.readlink().name
    except OSError:
        return None


def _first_number(path: str) -> float | None:
    try:
        return float(_read(Path(path)).split()[0])
    except (IndexError, ValueError):
        return None


def _celsius() -> float | None:
    found = []
    for path in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        text = _read(path).strip()
        if text.lstrip("-").isdigit() and 0 < int(text) < 150000:
            found.append(int(text) / 1000)
    return max(found) if found else None


def _warnings() -> list[str]:
    """Return what the board reports of power and heat, and of a clock that is not set."""
    found = []
    for path in Path("/sys/devices/platform/soc").glob("soc*firmware/get_throttled"):
        try:
            bits = int(_read(path).strip(), 16)
        except ValueError:
            continue
        found += [name for bit, name in _THROTTLED.items() if bits >> bit & 1]
    if time.time() < 1600000000:  # 2020: a board without a clock and without a network
        found.append("clock not set")
    celsius = _celsius()
    if celsius is not None and celsius >= 80:
        found.append(f"{celsius:.0f} degrees Celsius")
    return found


def _free(place: Path) -> int | None:
    there = next((one for one in [place, *place.parents] if one.exists()), Path("/"))
    try:
        return shutil.disk_usage(str(there)).free >> 20
    except OSError:
        return None


def _has(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _user() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    except (ImportError, KeyError):
        return "nobody"


def _unit(service: str) -> str:
    given = os.environ.get("SYSTEMD_UNIT_PATH", "").split(":")[0]
    if given:
        return _read(Path(given, service + ".service"))
    if os.geteuid() == 0:
        return _read(Path("/etc/systemd/system", service + ".service"))
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return _read(Path(base, "systemd", "user", service + ".service"))


def _systemctl(*words: str) -> str | None:
    environment = dict(os.environ)
    runtime = f"/run/user/{os.geteuid()}"
    if os.geteuid() and Path(runtime).is_dir():
        environment.setdefault("XDG_RUNTIME_DIR", runtime)
    try:
        done = subprocess.run(
            ["systemctl", *([] if os.geteuid() == 0 else ["--user"]), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = done.stdout.decode("utf-8", "replace")
    return text if done.returncode == 0 or text.strip() else None


if __name__ == "__main__":
    print(json.dumps(board_facts(*sys.argv[1:])))  # noqa: T201
