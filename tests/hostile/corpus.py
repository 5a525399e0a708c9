"""Mutations of a good .tflite, the same for the same seed."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import structured
from .files import Rng, joined, parts

WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e308,
    2**63,
    "",
    "x" * 10_000,
    [],
    [[]],
    {},
    {"": None},
    ["a", 1],
    "\x1b[31m\nlmedge: ",
    "../../etc",
    [None] * 1000,
)


@dataclasses.dataclass(frozen=True)
class Hostile:
    """One mutated file."""

    kind: str
    number: int
    data: bytes


def corpus(good: bytes, count: int, seed: int = 0) -> Iterator[Hostile]:
    """Yield `count` mutations, the kinds in turn."""
    kinds = list(KINDS.items())
    for number in range(count):
        kind, make = kinds[number % len(kinds)]
        yield Hostile(kind, number, make(good, np.random.default_rng([seed, number])))


def _flipped(data: bytes, rng: Rng, low: int, high: int, count: int) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(low, high, count).tolist():
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncated(good: bytes, rng: Rng) -> bytes:
    return good[: int(rng.integers(len(good)))]


def flipped_anywhere(good: bytes, rng: Rng) -> bytes:
    return _flipped(good, rng, 0, len(good), int(rng.integers(1, 20)))


def flipped_archive(good: bytes, rng: Rng) -> bytes:
    return _flipped(good, rng, len(parts(good)[0]), len(good), int(rng.integers(1, 8)))


def flipped_graph_signed(good: bytes, rng: Rng) -> bytes:
    body, entries = parts(good)
    return joined(_flipped(body, rng, 0, len(body), int(rng.integers(1, 12))), entries)


def words_replaced_signed(good: bytes, rng: Rng) -> bytes:
    """Whole 32-bit words: offsets, sizes, shapes, operator codes and options."""
    body, entries = parts(good)
    changed = bytearray(body)
    values = (0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 65536, len(body), 1 << 28)
    for place in rng.integers(0, len(body) // 4, int(rng.integers(1, 4))).tolist():
        value = values[int(rng.integers(len(values)))]
        changed[4 * place : 4 * place + 4] = value.to_bytes(4, "little")
    return joined(bytes(changed), entries)


def wrong_identifier(good: bytes, rng: Rng) -> bytes:
    return good[:4] + rng.bytes(4) + good[8:]


def noise(_: bytes, rng: Rng) -> bytes:
    return rng.bytes(4) + b"TFL3" + rng.bytes(int(rng.integers(0, 4000)))


def _labels(rng: Rng) -> str:
    return ("landmark_labels.txt", "category_labels.txt")[int(rng.integers(2))]


def missing_file(good: bytes, rng: Rng) -> bytes:
    body, entries = parts(good)
    del entries[sorted(entries)[int(rng.integers(len(entries)))]]
    return joined(body, entries)


def swapped_labels(good: bytes, _: Rng) -> bytes:
    body, entries = parts(good)
    first, second = "landmark_labels.txt", "category_labels.txt"
    entries[first], entries[second] = entries[second], entries[first]
    return joined(body, entries)


def label_count(good: bytes, rng: Rng) -> bytes:
    body, entries = parts(good)
    name = _labels(rng)
    lines = entries[name].decode().splitlines()
    lines = [*lines, "one more"] if rng.random() < 0.5 else lines[:-1]
    return joined(body, {**entries, name: "\n".join(lines).encode() + b"\n"})


def label_bytes(good: bytes, rng: Rng) -> bytes:
    body, entries = parts(good)
    return joined(body, {**entries, _labels(rng): rng.bytes(int(rng.integers(0, 300)))})


def wrong_field(good: bytes, rng: Rng) -> bytes:
    """One field of lmedge.json, at any depth, is something else or gone."""
    body, entries = parts(good)
    info = json.loads(entries["lmedge.json"])
    node: Any = info
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = keys[int(rng.integers(len(keys)))]
        if not (isinstance(node[key], dict | list) and node[key]) or rng.random() < 0.4:
            break
        node = node[key]
    if rng.random() < 0.2:
        del node[key]
    else:
        node[key] = WRONG[int(rng.integers(len(WRONG)))]
    signed = "model_bytes" in info and key not in ("model_bytes", "model_sha256")
    return joined(body, {**entries, "lmedge.json": json.dumps(info).encode()}, signed=signed)


def wrong_json(good: bytes, rng: Rng) -> bytes:
    body, entries = parts(good)
    texts = (
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"NaN",
        b"{",
        b"\xff\xfe",
        b"9" * 10_000,
        rng.bytes(200),
    )
    text = texts[int(rng.integers(len(texts)))]
    return joined(body, {**entries, "lmedge.json": text}, signed=False)


def bomb(good: bytes, rng: Rng) -> bytes:
    """Small in the file, 64 MiB unpacked."""
    body, entries = parts(good)
    huge = bytes(64 << 20)
    name = sorted(entries)[int(rng.integers(len(entries)))]
    if rng.random() < 0.5:
        return joined(body, entries, extra={"more.txt": huge}, method=zipfile.ZIP_DEFLATED)
    return joined(body, {**entries, name: huge}, signed=False, method=zipfile.ZIP_DEFLATED)


def path_tricks(good: bytes, rng: Rng) -> bytes:
    body, entries = parts(good)
    names = ("../evil", "/tmp/evil", "..\\evil", "a/../../evil", "C:\\evil", "lmedge.json", "\x00")
    name = names[int(rng.integers(len(names)))]
    return joined(body, entries, extra={name: b"evil"})


def huge_metadata(good: bytes, rng: Rng) -> bytes:
    body, entries = parts(good)
    info = json.loads(entries["lmedge.json"])
    info["provenance"] = {"x": "y" * int(rng.integers(1 << 20, 20 << 20))}
    return joined(body, {**entries, "lmedge.json": json.dumps(info).encode()})


def absurd_shape(good: bytes, rng: Rng) -> bytes:
    """Wherever the shape of the input stands in the graph, another one stands."""
    body, entries = parts(good)
    side = json.loads(entries["lmedge.json"])["preprocessing"]["size"]
    shape = np.array([1, side, side, 3], "<i4").tobytes()
    values = (0, -1, 1, 7, 4096, 1 << 20, 0x7FFFFFFF)
    other = [values[int(n)] for n in rng.integers(0, len(values), 4)]
    if rng.random() < 0.5:
        size = int(rng.choice([16, 64, 1024, 4096]))
        other = [1, size, size, 3]
    return joined(body.replace(shape, np.array(other, "<i4").tobytes()), entries)


KINDS: dict[str, Callable[[bytes, Rng], bytes]] = {
    "truncated": truncated,
    "bits flipped anywhere": flipped_anywhere,
    "bits flipped in the archive": flipped_archive,
    "bits flipped in the graph, checksum renewed": flipped_graph_signed,
    "words replaced in the graph, checksum renewed": words_replaced_signed,
    "wrong identifier": wrong_identifier,
    "noise": noise,
    "a file of the archive missing": missing_file,
    "label files swapped": swapped_labels,
    "a label more or less": label_count,
    "labels of random bytes": label_bytes,
    "a wrong field in lmedge.json": wrong_field,
    "lmedge.json of another kind": wrong_json,
    "zip bomb": bomb,
    "paths that lead outside": path_tricks,
    "huge metadata": huge_metadata,
    "absurd shapes, checksum renewed": absurd_shape,
    **structured.KINDS,
}
