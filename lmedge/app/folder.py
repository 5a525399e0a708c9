"""The folder of the page: the built page, a .tflite, and what a browser needs to install both."""

from __future__ import annotations

import hashlib
import html
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import LmedgeError, MissingDependencyError
from ..files import check_folder, replacing_together, writing
from ..model_file import ModelFile
from .icons import MASKABLE, SIZES, icon

BUILT = Path(__file__).with_name("built")
VERSION_FILE = "app.json"
SCHEMA = 1
# What an earlier call wrote, and no other file.
OLDER = ("assets/*", "icons/icon-*.png", "litert/litert_*", "*.tflite")
_TITLE = "<title>lmedge</title>"


def write_app(model: ModelFile, folder: Path, *, name: str, title: str) -> None:
    """Write the page of a file into a folder that any static host can serve.

    app.json is written last: a folder with it is complete. A folder that an earlier call wrote is
    replaced; other files in it stay.

    Args:
        model: The checked file, with bytes as input.
        folder: A new or empty folder, or one that holds a page.
        name: Name under the icon of the installed page.
        title: Title of the page.

    Raises:
        LmedgeError: The file cannot run in a browser, the folder holds something else, or a file
            cannot be written.
        MissingDependencyError: The page was not built.
    """
    if model.image.dtype != "uint8":
        raise LmedgeError(
            f"{model.path}: browsers cannot run int8 pixels and logits; export it without --io int8"
        )
    check_app_folder(folder)
    content = dict(_content(model, name=name, title=title))
    entries = [
        {"path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in sorted(content.items())
    ]
    whole = hashlib.sha256(json.dumps(entries).encode()).hexdigest()
    about = {
        "schema": SCHEMA,
        "title": title,
        "version": whole[:16],
        "model": {"file": model_name(model), "name": model.path.name, "sha256": model.sha256},
        "files": entries,
    }
    content[VERSION_FILE] = (json.dumps(about, ensure_ascii=False, indent=1) + "\n").encode()
    with replacing_together(folder, VERSION_FILE, OLDER) as staged:
        for path, data in content.items():
            with writing(folder / path):
                (staged / path).parent.mkdir(parents=True, exist_ok=True)
                (staged / path).write_bytes(data)


def check_app_folder(folder: Path) -> None:
    """Raise LmedgeError unless `folder` is new, empty or holds a page already."""
    if folder.exists() and not folder.is_dir():
        raise LmedgeError(f"{folder} is a file; name a folder with -o")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / VERSION_FILE).is_file():
        raise LmedgeError(
            f"{folder} holds other files and no {VERSION_FILE}; name a new folder with -o"
        )
    check_folder(folder)


def model_name(model: ModelFile) -> str:
    """Return the name of the .tflite in the folder.

    The first digits of its hash are part of it, so that no cache on the way returns an older one.
    """
    return f"model-{model.sha256[:12]}.tflite"


def _content(model: ModelFile, *, name: str, title: str) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of every file but app.json."""
    if not (BUILT / "index.html").is_file():
        raise MissingDependencyError(
            "the page is not in this lmedge; in a clone, `make app` builds it with Node"
        )
    for path in sorted(path for path in BUILT.rglob("*") if path.is_file()):
        inside, data = path.relative_to(BUILT).as_posix(), path.read_bytes()
        if inside == "index.html":
            page = data.decode().replace(_TITLE, f"<title>{html.escape(title)}</title>")
            data = page.encode()
        if path.suffix == ".xz":
            yield from _archived(path)
        else:
            yield inside, data
    for size in SIZES:
        yield f"icons/icon-{size}.png", icon(size)
    for size in MASKABLE:
        yield f"icons/icon-maskable-{size}.png", icon(size, maskable=True)
    yield "manifest.webmanifest", _manifest(name, title)
    yield model_name(model), model.data


def _archived(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of every file in an archive: the builds of LiteRT.js."""
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member)
            yield member.name, b"" if content is None else content.read()


def _manifest(name: str, title: str) -> bytes:
    icons = [_icon_entry(f"icon-{size}.png", size, "any") for size in SIZES]
    icons += [_icon_entry(f"icon-maskable-{size}.png", size, "maskable") for size in MASKABLE]
    manifest = {
        "name": title,
        "short_name": name,
        "id": "./",
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#101418",
        "theme_color": "#101418",
        "icons": icons,
    }
    return (json.dumps(manifest, ensure_ascii=False, indent=1) + "\n").encode()


def _icon_entry(name: str, size: int, purpose: str) -> dict[str, str]:
    return {
        "src": f"icons/{name}",
        "sizes": f"{size}x{size}",
        "type": "image/png",
        "purpose": purpose,
    }
