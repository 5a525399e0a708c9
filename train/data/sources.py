"""Properties of the files that give the landmark away, whatever the images show.

The files of a class from one camera, website or program may share their size, border or
compression. The network then learns that in place of the building. Figures on images of the same
source do not show it.

Two statistics, over images that can be read:

- For a landmark c and a value v of a property, the share of c's images with v, against the share
  of all other images with v. Reported if at least MIN_IMAGES of c have v, and if the first
  share is at least MIN_INSIDE and at least MIN_RATIO times the second.
- For a property, the accuracy of guessing the landmark from its value alone, against always
  guessing the largest class. The guess is the most frequent landmark among the *other* images with
  that value (leave one out). A value without other images counts as wrong. Reported if
  the accuracy is at least MIN_GAIN above that of always guessing the largest class.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from .findings import DataFinding
from .inspection import Inspected

MIN_IMAGES = 5
MIN_INSIDE = 0.5
MIN_RATIO = 10
MIN_GAIN = 0.25


@dataclasses.dataclass(frozen=True)
class Property:
    """A property of the files, and how well it predicts the landmark: accuracies in 0..1."""

    name: str
    accuracy: float
    chance: float

    @property
    def gives_away(self) -> bool:
        """True if it predicts the landmark far better than chance."""
        return self.accuracy >= self.chance + MIN_GAIN


def _values(one: Inspected) -> dict[str, str]:
    """Return the value of each property of an image that can be read."""
    width, height = one.size or (0, 0)
    return {
        "size": f"{width} x {height} pixels",
        "border": f"an even border: {', '.join(one.border)}" if one.border else "",
        "compression": f"JPEG tables {one.quantization}" if one.quantization else "",
        "format": f"{one.kind} files",
    }


def properties(seen: Sequence[Inspected]) -> list[Property]:
    """Return each property with its accuracy at predicting the landmark."""
    usable = [one for one in seen if one.usable]
    if not usable:
        return []
    landmarks = [one.image.landmark for one in usable]
    chance = max(Counter(landmarks).values()) / len(landmarks)
    values = [_values(one) for one in usable]
    return [
        Property(name, _left_out([value[name] for value in values], landmarks), chance)
        for name in values[0]
    ]


def _left_out(values: Sequence[str], landmarks: Sequence[str]) -> float:
    """Return the leave-one-out accuracy of the landmark given the value."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for value, landmark in zip(values, landmarks, strict=True):
        counts[value][landmark] += 1
    right = 0
    for value, landmark in zip(values, landmarks, strict=True):
        others = counts[value][landmark] - 1
        rival = max((n for name, n in counts[value].items() if name != landmark), default=0)
        right += others > rival
    return right / len(values)


def source_findings(seen: Sequence[Inspected]) -> Iterator[DataFinding]:
    """Yield the landmarks, and the properties, that the files' own marks give away."""
    usable = [one for one in seen if one.usable]
    total, sizes = len(usable), Counter(one.image.landmark for one in usable)
    with_value: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for one in usable:
        for name, value in _values(one).items():
            if value:
                with_value[name, value][one.image.landmark].append(one.name)
    for (_, value), members in sorted(with_value.items()):
        everywhere = sum(map(len, members.values()))
        for landmark, names in sorted(members.items()):
            others = total - sizes[landmark]
            outside = (everywhere - len(names)) / others if others else 1.0
            inside = len(names) / sizes[landmark]
            marked = inside >= max(MIN_INSIDE, MIN_RATIO * outside)
            if len(names) >= MIN_IMAGES and marked:
                yield _of_class(landmark, value, names, inside, outside)
    for found in properties(seen):
        if found.gives_away:
            message = (
                f"all landmarks: the {found.name} alone predicts the landmark of "
                f"{found.accuracy:.0%} of the images, by chance {found.chance:.0%}"
            )
            yield DataFinding("one-source", message)


def _of_class(
    landmark: str, value: str, names: list[str], inside: float, outside: float
) -> DataFinding:
    message = f"{landmark}: {inside:.0%} of its images have {value}, {outside:.1%} of the others"
    return DataFinding("one-source", message, names=tuple(names), landmarks=(landmark,))
