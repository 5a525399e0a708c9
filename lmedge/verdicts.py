"""Files that survived their trial here, kept so that a command need not try them again.

The list is in the cache folder. It is used only if this user alone can have written it: a file and
a folder of this user that nobody else may write, and no link.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
from typing import Any

from . import machine
from .errors import LmedgeError
from .files import cache_folder, write_json
from .regular import is_regular

_FILE = "trials.json"
_KEPT = 64  # the newest; each is 64 characters
_MOST_BYTES = 64 << 10
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def verdict_key(sha256: str, package: str, limit: int) -> str:
    """Return the name of a trial, which is another one if anything changes that it depends on.

    Args:
        sha256: Digest of the whole file.
        package: Import name of the runtime, which is loaded. Its files count by size and time.
        limit: Bytes that a graph may take here.
    """
    version = str(vars(sys.modules[__package__ or ""])["__version__"])
    parts = [sha256, version, package, str(limit), machine.processor_model()]
    for name, module in sorted(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and name.partition(".")[0] == package:
            with contextlib.suppress(OSError):
                about = os.stat(path)  # noqa: PTH116
                parts.append(f"{name} {about.st_size} {about.st_mtime_ns}")
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()


def has_survived(key: str) -> bool:
    """Return True if the trial was survived before."""
    return key in _survivors()


def keep_verdict(key: str) -> None:
    """Remember that the trial was survived. Without a cache, or in another's, nothing is kept."""
    if _is_own_folder(missing=True):
        with contextlib.suppress(LmedgeError):
            known = [one for one in _survivors() if one != key]
            write_json(cache_folder() / _FILE, [*known, key][-_KEPT:])


def _survivors() -> list[str]:
    """Return the names of survived trials, the newest last; none of a list that others wrote."""
    if not _is_own_folder():
        return []
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        number = os.open(cache_folder() / _FILE, flags)
        with os.fdopen(number, "rb") as stream:
            about = os.fstat(number)
            if not (is_regular(about.st_mode) and _is_own(about)):
                return []
            content: Any = json.loads(stream.read(min(about.st_size, _MOST_BYTES)))
    except (OSError, ValueError, RecursionError):
        return []
    return [one for one in content if isinstance(one, str)] if isinstance(content, list) else []


def _is_own_folder(*, missing: bool = False) -> bool:
    """Return True if the cache folder is this user's alone; `missing` if there is none yet."""
    try:
        about = cache_folder().stat()
    except FileNotFoundError:
        return missing and hasattr(os, "geteuid")
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and _is_own(about)


def _is_own(about: os.stat_result) -> bool:
    """Return True if this user owns it and nobody else may write it; never without such owners."""
    return hasattr(os, "geteuid") and about.st_uid == os.geteuid() and not about.st_mode & _OTHERS
