"""Write labels, hierarchy and provenance into a .tflite as TFLite Metadata.

The metadata is a FlatBuffer of its own, held in a model buffer named TFLITE_METADATA; the files it
names are appended to the model as a stored zip archive. Field numbers follow metadata_schema.fbs
of TFLite Support (ModelMetadata, file identifier M001). The same input gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .archive import CHECKSUM, NO_CHECKSUM, content_digest
from .base_file import FEATURES
from .errors import ModelFileError
from .image import PIXEL_MEAN, PIXEL_SCALE
from .model_file import (
    BASE,
    HEADS,
    IDENTIFIER,
    INFO_FILE,
    INFO_SCHEMA,
    KNOWN,
    KNOWN_LABELS,
    LABEL_FILES,
)
from .taxonomy import Taxonomy

METADATA_NAME = b"TFLITE_METADATA"
METADATA_IDENTIFIER = b"M001"
MIN_PARSER_VERSION = "1.3.0"
_ZIP_DATE = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the earliest a zip can hold: the bytes must not depend on the time

# Enumerations of metadata_schema.fbs.
_IMAGE_PROPERTIES, _FEATURE_PROPERTIES = 2, 1
_RGB = 1
_TENSOR_AXIS_LABELS, _DESCRIPTIONS = 2, 1
_NORMALIZATION_OPTIONS, _SCORE_THRESHOLDING_OPTIONS = 1, 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """The content of the file beside the graph; `info` is the free part of lmedge.json.

    `score_thresholds` are 0..1 by head. Clients of the metadata leave out classes that are less
    probable. `files` are further associated files by name, their content and its description.
    `taxonomy` is None for a base, whose graph ends with its features.
    """

    name: str
    description: str
    version: str
    taxonomy: Taxonomy | None
    size: int
    info: Mapping[str, Any]
    score_thresholds: Mapping[str, float] | None = None
    files: Mapping[str, tuple[bytes, str]] = dataclasses.field(default_factory=dict)


def pack(model: bytes, card: Card) -> bytes:
    """Return `model` (a converted .tflite) with its metadata and associated files.

    Raises ModelFileError if the graph's outputs do not match the taxonomy. Clients would notice a
    wrong label count at the first image only, and two swapped heads of one size never.
    """
    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    order = _outputs_in_order(graph, card.taxonomy)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_model_metadata(card, order), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(graph.buffers)
    graph.buffers.append(buffer)
    graph.metadata = [*(graph.metadata or []), entry]
    builder = flatbuffers.Builder(len(model) + 65536)
    builder.Finish(graph.Pack(builder), IDENTIFIER)
    body = bytes(builder.Output())
    return body + _archive(body, card, order)


def _outputs_in_order(graph: Any, taxonomy: Taxonomy | None) -> list[str]:
    """Return the outputs' names in the order of the subgraph, the third one last of all."""
    (signature,) = graph.signatureDefs
    if taxonomy is None:
        names = [_text(entry.name) for entry in signature.outputs]
        if names != [FEATURES]:
            raise ModelFileError(f"the graph's outputs are {names}, not {[FEATURES]}")
        return names
    heads = {int(entry.tensorIndex): _text(entry.name) for entry in signature.outputs}
    counts = {"landmark": len(taxonomy.landmarks), "category": len(taxonomy.categories)}
    counts[KNOWN] = len(KNOWN_LABELS)
    subgraph = graph.subgraphs[0]
    # Clients that count outputs from the front must find the two heads first.
    subgraph.outputs = sorted(subgraph.outputs, key=lambda index: heads.get(int(index)) == KNOWN)
    order = [heads[int(index)] for index in subgraph.outputs]
    if sorted({*order} - {KNOWN}) != sorted(HEADS) or len(order) != len({*order}):
        raise ModelFileError(f"the graph's outputs are {order}, not {sorted(HEADS)}")
    for head, index in zip(order, subgraph.outputs, strict=True):
        shape = tuple(int(side) for side in subgraph.tensors[index].shape)
        if shape != (1, counts[head]):
            raise ModelFileError(f"the {head} output is {shape} for {counts[head]} labels")
    return order


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _archive(body: bytes, card: Card, outputs: Sequence[str]) -> bytes:
    taxonomy = card.taxonomy
    info = {
        "schema": INFO_SCHEMA,
        "lmedge": card.version,
        "model_bytes": len(body),
        "model_sha256": hashlib.sha256(body).hexdigest(),
        CHECKSUM: NO_CHECKSUM,
        **({"kind": BASE} if taxonomy is None else {"hierarchy": taxonomy.hierarchy()}),
        **card.info,
    }
    text = json.dumps(info, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False)
    labels: dict[str, Sequence[str]] = {}
    if taxonomy is not None:
        labels = {"landmark": taxonomy.landmarks, "category": taxonomy.categories}
    if KNOWN in outputs:
        labels[KNOWN] = KNOWN_LABELS
    texts = {LABEL_FILES[name]: "\n".join(own) for name, own in labels.items()}
    texts[INFO_FILE] = text
    files = {name: (text + "\n").encode() for name, text in texts.items()}
    files |= {name: content for name, (content, _) in card.files.items()}
    digest = content_digest(files).encode()
    files[INFO_FILE] = files[INFO_FILE].replace(NO_CHECKSUM.encode(), digest, 1)
    stream = io.BytesIO(body)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), content)
    return stream.getvalue()[len(body) :]


