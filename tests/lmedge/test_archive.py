"""The archive at the end of a file: stored entries, each byte accounted for, under one checksum."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lmedge.archive import CHECKSUM, MOST_ENTRIES, content_digest, read_archive
from lmedge.errors import ModelFileError
from lmedge.flatbuffer import DamagedError
from lmedge.model_file import parse_model
from tests.hostile.files import Entries, joined, parts


def test_zipfile_reads_the_same(tiny_file: Path) -> None:
    data = tiny_file.read_bytes()
    begin, files = read_archive(data)
    body, entries = parts(data)
    assert files == entries and begin == len(body)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
@pytest.mark.parametrize("name", ["lmedge.json", "landmark_labels.txt", "more.txt"])
def test_nothing_is_unpacked(tiny_file: Path, method: int, name: str) -> None:
    body, entries = parts(tiny_file.read_bytes())
    stream = io.BytesIO(joined(body, {key: entries[key] for key in entries if key != name}))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(name, bytes(1 << 20), method)
    with pytest.raises(ModelFileError, match="is not stored as it is"):
        parse_model(stream.getvalue(), Path("a.tflite"))


def _twice(body: bytes, entries: Entries) -> bytes:
    stream = io.BytesIO(joined(body, entries))
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(zipfile.ZipInfo("lmedge.json"), b"{}")
    return stream.getvalue()


def _patched(name: str, offset: int, value: bytes, *, directory: bool) -> Callable[..., bytes]:
    """Change bytes of the local header or of the directory's entry of a file."""

    def change(body: bytes, entries: Entries) -> bytes:
        data = bytearray(joined(body, entries))
        mark, size = (b"PK\1\2", 46) if directory else (b"PK\3\4", 30)
        at = data.index(mark, len(body))
        while data[at + size : at + size + len(name)] != name.encode():
            at = data.index(mark, at + 1)
        data[at + offset : at + offset + len(value)] = value
        return bytes(data)

    return change


WRONG: dict[str, Callable[[bytes, Entries], bytes]] = {
    "a name twice": _twice,
    "bytes behind": lambda body, entries: joined(body, entries) + b"\0",
    "a comment": lambda body, entries: joined(body, entries)[:-2] + b"\1\0x",
    "a gap before": lambda body, entries: joined(body + b"\0" * 8, entries, signed=False),
    "many files": lambda body, entries: joined(
        body, entries, extra={f"{n}.txt": b"" for n in range(MOST_ENTRIES)}
    ),
    "a path": lambda body, entries: joined(body, entries, extra={"../evil": b""}),
    "a flag": _patched("lmedge.json", 8, b"\1\0", directory=True),
    "a flag in one place": _patched("lmedge.json", 6, b"\1\0", directory=False),
    "a method": _patched("lmedge.json", 10, b"\x0e\0", directory=True),
    "a method in one place": _patched("lmedge.json", 8, b"\x08\0", directory=False),
    "another size": _patched("lmedge.json", 24, b"\xff\xff\xff\x7f", directory=True),
    "another stored size": _patched("lmedge.json", 20, b"\1\0\0\0", directory=True),
    "another size in one place": _patched("lmedge.json", 22, b"\1\0\0\0", directory=False),
    "another name in one place": _patched("landmark_labels.txt", 30, b"L", directory=False),
    "another place": _patched("lmedge.json", 42, b"\0\0\0\0", directory=True),
    "another checksum": _patched("lmedge.json", 16, b"\0\0\0\0", directory=True),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_archives_are_one_line(tiny_file: Path, name: str) -> None:
    bad = WRONG[name](*parts(tiny_file.read_bytes()))
    with pytest.raises(ModelFileError, match=r"^a\.tflite: [^\n]+; [^\n]+$"):
        parse_model(bad, Path("a.tflite"))


def test_every_cut_is_refused(tiny_file: Path) -> None:
    data = tiny_file.read_bytes()
    begin, _ = read_archive(data)
    for end in range(begin, len(data)):
        with pytest.raises((DamagedError, ModelFileError)):
            read_archive(data[:end])


class TestChecksum:
    def test_the_exporter_writes_it(self, tiny_file: Path) -> None:
        _, files = read_archive(tiny_file.read_bytes())
        assert json.loads(files["lmedge.json"])[CHECKSUM] == content_digest(files)

    @pytest.mark.parametrize(
        ("name", "old", "new"),
        [
            ("landmark_labels.txt", b"grey stone", b"grez stone"),
            ("lmedge.json", b'"grey stone"', b'"grez stone"'),
            ("lmedge.json", b'"resize": "crop"', b'"resize": "pad"'),
            ("lmedge.json", b'"provenance": {}', b'"rejection": {"threshold": 0}'),
        ],
    )
    def test_labels_hierarchy_and_thresholds_are_under_it(
        self, tiny_file: Path, name: str, old: bytes, new: bytes
    ) -> None:
        body, entries = parts(tiny_file.read_bytes())
        assert old in entries[name]
        entries = {key: text.replace(b"grey stone", b"grez stone") for key, text in entries.items()}
        if b"grey" not in old:
            body, entries = parts(tiny_file.read_bytes())
            entries[name] = entries[name].replace(old, new)
        with pytest.raises(ModelFileError, match="its checksum does not match"):
            parse_model(joined(body, entries, signed=False), Path("a.tflite"))
        parse_model(joined(body, entries), Path("a.tflite"))

    def test_files_of_before_it_are_read(self, tiny_file: Path) -> None:
        body, entries = parts(tiny_file.read_bytes())
        info = json.loads(entries["lmedge.json"])
        del info[CHECKSUM]
        entries["lmedge.json"] = json.dumps(info).encode()
        assert parse_model(joined(body, entries, signed=False), Path("a.tflite")).info == info
