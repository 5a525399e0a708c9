"""Put the built page and LiteRT.js into lmedge/app/built, or check that they are there.

    python page/pack.py [--check]

`npm run build` has built the page into build/page. The wasm files are stored as xz, a fifth of
their bytes. Two versions of xz may compress differently, so contents are compared.
"""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "build" / "page"
BUILT = ROOT / "lmedge" / "app" / "built"
PACKAGE = ROOT / "page" / "node_modules" / "@litertjs" / "core"
LOADERS = ("litert_wasm_internal", "litert_wasm_compat_internal")
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
    for name in LOADERS:
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
        name, data = path.relative_to(BUILT).as_posix(), path.read_bytes()
        found[name.removesuffix(".xz")] = lzma.decompress(data) if path.suffix == ".xz" else data
    return found


def main(arguments: list[str]) -> None:
    """Write or check lmedge/app/built."""
    new, old = wanted(), packed()
    changed = sorted(name for name in {*new, *old} if new.get(name) != old.get(name))
    if arguments == ["--check"]:
        if changed:
            sys.exit(f"{BUILT}: not the page of the sources ({', '.join(changed)}); run `make app`")
        return
    for name in changed:
        stored = BUILT / (f"{name}.xz" if name.endswith(".wasm") else name)
        if name not in new:
            stored.unlink()
            continue
        stored.parent.mkdir(parents=True, exist_ok=True)
        data = new[name]
        stored.write_bytes(lzma.compress(data, preset=9) if stored.suffix == ".xz" else data)


if __name__ == "__main__":
    main(sys.argv[1:])
