"""A good .tflite taken apart and put together again, with its checksums renewed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import warnings
import zipfile

import numpy as np

from lmedge.archive import CHECKSUM, NO_CHECKSUM, content_digest

Rng = np.random.Generator
Entries = dict[str, bytes]


def parts(good: bytes) -> tuple[bytes, Entries]:
    """Return the graph and the associated files."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    return good[: json.loads(entries["lmedge.json"])["model_bytes"]], entries


def joined(
    body: bytes,
    entries: Entries,
    *,
    signed: bool = True,
    extra: Entries | None = None,
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """Put a file together again; `signed` renews both checksums, as an attacker would."""
    if signed:
        with contextlib.suppress(KeyError, TypeError, ValueError):  # the mutation took the place
            entries = sign(body, entries, extra or {})
    stream = io.BytesIO(body)
    stream.seek(0, io.SEEK_END)
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "a", method) as archive:
        warnings.simplefilter("ignore")  # names that stand twice
        for name, data in [*entries.items(), *(extra or {}).items()]:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


def sign(body: bytes, entries: Entries, extra: Entries) -> Entries:
    """Return the entries with the checksums of a graph and of themselves."""
    info = json.loads(entries["lmedge.json"])
    info["model_bytes"], info["model_sha256"] = len(body), hashlib.sha256(body).hexdigest()
    info[CHECKSUM] = NO_CHECKSUM
    text = json.dumps(info)
    digest = content_digest({**entries, **extra, "lmedge.json": text.encode()})
    return {**entries, "lmedge.json": text.replace(NO_CHECKSUM, digest, 1).encode()}