def _model_metadata(card: Card, order: list[str]) -> bytes:
    writer = _Writer()
    image = writer.image_tensor(card.size)
    thresholds = card.score_thresholds or {}
    heads = [
        writer.features_tensor()
        if head == FEATURES
        else writer.head_tensor(head, thresholds.get(head))
        for head in order
    ]
    subgraph = writer.table(
        {2: writer.offsets([image]), 3: writer.offsets(heads)}, strings={0: "main"}
    )
    info = writer.associated(
        INFO_FILE, "hierarchy, preprocessing, provenance, metrics", _DESCRIPTIONS
    )
    others = [
        writer.associated(name, description, _DESCRIPTIONS)
        for name, (_, description) in card.files.items()
    ]
    root = writer.table(
        {3: writer.offsets([subgraph]), 6: writer.offsets([info, *others])},
        strings={0: card.name, 1: card.description, 2: card.version, 7: MIN_PARSER_VERSION},
    )
    writer.builder.Finish(root, METADATA_IDENTIFIER)
    return bytes(writer.builder.Output())


class _Writer:
    """Tables by field number on top of a flatbuffers Builder."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(4096)

    def table(
        self,
        offsets: Mapping[int, int] | None = None,
        *,
        strings: Mapping[int, str] | None = None,
        scalars: Mapping[int, int] | None = None,
    ) -> int:
        """Write a table: offsets to other objects, strings, and byte or uint32 scalars."""
        builder = self.builder
        places = dict(offsets or {})
        places.update(
            {field: builder.CreateString(text) for field, text in (strings or {}).items()}
        )
        fields = [*places, *(scalars or {})]
        builder.StartObject(max(fields, default=-1) + 1)
        for field, offset in places.items():
            builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        for field, value in (scalars or {}).items():
            builder.PrependInt8Slot(field, value, 0)
        return int(builder.EndObject())

    def offsets(self, items: list[int]) -> int:
        """Write a vector of tables."""
        self.builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            self.builder.PrependUOffsetTRelative(item)
        return int(self.builder.EndVector())

    def floats(self, values: list[float]) -> int:
        """Write a vector of float32."""
        return int(self.builder.CreateNumpyVector(np.asarray(values, np.float32)))

    def associated(self, name: str, description: str, kind: int) -> int:
        """Write an AssociatedFile."""
        return self.table(strings={0: name, 1: description}, scalars={2: kind})

    def image_tensor(self, size: int) -> int:
        """Write the TensorMetadata of the input: RGB, its normalisation, its range."""
        self.builder.StartObject(2)  # ImageSize
        self.builder.PrependUint32Slot(0, size, 0)
        self.builder.PrependUint32Slot(1, size, 0)
        image_size = int(self.builder.EndObject())
        properties = self.table({1: image_size}, scalars={0: _RGB})
        content = self.table({1: properties}, scalars={0: _IMAGE_PROPERTIES})
        options = self.table({0: self.floats([PIXEL_MEAN]), 1: self.floats([PIXEL_SCALE])})
        unit = self.table({1: options}, scalars={0: _NORMALIZATION_OPTIONS})
        stats = self.table({0: self.floats([255.0] * 3), 1: self.floats([0.0] * 3)})
        return self.table(
            {3: content, 4: self.offsets([unit]), 5: stats},
            strings={0: "image", 1: "the picture: raw RGB bytes"},
        )

    def head_tensor(self, head: str, threshold: float | None) -> int:
        """Write the TensorMetadata of one head, with its own label file and score threshold."""
        content = self._feature_content()
        stats = self.table({0: self.floats([1.0]), 1: self.floats([0.0])})
        labels = self.associated(LABEL_FILES[head], f"{head} labels", _TENSOR_AXIS_LABELS)
        places = {3: content, 5: stats, 6: self.offsets([labels])}
        if threshold is not None:
            self.builder.StartObject(1)  # ScoreThresholdingOptions
            self.builder.PrependFloat32Slot(0, threshold, 0.0)
            options = int(self.builder.EndObject())
            unit = self.table({1: options}, scalars={0: _SCORE_THRESHOLDING_OPTIONS})
            places[4] = self.offsets([unit])
        what = "that it shows any of the landmarks" if head == KNOWN else f"of each {head}"
        return self.table(places, strings={0: head, 1: f"probability {what}"})

    def features_tensor(self) -> int:
        """Write the TensorMetadata of a base's output."""
        return self.table(
            {3: self._feature_content()},
            strings={0: FEATURES, 1: "features of the backbone, without labels"},
        )

    def _feature_content(self) -> int:
        return self.table({1: self.table()}, scalars={0: _FEATURE_PROPERTIES})
