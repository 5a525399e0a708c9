"""The base: a backbone as a .tflite that ends with its features and has no landmarks yet.

Its graph is that of an int8 file cut off behind the pooled features. `lmedge teach` gives it heads.
One base comes along with lmedge; `read_base` checks it as it checks any other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import ModelFileError
from .graph import GraphFacts, TensorSpec, read_graph
from .image import Resize
from .model_file import (
    BASE,
    DAMAGE,
    IDENTIFIER,
    ModelFile,
    check_content,
    check_image,
    damage_reason,
    is_base,
    parse_model,
    read_bytes,
    read_contents,
)

FEATURES = "features"  # the output
SHIPPED = Path(__file__).parent / "teach" / "base.tflite"
MOST_FEATURES = 16384


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaseFile:
    """A checked base: its bytes, its two tensors, and the metadata inside.

    Attributes:
        path: Path of the file, used in errors.
        data: The bytes of the file.
        sha256: Hexadecimal digest of `data`.
        image: The input, (1, S, S, 3) uint8.
        features: The output, (1, F) int8. A feature is (integer - zero_point) * scale.
        operators: The number of operators by (operator, dtype of its first output).
        bytes_needed: Memory that the graph takes for an image, by its tensors.
        resize: The way to make an image square.
        info: The content of lmedge.json, documented in docs/formats.md.
    """

    path: Path
    data: bytes = dataclasses.field(repr=False)
    sha256: str
    image: TensorSpec
    features: TensorSpec
    operators: Mapping[tuple[str, str], int]
    bytes_needed: int
    resize: Resize
    info: Mapping[str, Any] = dataclasses.field(repr=False)

    @property
    def size(self) -> int:
        """Side of the square input, in pixels."""
        return self.image.shape[1]

    @property
    def scale(self) -> float:
        """The step of a feature."""
        return self.features.scale

    @property
    def zero_point(self) -> int:
        """The integer of a feature that is zero."""
        return self.features.zero_point


def read_base(path: str | os.PathLike[str] | None = None) -> BaseFile:
    """Read and check a base.

    Args:
        path: The file; None is the base that comes with lmedge.

    Raises:
        ModelFileError: The file is missing, damaged, no base, or from a newer version.
    """
    if path is None and not SHIPPED.exists():  # a wheel for boards has none
        raise ModelFileError(f"{SHIPPED}: this installation has no base; pass --base FILE.tflite")
    place = SHIPPED if path is None else Path(path)
    return parse_base(read_bytes(place), place)


def parse_base(data: bytes, path: Path) -> BaseFile:
    """Check the bytes of a base as `read_base` does; `path` is used in errors."""
    if len(data) < 16 or data[4:8] != IDENTIFIER:
        raise ModelFileError(f"{path}: not a TFLite file; pass a base that lmedge made")
    try:
        graph = read_graph(data, (FEATURES,), "")
        files, info = read_contents(data, ())
        if info.get("kind") != BASE:
            raise ModelFileError("its lmedge.json is not that of a base; pass a base")
        resize = Resize(info["preprocessing"]["resize"])
        check_content(files, info)
        base = _base(data, path, graph, resize, info)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except DAMAGE as error:
        raise ModelFileError(
            f"{path}: damaged or without lmedge's metadata ({damage_reason(error)}); copy it again"
        ) from error
    return base


def parse_any(data: bytes, path: Path) -> ModelFile | BaseFile:
    """Check the bytes of a file with heads or of a base; errors as of `parse_model`."""
    return parse_base(data, path) if is_base(data) else parse_model(data, path)


def bare_base(data: bytes, path: Path, resize: Resize) -> BaseFile:
    """Check a converted graph that holds no metadata yet, for its maker to run.

    `path` is used in errors. Raises ModelFileError when the graph is not that of a base.
    """
    return _base(data, path, read_graph(data, (FEATURES,), ""), resize, {})


def _base(
    data: bytes, path: Path, graph: GraphFacts, resize: Resize, info: Mapping[str, Any]
) -> BaseFile:
    features = graph.outputs[FEATURES]
    check_image(graph.image, ("uint8",))
    count = features.shape[-1]
    if features.shape != (1, count) or not 1 <= count <= MOST_FEATURES or features.dtype != "int8":
        raise ModelFileError(f"its features are {features.shape} {features.dtype}, not (1, F) int8")
    if not (0 < features.scale < math.inf and -128 <= features.zero_point <= 127):
        raise ModelFileError("its features have no scale")
    return BaseFile(
        path=path,
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        image=graph.image,
        features=features,
        operators=graph.operators,
        bytes_needed=graph.bytes_needed,
        resize=resize,
        info=info,
    )
