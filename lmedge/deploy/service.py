"""The service on a board: a systemd unit, of the system for root and of the user otherwise."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path

from ..errors import DeployError
from .state import Reason
from .store import Store

NAME = "lmedge"
USER = "lmedge"  # who runs the service if root deploys
_GROUPS = {"video", "render"}
_SECONDS = 90.0
_SLACK = 30  # seconds that the watchdog waits longer than the keeper
_UNIT = """\
# Written by `lmedge deploy`, which replaces it.
[Unit]
Description=lmedge: classify the camera's frames
Documentation=man:systemd.service(5)
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=all
ExecStart="{folder}/keeper/run" board keep "{folder}"
Environment=PYTHONUNBUFFERED=1 PYTHONUTF8=1
EnvironmentFile=-{folder}/environment
WorkingDirectory={folder}
RuntimeDirectory={name}
RuntimeDirectoryPreserve=restart
WatchdogSec={watchdog}
TimeoutStartSec={start}
TimeoutStopSec=30
Restart=always
RestartSec=2
OOMPolicy=continue
NoNewPrivileges=yes
{limits}{protection}
[Install]
WantedBy={target}
"""
_PROTECTION = """\
User={user}
{groups}ProtectSystem=strict
ReadWritePaths="{folder}"
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """The limits of the service.

    Attributes:
        name: Name of the unit.
        stall: Seconds without a classified frame after which the keeper starts the camera again.
        memory_mb: Megabytes that it may take; None has no limit.
        cpu_percent: Share of one core that it may take, 200 for two; None has no limit.
    """

    name: str = NAME
    stall: float = 60.0
    memory_mb: int | None = None
    cpu_percent: int | None = None

    def __post_init__(self) -> None:
        """Raise DeployError unless the name can be that of a unit."""
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", self.name):
            raise DeployError(
                f"service {self.name!r}: write it in small letters, digits and dashes"
            )


def camera_groups() -> dict[str, int]:
    """Return the groups of this machine that may open cameras, with their numbers."""
    try:
        import grp
    except ImportError:  # Windows
        return {}
    return {one.gr_name: one.gr_gid for one in grp.getgrall() if one.gr_name in _GROUPS}


def unit_text(folder: Path, options: ServiceOptions, *, system: bool, user: str = USER) -> str:
    """Return the text of the unit. Raises DeployError if the folder's name cannot stand there."""
    if not re.fullmatch(r"/[\w./+@ -]+", str(folder), re.ASCII):
        raise DeployError(f"{folder}: has letters that a unit reads otherwise; name another")
    limits = ""
    if options.memory_mb is not None:
        limits += f"MemoryMax={options.memory_mb}M\n"
    if options.cpu_percent is not None:
        limits += f"CPUQuota={options.cpu_percent}%\n"
    protection = ""
    if system:
        groups = f"SupplementaryGroups={' '.join(camera_groups())}\n" if camera_groups() else ""
        protection = _PROTECTION.format(user=user, folder=folder, groups=groups)
    return _UNIT.format(
        folder=folder,
        name=options.name,
        watchdog=round(options.stall) + _SLACK,
        start=max(180, round(options.stall) + 2 * _SLACK),
        limits=limits,
        protection=protection,
        target="multi-user.target" if system else "default.target",
    )


class Service:
    """The unit of a board, by systemctl; without systemd only `available` may be asked."""

    def __init__(self, store: Store, options: ServiceOptions, *, system: bool | None = None):
        """Take the folder and the limits; `system` is true for root unless given."""
        self.options = options
        self.system = os.geteuid() == 0 if system is None else system
        self._store = store
        self._environment = dict(os.environ)
        runtime = f"/run/user/{os.geteuid()}"
        if not self.system and Path(runtime).is_dir():  # ssh without PAM does not set it
            self._environment.setdefault("XDG_RUNTIME_DIR", runtime)

    @property
    def unit(self) -> str:
        """Name of the unit."""
        return f"{self.options.name}.service"

    @property
    def path(self) -> Path:
        """Path of the unit's file; SYSTEMD_UNIT_PATH names another folder, as for systemd."""
        if given := os.environ.get("SYSTEMD_UNIT_PATH", "").split(":")[0]:
            return Path(given) / self.unit
        if self.system:
            return Path("/etc/systemd/system") / self.unit
        base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        return Path(base) / "systemd" / "user" / self.unit

    def available(self) -> bool:
        """Return True if systemd runs here and answers this user."""
        if shutil.which("systemctl") is None:
            return False
        return self._call("show", "--property=Version")[0] == 0

    def text(self) -> str | None:
        """Return the text of the unit that is installed, None if there is none."""
        try:
            return self.path.read_text("utf-8")
        except OSError:
            return None

    def install(self, text: str) -> bool:
        """Write the unit and enable it; return False if it was so before."""
        if self.text() == text and self.path.exists() and self.enabled():
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f".{self.path.name}.new")
        with fresh.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(self.path)
        self._must("daemon-reload")
        self._must("enable", self.unit)
        return True

    def enabled(self) -> bool:
        """Return True if the service starts with the board."""
        return self._call("is-enabled", self.unit)[0] == 0

    def active(self) -> bool:
        """Return True if the service runs, or is about to."""
        return self._call("is-active", self.unit)[1].strip() in {"active", "activating"}

    def restart(self) -> None:
        """Start the service anew, without waiting for the first frame. Raises DeployError."""
        self._must("reset-failed", self.unit, needed=False)
        self._must("restart", "--no-block", self.unit)

    def remove(self) -> None:
        """Stop the service, and remove the unit."""
        self._must("disable", "--now", self.unit, needed=False)
        self.path.unlink(missing_ok=True)
        self._must("daemon-reload", needed=False)

    def _must(self, *words: str, needed: bool = True) -> None:
        code, text = self._call(*words)
        if code and needed:
            last = (text.strip().splitlines() or [f"exit code {code}"])[-1]
            raise DeployError(f"systemctl {words[0]}: {last}", Reason.SERVICE)

    def _call(self, *words: str) -> tuple[int, str]:
        command = ["systemctl", *([] if self.system else ["--user"]), *words]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env=self._environment,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return 1, str(error)
        return done.returncode, done.stdout or done.stderr
