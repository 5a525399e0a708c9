"""The folder of collected images: a JSON file beside each, with what the network gave.

Files are written once and never changed. The name of an image begins with the SHA-256 of its
bytes. Its JSON file appears behind it, so that an image is whole if its JSON file is there, and
the folder can be copied while a camera adds to it, in any order and in several goes.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..info import is_number
from ..regular import read_regular
from ..similar import DETAIL

SCHEMA = 1
RANDOM = "random"  # the reason of the uniform random share
UNKNOWN_REASON, UNDECIDED, CONFLICT = "unknown", "undecided", "conflict"
REASONS = (RANDOM, UNKNOWN_REASON, UNDECIDED, CONFLICT)
NAME = re.compile(r"[0-9a-f]{20}(-\d{1,9})?\.jpg")
_LARGEST = 1 << 20  # bytes of a JSON file


@dataclasses.dataclass(frozen=True, kw_only=True)
class CollectedImage:
    """An image of the folder, with the content of its JSON file.

    Attributes:
        path: The image.
        sha256: SHA-256 of its bytes.
        size: Its bytes.
        number: Counts the images of the folder, in the order in which they came.
        burst: Name of the frames that belong together: neighbours in time, of one label. They go
            to one side of any split.
        reasons: Out of REASONS; RANDOM alone makes an image part of the uniform sample.
        time: UTC in ISO 8601; None if the clock was not set.
        camera: Name of the source.
        model: SHA-256 of the .tflite file that gave the prediction.
        prediction: The labels as in `lmedge predict --json`, of the frame alone.
        landmarks: Probability of each landmark by its head alone, those above 0.001.
        thumbnail: (32, 32) uint8, of which the fingerprint is computed.
    """

    path: Path
    sha256: str
    size: int
    number: int
    burst: str
    reasons: tuple[str, ...]
    time: str | None
    camera: str
    model: str
    prediction: Mapping[str, Any]
    landmarks: Mapping[str, float]
    thumbnail: npt.NDArray[np.uint8]

    @property
    def is_random(self) -> bool:
        """True if the image is part of the uniform random share."""
        return RANDOM in self.reasons

    @property
    def known(self) -> bool:
        """True if the frame was predicted to show a landmark that the file knows."""
        return bool(self.prediction["known"])

    @property
    def landmark(self) -> str:
        """The predicted landmark, also if it is not known."""
        return str(self.prediction["landmark"])

    @property
    def margin(self) -> float:
        """The difference of the two likeliest landmarks by their joint probability."""
        best = sorted((float(one["probability"]) for one in self.prediction["top"]), reverse=True)
        return best[0] - best[1] if len(best) > 1 else 1.0

    @property
    def certainty(self) -> float:
        """The joint probability of the predicted landmark."""
        return float(self.prediction["landmark_probability"])


def sidecar(image: Path) -> Path:
    """Return the path of the JSON file of an image."""
    return image.with_suffix(".json")


def encode_thumbnail(thumbnail: npt.NDArray[np.uint8]) -> str:
    """Return a (32, 32) uint8 thumbnail as text."""
    return base64.b64encode(thumbnail.tobytes()).decode()


def read_collected(path: Path) -> CollectedImage:
    """Read the JSON file of an image; the image itself is not opened.

    Raises:
        DataError: The file is missing, damaged or from a newer lmedge.
    """
    about = sidecar(path)
    try:
        value = json.loads(read_regular(about, _LARGEST))
        if value["schema"] > SCHEMA:
            raise DataError(f"{about}: written by a newer lmedge; update lmedge to use it")
        return _parsed(path, value)
    except OSError as error:
        raise DataError(f"{about}: cannot be read ({error.strerror}); copy it again") from error
    except (ValueError, LookupError, TypeError, RecursionError, binascii.Error) as error:
        raise DataError(f"{about}: not of `lmedge camera --collect`; remove it") from error


def _parsed(path: Path, value: Mapping[str, Any]) -> CollectedImage:
    prediction, landmarks = value["prediction"], value["landmarks"]
    numbers = [value["bytes"], value["number"], prediction["landmark_probability"]]
    names = [value["sha256"], value["burst"], value["camera"], value["file"]["sha256"]]
    names += [prediction["landmark"], prediction["category"], *value["reasons"], *landmarks]
    time = value["time"]
    if not all(map(is_number, [*numbers, *landmarks.values()])):
        raise ValueError("a number is none")
    if not all(isinstance(name, str) for name in [*names, *([] if time is None else [time])]):
        raise ValueError("a text is none")
    if not re.fullmatch("[0-9a-f]{64}", value["sha256"]) or not isinstance(
        prediction["known"], bool
    ):
        raise ValueError("a field has another form")
    for one in prediction["top"]:
        if not (isinstance(one["landmark"], str) and isinstance(one["category"], str)):
            raise ValueError("a candidate is none")
        float(one["probability"])
    thumbnail = np.frombuffer(base64.b64decode(value["thumbnail"], validate=True), np.uint8)
    return CollectedImage(
        path=path,
        sha256=value["sha256"],
        size=int(value["bytes"]),
        number=int(value["number"]),
        burst=value["burst"],
        reasons=tuple(value["reasons"]),
        time=time,
        camera=value["camera"],
        model=value["file"]["sha256"],
        prediction=prediction,
        landmarks=landmarks,
        thumbnail=thumbnail.reshape(DETAIL, DETAIL),
    )


def check_collected(folder: Path) -> None:
    """Raise DataError unless there is such a folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name that of `lmedge camera --collect`")


def list_collected(folder: Path) -> Iterator[CollectedImage | DataError]:
    """Yield the whole images of a folder and of folders in it, in the order of their names.

    An error is yielded in place of an image whose JSON file cannot be used. Images without a JSON
    file are being written, or were left by a kill; they are left out.

    Raises:
        DataError: The folder cannot be read.
    """
    check_collected(folder)
    for about in sorted(folder.rglob("*.json")):
        path = about.with_suffix(".jpg")
        if not NAME.fullmatch(path.name) or not path.is_file():
            continue
        try:
            yield read_collected(path)
        except DataError as error:
            yield error
