"""A fake systemctl that records its calls, and starts and restarts the unit as systemd would.

`install(folder)` writes it as a program; FAKE_SYSTEMD names its folder for that program.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

PROGRAM = """#!/bin/sh
# The processes of a fake service: $FAKE_SYSTEMD/<unit>.pid is a shell that starts it again.
echo "$*" >>"$FAKE_SYSTEMD/calls"
[ "$1" = --user ] && shift
[ -e "$FAKE_SYSTEMD/broken" ] && { echo "Failed to connect to bus" >&2; exit 1; }
verb=$1 unit=
for word in "$@"; do case $word in *.service) unit=$word;; esac; done
state="$FAKE_SYSTEMD/$unit"
file="$FAKE_SYSTEMD/units/$unit"
stop() {
  [ -e "$state.pid" ] || return 0
  kill "$(cat "$state.pid")" 2>/dev/null
  i=0; while kill -0 "$(cat "$state.pid")" 2>/dev/null && [ $i -lt 200 ]; do
    i=$((i + 1)); sleep 0.05; done
  rm -f "$state.pid"
}
case $verb in
show) echo Version=252;;
enable) : >"$state.enabled";;
disable) rm -f "$state.enabled"; stop;;
is-enabled) [ -e "$state.enabled" ];;
is-active)
  if [ -e "$state.pid" ] && kill -0 "$(cat "$state.pid")" 2>/dev/null
  then echo active; else echo inactive; exit 3; fi;;
restart)
  stop
  command=$(sed -n 's/^ExecStart=//p' "$file")
  nohup sh -c 'trap "kill \\$child 2>/dev/null; wait; exit 0" TERM
    while :; do '"$command"' & child=$!; wait $child; sleep 0.1; done' \\
    >"$state.log" 2>&1 </dev/null &
  echo $! >"$state.pid";;
*) ;;
esac
"""


class FakeSystemd:
    """The folder of a fake systemctl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "units").mkdir(parents=True)
        (folder / "bin").mkdir()
        program = folder / "bin" / "systemctl"
        program.write_text(PROGRAM)
        program.chmod(0o755)
        for name in ("id", "chown"):  # of the script that makes the user of a service
            (folder / "bin" / name).write_text("#!/bin/sh\nexit 0\n")
            (folder / "bin" / name).chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which it is found before any other."""
        return {
            "FAKE_SYSTEMD": str(self.folder),
            "SYSTEMD_UNIT_PATH": str(self.folder / "units"),
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin",
        }

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def stop(self) -> None:
        """End every service."""
        for path in self.folder.glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(path.read_text())
                os.kill(pid, signal.SIGTERM)
                for _ in range(200):
                    os.kill(pid, 0)
                    time.sleep(0.05)
