"""Boards for tests: a folder, and environments whose `lmedge` is a script of a few lines.

The content of a release's file chooses what that script does: `well`, `crash`, `gone` (no camera),
`silent`, `heavy` (memory), `slow`, `golden` and `blind` (refused by a check). A camera takes over
the file that `status.json.taught` beside its status names.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lmedge.deploy.keeper import Keeper
from lmedge.deploy.release import RELEASE_FILE, Release
from lmedge.deploy.store import Store

ENVIRONMENT = "0123456789abcdef"
# A keeper with short pauses, under a supervisor that starts it again.
SUPERVISED = """
import pathlib, signal, sys, time
from lmedge.deploy.keeper import Keeper
from lmedge.deploy.store import Store
from lmedge.errors import DeployError
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    try:
        if Keeper(Store(pathlib.Path(sys.argv[1])), back_off=(0.05, 0.2), look=0.05).run() == 0:
            break
    except DeployError as error:
        print(error, file=sys.stderr)
        time.sleep(0.1)
"""
RUN = r"""#!/bin/sh
[ "$1" = board ] && exec "@python" -c "$(cat "@program")" "$3"
[ "$1" = -q ] && shift
verb=$1 file=$2 status= once= out=; shift 2
kind=$(cat "$file"); kind=${kind%% *}
while [ $# -gt 0 ]; do
  case $1 in --status) status=$2;; --frames) once=1;; --out) out=$2;; esac; shift
done
case "$verb:$kind" in
inspect:golden) echo "lmedge: $file: gives other answers here; update" >&2; exit 4;;
inspect:old) echo "lmedge: $file: the runtime is too old for it" >&2; exit 4;;
benchmark:*)
  ms=5; [ "$kind" = slow ] && ms=90
  echo '{"latency": {"end_to_end_ms": {"p50": '$ms', "p90": '$ms'}}}' >"$out/report.json"; exit 0;;
camera:*) ;;
*) exit 0;;
esac
if [ -n "$once" ]; then
  [ "$kind" = blind ] && { echo "lmedge: 0: does not open" >&2; exit 7; }
  exit 0
fi
read -r boot </proc/sys/kernel/random/boot_id
if [ "$kind" = gone ]; then
  printf '{"pid": %d, "boot": "%s", "frames": 0, "first": 0, "last": 0,' $$ "$boot" >"$status"
  printf '"known": false, "frames_per_second": 0, "memory_mb": null,' >>"$status"
  printf '"errors": 1, "last_error": "camera 0 does not open"}' >>"$status"
  exit 7
fi
case $kind in crash) exit 3;; silent) exec sleep 600;; esac
memory=50.0; [ "$kind" = heavy ] && memory=5000.0
known=false; [ "$kind" = busy ] && known=true
first=; n=0
while :; do
  n=$((n + 1)); read -r now _ </proc/uptime; : "${first:=$now}"
  if [ -r "$status.taught" ]; then
    read -r file <"$status.taught"; rm "$status.taught"; n=1 first=$now
  fi
  printf '{"file": "%s",' "$file" >"$status.new"
  printf '"pid": %d, "boot": "%s", "frames": %d, "first": %s, "last": %s, "known": %s,' \
    $$ "$boot" $n "$first" "$now" $known >>"$status.new"
  printf '"frames_per_second": 20.0, "memory_mb": %s}' $memory >>"$status.new"
  mv "$status.new" "$status"; sleep 0.05
done
"""


def board(folder: Path) -> Store:
    """Return an empty board with one environment."""
    store = Store(folder)
    store.prepare()
    environment = store.environments / ENVIRONMENT
    environment.mkdir()
    (environment / "keeper.py").write_text(SUPERVISED)
    text = RUN.replace("@python", sys.executable)
    (environment / "run").write_text(text.replace("@program", str(environment / "keeper.py")))
    (environment / "run").chmod(0o755)
    (environment / "complete").touch()
    return store


def release(kind: str, folder: Path, **settings: object) -> tuple[Release, Path]:
    """Return a release whose file holds `kind`, and the path of that file as it would arrive."""
    incoming = folder / f"incoming {kind}"
    incoming.mkdir(exist_ok=True)
    path = incoming / "landmarks.tflite"
    path.write_text(kind)
    values = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "environment": ENVIRONMENT,
        "watch": 0.3,
        **settings,
    }
    made = Release(**values)  # type: ignore[arg-type]
    (incoming / RELEASE_FILE).write_text(made.text())
    return made, path


def put(store: Store, kind: str, folder: Path, *, good: bool = True, **settings: object) -> Release:
    """Add a release as if it had been good, and make it the current one."""
    from lmedge.deploy.state import State

    made, path = release(kind, folder, **settings)
    store.add(made, path, None)
    store.switch(made.name)
    store.link("keeper", f"environments/{ENVIRONMENT}")
    if good:
        store.change(lambda state: State(good=(made.name, *state.good)))
    return made


@contextlib.contextmanager
def kept(store: Store) -> Iterator[subprocess.Popen[bytes]]:
    """Run a keeper under a supervisor that starts it again, as systemd does."""
    process = subprocess.Popen([sys.executable, "-c", SUPERVISED, store.folder])
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def keep_once(store: Store) -> int:
    """Run a keeper in this process until its camera ends."""
    return Keeper(store, back_off=(0.01, 0.05), look=0.02).run()


def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def cut_at(number: int, work: Callable[[], object]) -> bool:
    """Do `work` in a child process that dies before its step `number` on the disk.

    Steps are what the disk sees: a rename, a link, a flush, a new folder, a removal. Returns False
    if the work was done before.
    """
    child = os.fork()
    if child == 0:
        steps = iter(range(number))

        def counted(module: object, name: str) -> None:
            real = getattr(module, name)

            def step(*arguments: object, **options: object) -> object:
                if next(steps, None) is None:
                    os._exit(77)
                return real(*arguments, **options)

            setattr(module, name, step)

        for name in ("replace", "rename", "symlink", "fsync", "mkdir", "unlink", "rmdir"):
            counted(os, name)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77


def environment_without_index(monkeypatch: pytest.MonkeyPatch, links: Path) -> None:
    """Let pip know of one folder of wheels and of no index, whatever is configured here."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
