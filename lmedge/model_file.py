"""The exported .tflite file: its content, checked before a runtime reads it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shlex
import struct
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from .archive import CHECKSUM, content_digest, read_archive
from .errors import DataError, ModelFileError
from .flatbuffer import DamagedError
from .graph import GraphFacts, TensorSpec, read_graph
from .image import Resize
from .info import read_info
from .regular import read_regular
from .taxonomy import Taxonomy

IDENTIFIER = b"TFL3"
INFO_FILE = "lmedge.json"
INFO_SCHEMA = 1
HEADS = ("landmark", "category")
KNOWN = "known"  # the output that tells whether the image shows any of the landmarks
KNOWN_LABELS = ("landmark", "something else")
LABEL_FILES = {head: f"{head}_labels.txt" for head in (*HEADS, KNOWN)}
BASE = "base"  # `kind` of a file whose graph ends with its features
MAX_BYTES = 256 * 1024 * 1024
_LONGEST_REASON = 300  # letters; an error may repeat a value of the file
_OTHER_CHECKSUM = "its checksum does not match: the file is damaged; copy it again"

# Errors of the readers on damaged bytes and on fields that are missing or of another type.
DAMAGE = (
    DamagedError,
    struct.error,
    OverflowError,
    LookupError,
    TypeError,
    ValueError,
    DataError,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A checked file: its bytes, its tensors by head, and the metadata inside.

    Attributes:
        path: Path of the file, used in errors.
        data: The bytes of the file.
        sha256: Hexadecimal digest of `data`.
        image: The input, (1, S, S, 3) uint8, or int8 from `export --io int8`.
        heads: The outputs "landmark" (1, L) and "category" (1, C), by name.
        operators: The number of operators by (operator, dtype of its first output).
        bytes_needed: Memory that the graph takes for an image, by its tensors.
        taxonomy: The landmarks and categories.
        resize: The way to make an image square.
        info: The content of lmedge.json, documented in docs/formats.md.
        known: The third output, (1, 2) float32; None in a file without it.
    """

    path: Path
    data: bytes = dataclasses.field(repr=False)
    sha256: str
    image: TensorSpec
    heads: Mapping[str, TensorSpec]
    operators: Mapping[tuple[str, str], int]
    bytes_needed: int
    taxonomy: Taxonomy
    resize: Resize
    info: Mapping[str, Any] = dataclasses.field(repr=False)
    known: TensorSpec | None = None

    @property
    def size(self) -> int:
        """Side of the square input, in pixels."""
        return self.image.shape[1]


def read_model(path: str | os.PathLike[str]) -> ModelFile:
    """Read and check a .tflite made by `lmedge export`.

    Args:
        path: The file.

    Raises:
        ModelFileError: The file is missing, damaged, not made by lmedge, or from a newer version.
    """
    path = Path(path)
    return parse_model(read_bytes(path), path)


def parse_model(data: bytes, path: Path) -> ModelFile:
    """Check the bytes of a .tflite as `read_model` does; `path` is used in errors."""
    if len(data) < 16 or data[4:8] != IDENTIFIER:
        raise ModelFileError(f"{path}: not a TFLite file; pass the .tflite that lmedge exported")
    try:
        graph = read_graph(data, HEADS, KNOWN)
        files, info = read_contents(data, [LABEL_FILES[name] for name in graph.outputs])
        labels = {name: _lines(files[LABEL_FILES[name]]) for name in graph.outputs}
        hierarchy = info["hierarchy"]
        taxonomy = Taxonomy.from_pairs((hierarchy[name], name) for name in labels["landmark"])
        _check_shapes(graph, labels, taxonomy)
        resize = Resize(info["preprocessing"]["resize"])
        check_content(files, info)
    except ModelFileError as error:
        first = f"has no landmarks; teach it first: {teach_command(path)}"
        reason = first if is_base(data) else error
        raise ModelFileError(f"{path}: {reason}") from None
    except DAMAGE as error:
        raise ModelFileError(
            f"{path}: damaged or without lmedge's metadata ({damage_reason(error)}); "
            "export it again with `lmedge export`"
        ) from error
    return _model(data, path, graph, taxonomy, resize, info)


def teach_command(base: Path) -> str:
    """Return the command that teaches a file, to copy into a shell."""
    return shlex.join(["lmedge", "teach", "PHOTOGRAPHS", "--base", str(base), "-o", "NEW.tflite"])


def bare_model(
    data: bytes,
    path: Path,
    taxonomy: Taxonomy,
    resize: Resize,
    temperatures: Mapping[str, float],
) -> ModelFile:
    """Check a converted graph that holds no metadata yet, for the exporter to run.

    The other facts stand in place of the metadata; `path` is used in errors. Raises ModelFileError
    when the graph does not fit them.
    """
    graph = read_graph(data, HEADS, KNOWN)
    labels = {"landmark": taxonomy.landmarks, "category": taxonomy.categories, KNOWN: KNOWN_LABELS}
    _check_shapes(graph, labels, taxonomy)
    return _model(data, path, graph, taxonomy, resize, {"temperatures": temperatures})


