"""Files that take seconds to make, kept on disk until something that they depend on changes.

A maker runs in a process of its own, which notes every file of the checkout that it reads. What it
made is used again, by all workers and by later calls of pytest, while these files and the packages
are the same.

    python -m tests.kept NAME FOLDER
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import quick
from tests.locations import ROOT

KEPT = ROOT / ".pytest_cache" / "d" / "kept"
# What is kept: the module whose `make_all(folder)` makes it.
MAKERS = {"tiny": "tests.tiny_file", "run": "tests.small_run"}
# Another environment that makes them, if the tests run in one without TensorFlow.
MAKER = os.environ.get("LMEDGE_KEPT_PYTHON")
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


@functools.cache
def folder(name: str) -> Path:
    """Return the folder that a maker filled, now or earlier. Shared: not to be changed."""
    if MAKER:
        return _made_elsewhere(name)
    KEPT.mkdir(parents=True, exist_ok=True)
    index = KEPT / f"{name}.json"
    with _lock(KEPT / f"{name}.lock"):
        if (there := _valid(index)) is not None:
            return there
        began = time.time()
        made = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=KEPT))
        with quick.lifted():
            process = subprocess.run(
                [sys.executable, "-m", "tests.kept", name, str(made)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
        if process.returncode:
            raise RuntimeError(f"tests.kept {name}: {process.stderr}")
        read: dict[str, str] = json.loads(process.stdout.splitlines()[-1])
        about = {
            "folder": made.name,
            "content": digest(made),
            "machine": _machine(),
            "read": read,
        }
        if any((ROOT / path).stat().st_mtime > began for path in read):
            return made  # edited meanwhile: used this once
        beside = index.with_suffix(".new")
        beside.write_text(json.dumps(about, indent=1), "utf-8")
        _remove_older(name)
        beside.replace(index)
    return made


def _made_elsewhere(name: str) -> Path:
    code = f"from tests import kept; print(kept.folder({name!r}))"
    environment = {key: value for key, value in os.environ.items() if key != "LMEDGE_KEPT_PYTHON"}
    with quick.lifted():
        printed = subprocess.run(
            [str(MAKER), "-c", code],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return Path(printed.splitlines()[-1])


def digest(folder: Path) -> str:
    """Return the SHA-256 of the names and bytes below a folder."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(folder)}\0{_hash(path)}\n".encode())
    return total.hexdigest()


def _valid(index: Path) -> Path | None:
    """Return the folder of an index if nothing that it depends on has changed."""
    if not index.exists():
        return None
    about: dict[str, Any] = json.loads(index.read_text("utf-8"))
    made = KEPT / about["folder"]
    same = (
        about["machine"] == _machine()
        and all(_hash(ROOT / name) == sha256 for name, sha256 in about["read"].items())
        and about["content"] == digest(made)
    )
    return made if same else None


def _remove_older(name: str) -> None:
    """Remove all but the newest three folders; another call of pytest may be reading one."""
    folders = [path for path in KEPT.glob(f"{name}-*") if path.is_dir()]
    for path in sorted(folders, key=lambda path: path.stat().st_mtime)[:-3]:
        shutil.rmtree(path)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "absent"


@functools.cache
def _machine() -> list[str]:
    """Return what the files depend on beside the checkout."""
    packages = {f"{one.name}=={one.version}" for one in importlib.metadata.distributions()}
    threads = [f"{name}={os.environ.get(name)}" for name in THREADS]
    return [str(ROOT), sys.version, *os.uname(), *threads, *sorted(packages)]


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    import fcntl

    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def main(name: str, made: Path) -> None:
    """Fill a folder and print the SHA-256 of each file of the checkout that was read."""
    opened: set[str] = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            opened.add(os.fsdecode(arguments[0]))

    sys.addaudithook(note)
    importlib.import_module(MAKERS[name]).make_all(made)
    loaded = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    paths = {Path(one).resolve() for one in opened | loaded if one}
    inside = {path.relative_to(ROOT) for path in paths if path.is_relative_to(ROOT)}
    ours = {path for path in inside if not path.parts[0].startswith(".") and path.suffix != ".pyc"}
    files = {str(path): _hash(ROOT / path) for path in sorted(ours) if (ROOT / path).is_file()}
    print(json.dumps(files))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
