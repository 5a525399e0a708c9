"""Processes whose disk is full from one write on, and the files that they leave."""

from __future__ import annotations

import functools
import json
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2

from lmedge.files import PREFIX
from lmedge.model_file import read_model

SOURCE = Path(__file__).with_name("shim.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")
SECONDS = 300.0


@functools.cache
def shim() -> Path:
    """Return the compiled library; it is made once for a process."""
    assert COMPILER is not None
    folder = Path(tempfile.mkdtemp(prefix="lmedge-shim-"))
    library = folder / "shim.so"
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", "-O2", str(SOURCE), "-o", str(library), "-ldl"], check=True
    )
    return library


def run(
    words: Sequence[str],
    under: Path,
    *,
    at: int = 0,
    kill: bool = False,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run a command whose write number `at`, from 1, and all later ones below `under` fail.

    With `kill` the process dies at that write, with half of its bytes written.

    Returns:
        The process and the number of writes that it began.
    """
    with tempfile.NamedTemporaryFile() as state:
        done = subprocess.run(
            list(words),
            capture_output=True,
            text=True,
            errors="replace",
            cwd=cwd,
            env={
                **os.environ,
                **(environment or {}),
                "LD_PRELOAD": str(shim()),
                "FAULT_UNDER": str(under.resolve()),
                "FAULT_STATE": state.name,
                "FAULT_AT": str(at),
                **({"FAULT_KILL": "1"} if kill else {}),
            },
            timeout=SECONDS,
            check=False,
        )
        (count,) = struct.unpack("=Q", Path(state.name).read_bytes())
    return done, count


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of each file below a folder that is not hidden, by its relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _hidden(path.relative_to(folder))
    }


def left_over(folder: Path) -> list[str]:
    """Return the temporary files and folders that were left below a folder."""
    return [str(path) for path in folder.rglob(f"{PREFIX}*")]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def half_written(folder: Path, *, killed: bool = False) -> list[str]:
    """Return the files below a folder whose content is not whole for their kind.

    A recording of a process that was `killed` may have an unfinished fragment if it plays.
    """
    return [
        name
        for name in files_of(folder)
        if not _is_whole(folder / name)
        and not (killed and name.endswith(".mp4") and _has_a_frame(folder / name))
    ]


def _is_whole(path: Path) -> bool:
    check = WHOLE.get(path.suffix)
    if check is None:
        return True
    try:
        return check(path)
    except Exception:  # every reader has errors of its own
        return False


def _ends_with(*ends: bytes) -> Callable[[Path], bool]:
    return lambda path: path.read_bytes().rstrip(b" ").endswith(ends)


def _read(reader: Callable[[Path], object]) -> Callable[[Path], bool]:
    """Return a check that passes if `reader` raises nothing."""
    return lambda path: (reader(path), True)[1]


def _are_lines(path: Path) -> bool:
    data = path.read_bytes()
    return data[-1:] in {b"", b"\n"} and all(
        isinstance(json.loads(x), dict) for x in data.split(b"\n") if x
    )


def _is_played(path: Path) -> bool:
    """Return True if the boxes of an mp4 fill the file and a frame can be read."""
    data, place = path.read_bytes(), 0
    while place + 8 <= len(data):
        place += max(8, int.from_bytes(data[place : place + 4], "big"))
    return place == len(data) and _has_a_frame(path)


def _has_a_frame(path: Path) -> bool:
    return bool(cv2.VideoCapture(str(path)).read()[0])


def _load_arrays(path: Path) -> None:
    import safetensors.numpy

    safetensors.numpy.load_file(path)


WHOLE: dict[str, Callable[[Path], bool]] = {
    ".json": _read(lambda path: json.loads(path.read_bytes())),
    ".jsonl": _are_lines,
    **dict.fromkeys((".csv", ".toml", ".txt", ".md"), _ends_with(b"\n")),
    ".html": _ends_with(b"</html>\n", b"</html>"),
    ".svg": _ends_with(b"</svg>\n", b"</svg>"),
    ".png": lambda path: path.read_bytes()[-8:-4] == b"IEND",
    ".jpg": _ends_with(b"\xff\xd9"),
    ".mp4": _is_played,
    ".tflite": _read(read_model),
    ".safetensors": _read(_load_arrays),
}