def _model(
    data: bytes,
    path: Path,
    graph: GraphFacts,
    taxonomy: Taxonomy,
    resize: Resize,
    info: Mapping[str, Any],
) -> ModelFile:
    outputs = graph.outputs
    return ModelFile(
        path=path,
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        image=graph.image,
        heads={head: outputs[head] for head in HEADS},
        operators=graph.operators,
        bytes_needed=graph.bytes_needed,
        taxonomy=taxonomy,
        resize=resize,
        info=info,
        known=outputs.get(KNOWN),
    )


def read_bytes(path: Path) -> bytes:
    """Read a .tflite of at most MAX_BYTES, or raise ModelFileError."""
    try:
        return read_regular(path, MAX_BYTES)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from error


def read_contents(data: bytes, needed: Iterable[str]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the files in the archive of a .tflite, and the content of its lmedge.json.

    Args:
        data: The bytes of the file.
        needed: Names of the files beside lmedge.json that it has to hold.

    Raises:
        ModelFileError: A file is missing, the graph is not the one that the archive was written
            for, or a newer lmedge wrote it.
        DamagedError: The archive is damaged.
    """
    begin, files = read_archive(data)
    missing = {INFO_FILE, *needed} - files.keys()
    if missing:
        raise ModelFileError(f"lacks {', '.join(sorted(missing))}; export it again")
    info = read_info(files[INFO_FILE])
    if info["schema"] > INFO_SCHEMA:
        raise ModelFileError(
            f"written by a newer lmedge ({info['lmedge']}); update lmedge to use it"
        )
    _check_body(data, begin, info)
    return files, info


def check_content(files: Mapping[str, bytes], info: Mapping[str, Any]) -> None:
    """Raise ModelFileError if the archive's files are not those that were written."""
    # Files of before this checksum have none.
    if info.get(CHECKSUM) not in (None, content_digest(files)):
        raise ModelFileError(_OTHER_CHECKSUM)


def is_base(data: bytes) -> bool:
    """Return true for the bytes of a base, which has no heads; `read_base` checks it whole."""
    try:
        _, files = read_archive(data)
        return read_info(files[INFO_FILE]).get("kind") == BASE
    except (ModelFileError, *DAMAGE):
        return False


def _check_body(data: bytes, begin: int, info: Mapping[str, Any]) -> None:
    if info["model_bytes"] != begin:
        raise ModelFileError("its archive does not follow its graph; export it again")
    if hashlib.sha256(data[:begin]).hexdigest() != info["model_sha256"]:
        raise ModelFileError(_OTHER_CHECKSUM)


def _lines(text: bytes) -> tuple[str, ...]:
    return tuple(text.decode().removesuffix("\n").split("\n"))


def _check_shapes(
    graph: GraphFacts,
    labels: Mapping[str, tuple[str, ...]],
    taxonomy: Taxonomy,
) -> None:
    image = graph.image
    check_image(image, ("uint8", "int8"))
    if labels["landmark"] != taxonomy.landmarks or labels["category"] != taxonomy.categories:
        raise ModelFileError("its label files do not match its hierarchy")
    if labels.get(KNOWN, KNOWN_LABELS) != KNOWN_LABELS:
        raise ModelFileError(f"{LABEL_FILES[KNOWN]} does not hold {', '.join(KNOWN_LABELS)}")
    for head, spec in graph.outputs.items():
        # Files of `export --io int8` have int8 pixels and int8 logits, others probabilities.
        wanted = "int8" if image.dtype == "int8" and head in HEADS else "float32"
        if spec.shape != (1, len(labels[head])) or spec.dtype != wanted:
            raise ModelFileError(
                f"its {head} output is {spec.shape} {spec.dtype}, "
                f"not (1, {len(labels[head])}) {wanted}"
            )


def check_image(image: TensorSpec, dtypes: Collection[str]) -> None:
    """Raise ModelFileError unless a graph's input is one square RGB image of one of `dtypes`."""
    shape = image.shape
    if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or image.dtype not in dtypes:
        raise ModelFileError(f"its input is {shape} {image.dtype}, not (1, S, S, 3) uint8")
    if shape[1] != shape[2] or not 16 <= shape[1] <= 4096:
        raise ModelFileError(f"its input is {shape}, not a square of 16 to 4096 pixels")


def damage_reason(error: Exception) -> str:
    """Return what an error of DAMAGE is about."""
    if isinstance(error, KeyError):
        return f"no {error.args[0]!r}"
    text = str(error).rstrip(".") or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
