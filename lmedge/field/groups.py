"""Groups of collected images that look alike, for one label at a time."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..similar import THUMBNAIL
from .collected import CollectedImage

LARGEST = 12  # images that a screen shows at once
_SAME = 0.6  # mean of both cosines, above which two images are of one look
_CANDIDATES, _LIKELY = 9, 3  # at most, one a digit; so many are shown however unlikely
_LEAST = 0.005  # mean probability of the others


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageGroup:
    """Images with one prediction that look alike."""

    images: tuple[CollectedImage, ...]

    @property
    def margin(self) -> float:
        """The mean difference of the two likeliest landmarks of its images."""
        return sum(image.margin for image in self.images) / len(self.images)

    @property
    def candidates(self) -> list[tuple[str, str, float]]:
        """The likeliest labels of all its images: landmark, category, mean joint probability."""
        total: dict[tuple[str, str], float] = defaultdict(float)
        for image in self.images:
            for one in image.prediction["top"]:
                total[one["landmark"], one["category"]] += float(one["probability"])
        best = sorted(total.items(), key=lambda item: -item[1])[:_CANDIDATES]
        shares = [(*names, value / len(self.images)) for names, value in best]
        return shares[:_LIKELY] + [one for one in shares[_LIKELY:] if one[2] >= _LEAST]


def make_groups(images: Sequence[CollectedImage]) -> list[ImageGroup]:
    """Return groups of at most LARGEST images of one prediction, the least decided groups first.

    Labels of these are worth the most to who labels some of the images only
    (`benchmarks/studies/label_choice.py`). Groups of unknown images come behind, the largest
    predictions first. Inside a prediction, images that look alike stand together, and bursts stay
    whole if they fit. Known and unknown images are never in one group.
    """
    predicted: dict[tuple[bool, str], list[CollectedImage]] = defaultdict(list)
    for image in images:
        predicted[image.known, image.landmark].append(image)
    ordered = sorted(predicted.items(), key=lambda item: (not item[0][0], -len(item[1]), item[0]))
    groups = []
    for _, members in ordered:
        chunk: list[CollectedImage] = []
        for look in _looks(sorted(members, key=lambda one: (one.burst, one.number))):
            if chunk and len(chunk) + len(look) > LARGEST:
                groups.append(chunk)
                chunk = []
            while len(look) > LARGEST:
                groups.append(look[:LARGEST])
                look = look[LARGEST:]  # noqa: PLW2901
            chunk = chunk + look
        if chunk:
            groups.append(chunk)
    made = [ImageGroup(images=tuple(group)) for group in groups]
    return sorted(made, key=lambda group: group.margin if group.images[0].known else 2.0)


def _looks(images: Sequence[CollectedImage]) -> list[list[CollectedImage]]:
    """Return the images by looks: each is like the first of its own (leader clustering)."""
    vectors = _vectors(images)
    leaders: list[int] = []
    looks: list[list[CollectedImage]] = []
    for index, image in enumerate(images):
        near = vectors[leaders] @ vectors[index] / 2 if leaders else np.empty(0, np.float32)
        if len(near) and near.max() >= _SAME:
            looks[int(near.argmax())].append(image)
        else:
            leaders.append(index)
            looks.append([image])
    return looks


def _vectors(images: Sequence[CollectedImage]) -> npt.NDArray[np.float32]:
    """Return (N, D) float32: the grey thumbnail and the probabilities, each of length 1."""
    names = sorted({name for image in images for name in image.landmarks})
    places = {name: index for index, name in enumerate(names)}
    looks = np.zeros((len(images), THUMBNAIL * THUMBNAIL), np.float32)
    shares = np.zeros((len(images), max(1, len(names))), np.float32)
    for row, image in enumerate(images):
        halves = image.thumbnail.reshape(THUMBNAIL, 2, THUMBNAIL, 2).astype(np.float32)
        small = halves.mean(axis=(1, 3)).ravel()
        looks[row] = small - small.mean()
        for name, share in image.landmarks.items():
            shares[row, places[name]] = share
    parts = [
        part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-9)
        for part in (looks, shares)
    ]
    return np.concatenate(parts, axis=1)
