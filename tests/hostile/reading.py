"""What every command does with a file before the runtime has it, and mutations of a file for it.

Both are for a fuzzer (fuzz.py), which brings the bytes and the way to change them.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lmedge.base_file import BaseFile, parse_any
from lmedge.commands.inspect import inspect, list_labels
from lmedge.errors import LmedgeError

from .corpus import WRONG
from .files import Entries, Rng, joined, parts

SECONDS = 1.0  # of a processor, for one file
MEGABYTES = 200  # that reading one file may add to the most that the process took
INFO = "lmedge.json"
Change = Callable[[bytes, int], bytes]


class SlowError(Exception):
    """A file took more time or memory than its reading may take."""


def read(data: bytes, path: Path) -> bool:
    """Read a file as `lmedge inspect` and `lmedge labels` do; return False if it was refused.

    Args:
        data: The bytes of the file.
        path: Where the commands find it; it is written only if its bytes are accepted.

    Raises:
        SlowError: It took too long or too much memory.
        Exception: Any other is a defect.
    """
    began, memory = time.process_time(), _megabytes()
    accepted = True
    try:
        found = parse_any(data, path)
        path.write_bytes(data)
        with contextlib.redirect_stdout(io.StringIO()):
            for as_json in (False, True):
                if not isinstance(found, BaseFile):
                    _call(list_labels.callback, path, as_json=as_json)
                _call(inspect.callback, path, as_json=as_json, check=False)
    except LmedgeError:
        accepted = False
    seconds, added = time.process_time() - began, _megabytes() - memory
    if seconds > SECONDS or added > MEGABYTES:
        raise SlowError(f"{seconds:.1f} s and {added:.0f} MB for {len(data)} bytes")
    return accepted


def changed(data: bytes, longest: int, seed: int, change: Change) -> bytes:
    """Return a file changed as a whole, or in one part and with its checksums renewed.

    Without new checksums nearly every change of the graph or of the metadata ends at the checksum.

    Args:
        data: The bytes of a file, or any other.
        longest: The most bytes to return.
        seed: Chooses the part.
        change: Changes bytes to at most so many.
    """
    rng = np.random.default_rng(seed)
    choice = int(rng.integers(10))
    try:
        body, entries = parts(data)
        if choice < 1 or not 0 < len(body) < len(data):
            return change(data, longest)
        room = longest - len(data)
        if choice < 2:
            found = body + change(data[len(body) :], longest - len(body))
        elif choice < 5:
            found = joined(change(body, len(body) + room), entries)
        else:
            found = joined(body, _entries(entries, room, choice - 5, rng, change))
    except Exception:  # bytes that are no archive, or no longer one
        return change(data, longest)
    return found if len(found) <= longest else change(data, longest)


def _entries(entries: Entries, room: int, choice: int, rng: Rng, change: Change) -> Entries:
    """Return the associated files with a change of one, of a value in the JSON, or of a label."""
    name = INFO if choice < 1 else sorted(entries)[int(rng.integers(len(entries)))]
    if choice < 2:
        return {**entries, name: change(entries[name], len(entries[name]) + room)}
    if choice < 4:
        info = json.loads(entries[INFO])
        places = list(_places(info))
        holder, key = places[int(rng.integers(len(places)))]
        holder[key] = WRONG[int(rng.integers(len(WRONG)))]
        return {**entries, INFO: json.dumps(info).encode()}
    labels = list(json.loads(entries[INFO])["hierarchy"])
    old = labels[int(rng.integers(len(labels)))].encode()
    new = change(old, 1 + room // 8).replace(b'"', b"'")
    return {name: content.replace(old, new) for name, content in entries.items()}


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a value inside another, as the holder and the key."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _call(command: Callable[..., None] | None, path: Path, **options: bool) -> None:
    assert command is not None
    command(path, **options)


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
