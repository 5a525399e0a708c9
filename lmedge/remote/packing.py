"""A wheel of the device's part of lmedge, made of the files of this installation.

An installed lmedge has no source tree to build from, but its modules and metadata are enough. The
wheel requires the OpenCV without windows: nothing opens one there, and the other needs libraries
of a desktop (libGL, libX11), which boards often lack.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.metadata
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import lmedge

from ..errors import LmedgeError

ROOMS = ("lmedge", "lmedge.benchmarks")
SUFFIXES = {".py", ".typed", ".html", ".jinja"}
_LEFT_OUT = {"__pycache__", "results", "train", "export", "benchmarks", "studies", "built"}
_DATE = (2020, 1, 1, 0, 0, 0)  # the same files give the same bytes
_WITH_WINDOWS = re.compile(r"^(Requires-Dist: opencv-python)(?![\w-])", re.MULTILINE)


def write_wheel(folder: Path) -> Path:
    """Write lmedge-VERSION-py3-none-any.whl to `folder`, with the device part and benchmarks.

    Training and export are left out, since they need TensorFlow. Raises LmedgeError if lmedge runs
    from loose files, without metadata.
    """
    try:
        distribution = importlib.metadata.distribution("lmedge")
    except importlib.metadata.PackageNotFoundError as error:
        raise LmedgeError("lmedge is not installed here; run `pip install -e .` first") from error
    described = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    info = f"lmedge-{lmedge.__version__}.dist-info"
    content = dict(_modules())
    content[f"{info}/METADATA"] = _WITH_WINDOWS.sub(r"\1-headless", described).encode()
    content[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: lmedge\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    content[f"{info}/entry_points.txt"] = b"[console_scripts]\nlmedge = lmedge.cli:main\n"
    record = [f"{name},sha256={_hash(data)},{len(data)}" for name, data in content.items()]
    record += [f"{info}/RECORD,,", ""]
    content[f"{info}/RECORD"] = "\n".join(record).encode()
    path = folder / f"lmedge-{lmedge.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED)
    return path


def unpack(wheel: Path, folder: Path) -> None:
    """Unpack a wheel into a folder that Python can have on its path."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)


def _modules() -> Iterator[tuple[str, bytes]]:
    """Yield the name in the wheel and the content of every file of the ROOMS."""
    for room in ROOMS:
        (root,) = map(Path, importlib.import_module(room).__path__)
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root)
            if path.suffix in SUFFIXES and not _LEFT_OUT & set(inside.parts):
                yield f"{room.replace('.', '/')}/{inside.as_posix()}", path.read_bytes()


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
