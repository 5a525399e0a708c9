"""Put the built page and LiteRT.js into lmedge/app/built, or check that they are there.

    python page/pack.py [--check]

`npm run build` has built the page into build/page. The builds of LiteRT.js have 29 MB and much in
common, so they are stored as one archive of 2.6 MB. Two versions of xz may compress differently, so
contents are compared.
"""

from __future__ import annotations

import io
import json
import lzma
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "build" / "page"
BUILT = ROOT / "lmedge" / "app" / "built"
PACKAGE = ROOT / "page" / "node_modules" / "@litertjs" / "core"
ARCHIVE = "litert.tar.xz"
BUILDS = ("litert_wasm_internal", "litert_wasm_compat_internal", "litert_wasm_threaded_internal")
NOTICE = """\
The files of this folder are those of the npm package @litertjs/core {version},
Copyright Google LLC, under the Apache License, Version 2.0: see ../LICENSE.txt.
"""


def wanted() -> dict[str, bytes]:
    """Return the content of every file of the page, by its path."""
    found = {
        path.relative_to(PAGE).as_posix(): path.read_bytes()
        for path in PAGE.rglob("*")
        if path.is_file()
    }
    if "index.html" not in found:
        sys.exit(f"{PAGE}: no built page; run `npm run build` in page/ first")
    for name in BUILDS:
        for suffix in (".js", ".wasm"):
            found[f"litert/{name}{suffix}"] = (PACKAGE / "wasm" / f"{name}{suffix}").read_bytes()
    version = json.loads((PACKAGE / "package.json").read_text("utf-8"))["version"]
    found["litert/NOTICE.txt"] = NOTICE.format(version=version).encode()
    found["LICENSE.txt"] = (ROOT / "LICENSE").read_bytes()
    return found


def packed() -> dict[str, bytes]:
    """Return the content of every file in lmedge/app/built, unpacked."""
    found = {}
    for path in sorted(path for path in BUILT.rglob("*") if path.is_file()):
        if path.name != ARCHIVE:
            found[path.relative_to(BUILT).as_posix()] = path.read_bytes()
            continue
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member)
                found[member.name] = b"" if content is None else content.read()
    return found


def is_archived(name: str) -> bool:
    """Return true for a file that is stored in the archive."""
    return name.startswith("litert/litert_")


def archive(content: dict[str, bytes]) -> bytes:
    """Return an archive of files: one window of xz spans all of them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as written:
        for name, data in sorted(content.items(), key=lambda item: Path(item[0]).suffix):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            written.addfile(entry, io.BytesIO(data))
    return lzma.compress(stream.getvalue(), preset=9)


def main(arguments: list[str]) -> None:
    """Write or check lmedge/app/built."""
    new, old = wanted(), packed()
    changed = sorted(name for name in {*new, *old} if new.get(name) != old.get(name))
    if arguments == ["--check"]:
        if changed:
            sys.exit(f"{BUILT}: not the page of the sources ({', '.join(changed)}); run `make app`")
        return
    for name in changed:
        stored = BUILT / name
        if name not in new:
            stored.unlink(missing_ok=True)
        elif not is_archived(name):
            stored.parent.mkdir(parents=True, exist_ok=True)
            stored.write_bytes(new[name])
    if any(is_archived(name) for name in changed):
        archived = {name: data for name, data in new.items() if is_archived(name)}
        (BUILT / ARCHIVE).write_bytes(archive(archived))


if __name__ == "__main__":
    main(sys.argv[1:])
