"""The writer of a folder of collected images: no near-duplicates, and a bounded size."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import hashlib
import itertools
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .. import __version__
from ..classifier import Prediction
from ..errors import DataError, LmedgeError
from ..files import write_bytes, write_text, writing
from ..harmless import json_text
from ..model_file import ModelFile
from ..similar import ImageFingerprint, fingerprint_of_grey, grey_thumbnail, is_alike
from ..taxonomy import Taxonomy
from .collected import (
    NAME,
    RANDOM,
    SCHEMA,
    encode_thumbnail,
    list_collected,
    sidecar,
)

QUALITY = 92  # of JPEG
CERTAIN = 0.9  # probability of the landmark from which on an image is dropped first
FREE_BYTES = 200 << 20  # that are left on the disk for others
CLOCK_SET = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)  # earlier times are of no clock
RECENT_SECONDS = 60.0  # of the stream, within which a view that has moved a little is one view
RECENT_CORRELATION = 0.7  # of the thumbnails of two such views
_LEAST = 0.001  # probability that is worth a line


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewImage:
    """A frame to store: (H, W, 3) uint8 BGR, and what the network gave for it."""

    frame: npt.NDArray[np.uint8] = dataclasses.field(repr=False)
    seconds: float
    reasons: tuple[str, ...]
    burst: int
    prediction: Prediction
    taxonomy: Taxonomy
    model: ModelFile

    @property
    def is_random(self) -> bool:
        """True if it was drawn at random."""
        return RANDOM in self.reasons


@dataclasses.dataclass
class _Entry:
    number: int
    size: int
    random: bool
    certain: bool
    look: ImageFingerprint


class CollectedStore:
    """Add images to a folder; one process at a time does."""

    def __init__(
        self, folder: Path, *, camera: str, most_bytes: int, random_share: float, one_in: int
    ) -> None:
        """Make the folder; what is in it is read before the first image is added.

        Raises:
            LmedgeError: It cannot be made.
        """
        self._folder, self._camera, self._one_in = folder, camera, one_in
        self._most = {True: int(most_bytes * random_share)}
        self._most[False] = most_bytes - self._most[True] if one_in else most_bytes
        self._run = secrets.token_hex(4)
        self._entries: dict[str, _Entry] | None = None
        self._signs = np.empty((64, 64), np.float32)
        self._recent: collections.deque[tuple[float, ImageFingerprint]] = collections.deque()
        self._number = 0
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def add(self, image: NewImage) -> bool:
        """Store an image; return False if one is there that looks alike.

        Raises:
            LmedgeError: The disk is full, or the folder cannot be written.
        """
        self._open()
        thumbnail = grey_thumbnail(np.ascontiguousarray(image.frame[..., ::-1]))
        look = fingerprint_of_grey(thumbnail)
        if not image.is_random and (
            self._is_recent(look, image.seconds) or is_alike(look, self._looks(), self._signs)
        ):
            return False
        jpeg = cv2.imencode(".jpg", image.frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        with writing(self._folder):
            if shutil.disk_usage(self._folder).free < FREE_BYTES:
                raise LmedgeError(f"{self._folder}: less than {FREE_BYTES >> 20} MiB are free")
        digest = hashlib.sha256(jpeg).hexdigest()
        name = self._free_name(digest)
        text = self._describe(name, digest, jpeg, thumbnail, image)
        size = len(jpeg) + len(text)
        self._make_room(size, image.is_random)
        path = self._folder / name
        write_bytes(path, jpeg)
        write_text(sidecar(path), text)
        self._keep(
            name,
            _Entry(self._number, size, image.is_random, _is_certain(image.prediction), look),
        )
        if not image.is_random:
            self._recent.append((image.seconds, look))
        return True

    def _is_recent(self, look: ImageFingerprint, seconds: float) -> bool:
        """Return True for the view of a moment ago: a camera or a person has moved a little."""
        while self._recent and not 0 <= seconds - self._recent[0][0] < RECENT_SECONDS:
            self._recent.popleft()
        return any(
            float(np.sum(look.thumbnail * other.thumbnail)) >= RECENT_CORRELATION
            for _, other in self._recent
        )

    def _open(self) -> None:
        """Read what is in the folder; images whose JSON file is missing were left by a kill."""
        if self._entries is not None:
            return
        self._entries = {}
        for path in self._folder.glob("*.jpg"):
            if NAME.fullmatch(path.name) and not sidecar(path).exists():
                path.unlink(missing_ok=True)
        for found in list_collected(self._folder):
            if isinstance(found, DataError) or found.path.parent != self._folder:
                continue
            look = fingerprint_of_grey(found.thumbnail)
            certain = found.known and found.certainty >= CERTAIN
            size = found.size + sidecar(found.path).stat().st_size
            entry = _Entry(found.number, size, found.is_random, certain, look)
            self._keep(found.path.name, entry)
            self._number = max(self._number, found.number)

    def _keep(self, name: str, entry: _Entry) -> None:
        assert self._entries is not None
        self._entries[name] = entry
        if len(self._entries) > len(self._signs):
            self._signs = np.concatenate([self._signs, np.empty_like(self._signs)])
        self._signs[len(self._entries) - 1] = np.where(entry.look.bits, 1, -1)

    def _looks(self) -> list[ImageFingerprint]:
        assert self._entries is not None
        return [entry.look for entry in self._entries.values()]

    def _free_name(self, digest: str) -> str:
        """Return a name by content; a frame that is drawn twice counts twice."""
        for number in itertools.count(1):
            name = f"{digest[:20]}{'' if number == 1 else f'-{number}'}.jpg"
            if not (self._folder / name).exists() and not sidecar(self._folder / name).exists():
                return name
        raise AssertionError("itertools.count ends")

    def _make_room(self, size: int, random: bool) -> None:
        """Drop images of the same kind until another one fits; the JSON file goes first."""
        assert self._entries is not None
        same = {name: entry for name, entry in self._entries.items() if entry.random == random}
        if sum(entry.size for entry in same.values()) + size <= self._most[random]:
            return
        gone = [name for name in same if not (self._folder / name).exists()]  # taken home
        order = sorted(same, key=lambda n: (not random and not same[n].certain, same[n].number))
        total = sum(entry.size for name, entry in same.items() if name not in gone)
        for name in order:
            if total + size <= self._most[random]:
                break
            if name not in gone:
                path = self._folder / name
                with writing(self._folder):
                    sidecar(path).unlink(missing_ok=True)
                    path.unlink(missing_ok=True)
                total -= same[name].size
                gone.append(name)
        for name in gone:
            del self._entries[name]
        if gone:
            kept, self._entries = self._entries, {}
            for name, entry in kept.items():
                self._keep(name, entry)

    def _describe(
        self,
        name: str,
        digest: str,
        jpeg: bytes,
        thumbnail: npt.NDArray[np.uint8],
        image: NewImage,
    ) -> str:
        self._number += 1
        height, width = image.frame.shape[:2]
        prediction, taxonomy = image.prediction, image.taxonomy
        now = datetime.datetime.now(datetime.UTC)
        value: dict[str, Any] = {
            "schema": SCHEMA,
            "lmedge": __version__,
            "image": name,
            "sha256": digest,
            "bytes": len(jpeg),
            "width": width,
            "height": height,
            "number": self._number,
            "burst": f"{self._run}-{image.burst}",
            "reasons": list(image.reasons),
            "one_in": self._one_in,
            "time": None if now < CLOCK_SET else now.isoformat(timespec="seconds"),
            "seconds": round(image.seconds, 3),
            "uptime": round(time.monotonic(), 1),
            "camera": self._camera,
            "file": {"name": image.model.path.name, "sha256": image.model.sha256},
            "prediction": prediction.as_dict(),
            "landmarks": _shares(taxonomy.landmarks, prediction.landmark_marginal),
            "categories": _shares(taxonomy.categories, prediction.category_marginal),
            "thumbnail": encode_thumbnail(thumbnail),
        }
        return json_text(value, indent=1, allow_nan=False) + "\n"


def _is_certain(prediction: Prediction) -> bool:
    return prediction.known and prediction.landmark_probability >= CERTAIN


def _shares(names: tuple[str, ...], values: npt.NDArray[np.float32]) -> dict[str, float]:
    pairs = zip(names, values.tolist(), strict=True)
    return {name: round(value, 4) for name, value in pairs if value >= _LEAST}
