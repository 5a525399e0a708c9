"""The photographs of a burst, kept in a folder as `lmedge train` and `lmedge teach` read it."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import LmedgeError
from ..files import write_bytes, writing
from ..regular import read_regular
from .destination import Destination
from .origin import COLUMNS, change_origin, read_origin

REASON = "taught"  # in origin.csv
_LARGEST = 64 << 20  # bytes of a photograph


def keep_burst(
    data: Path,
    landmark: str,
    category: str,
    images: Sequence[bytes],
    *,
    burst: str,
    camera: str,
    model: str,
) -> list[dict[str, str]]:
    """Write the photographs of a burst into `<category>/<landmark>/`, all of them or none.

    origin.csv names them as one burst before the first is there.

    Args:
        data: The folder, which is made if it is missing.
        landmark: Their landmark.
        category: Its category.
        images: JPEG images.
        burst: Name of the burst.
        camera: Name of the source, without secrets.
        model: SHA-256 of the file in use.

    Returns:
        Path below `data` and SHA-256 of each photograph that was not there before.

    Raises:
        DataError: The landmark has another category there.
        LmedgeError: The disk is full.
    """
    target = Destination(data, ())
    folder = target.folder_of(landmark, target.check_label(landmark, category))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    made, rows = {}, []
    for image in images:
        digest = hashlib.sha256(image).hexdigest()
        path = folder / f"{digest[:20]}.jpg"
        if path.exists():
            continue
        about = {
            "path": path.relative_to(data).as_posix(),
            "sha256": digest,
            "category": category,
            "landmark": landmark,
            "labelled": now,
            "reasons": REASON,
            "burst": burst,
            "camera": camera,
            "model": model,
        }
        rows.append({**dict.fromkeys(COLUMNS, ""), **about})
        made[path] = image
    kept = [{"path": row["path"], "sha256": row["sha256"]} for row in rows]
    try:
        change_origin(data, rows)
        for path, image in made.items():
            write_bytes(path, image)
    except BaseException:
        with contextlib.suppress(LmedgeError):
            remove_kept(data, kept)
        raise
    return kept


def remove_kept(data: Path, kept: Iterable[Mapping[str, Any]]) -> None:
    """Remove the photographs of a lesson that was taken back, unless somebody has changed them.

    Raises LmedgeError if the folder cannot be written.
    """
    known = {row["path"]: row["sha256"] for row in read_origin(data)}
    paths = [str(one.get("path")) for one in kept if known.get(str(one.get("path")))]
    for name in paths:
        path = data / name
        with writing(path):
            try:
                found = hashlib.sha256(read_regular(path, _LARGEST)).hexdigest()
            except FileNotFoundError:
                continue
            if found != known[name]:
                continue
            path.unlink()
            for folder in (path.parent, path.parent.parent):
                if folder != data and not any(folder.iterdir()):
                    folder.rmdir()
    if paths:
        change_origin(data, (), paths)
