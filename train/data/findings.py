"""Findings about photographs: their kinds, what to do about each, and the search for them."""

from __future__ import annotations

import dataclasses
import statistics
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from .inspection import Inspected
from .similar import Pairs, groups_of, pairs_alike

IMBALANCE = 4  # times the median
# Pixels: half the default input, so that one pixel becomes at most two each way.
MIN_SIDE = 112
_RANK = {"test": 2, "val": 1, "train": 0, None: 0}  # the part that keeps its copy
# kind -> (what it is, what to do about it), in the order of the table
KINDS = {
    "unreadable": ("cannot be read", "replace or remove it; training skips it"),
    "truncated": ("stops before its end", "get the file again; the rest is grey to the network"),
    "two-landmarks": (
        "the same image under two landmarks",
        "keep it where it belongs; the exclude file leaves out every copy",
    ),
    "leak": (
        "the same image in two parts",
        "remove it from one; the exclude file keeps it in test, else in val",
    ),
    "two-categories": ("a landmark under two categories", "move its images into one folder"),
    "similar-names": (
        "landmark names that differ in case, spaces or marks only",
        "if they are one landmark, move the images into one folder",
    ),
    "too-small": ("too few different images for the split", "add images or remove the class"),
    "imbalance": (
        f"a class more than {IMBALANCE} times larger or smaller than the median",
        "add images to the small ones; macro F1 counts every class alike",
    ),
    "one-source": (
        "a property of the file gives the landmark away",
        "add images from elsewhere, or save all images in one way",
    ),
    "duplicate": (
        "near-duplicates of one landmark in one part",
        "one is enough; the exclude file keeps the largest",
    ),
    "wrong-suffix": ("its content is not what its name says", "rename it; it is read all the same"),
    "tiny": ("fewer pixels than the network needs", "find a larger image"),
}


@dataclasses.dataclass(frozen=True)
class DataFinding:
    """One problem.

    Attributes:
        kind: a key of KINDS.
        message: a line for people.
        names: the images, relative to DATA.
        landmarks: the landmarks.
        exclude: those of `names` that go into the exclude file.
    """

    kind: str
    message: str
    _: dataclasses.KW_ONLY
    names: tuple[str, ...] = ()
    landmarks: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of finding {self.kind!r}")
        if not set(self.exclude) <= set(self.names):
            raise ValueError("the excluded images must be among the named ones")


def by_kind(findings: Sequence[DataFinding]) -> Iterator[tuple[str, list[DataFinding]]]:
    """Yield each kind that occurs with its findings, in the order of KINDS."""
    for kind in KINDS:
        found = [finding for finding in findings if finding.kind == kind]
        if found:
            yield kind, found


def alike_images(seen: Sequence[Inspected]) -> Pairs:
    """Return the pairs (i, j), i < j, of near-duplicate images, by an all-pairs search."""
    usable = [index for index, one in enumerate(seen) if one.fingerprint is not None]
    fingerprints = [one.fingerprint for one in seen if one.fingerprint is not None]
    return [(usable[i], usable[j]) for i, j in pairs_alike(fingerprints, details=True)]


def with_identical(seen: Sequence[Inspected], alike: Pairs) -> Pairs:
    """Return the pairs `alike`, and those of files with the same bytes, sorted."""
    pairs = set(alike)
    first: dict[str, int] = {}
    for index, one in enumerate(seen):
        if one.sha256:  # images of one colour have no details to compare, but may be one file
            known = first.setdefault(one.sha256, index)
            if known != index:
                pairs.add((known, index))
    return sorted(pairs)


def duplicate_findings(seen: Sequence[Inspected], pairs: Pairs) -> Iterator[DataFinding]:
    """Yield the groups of same images: under two landmarks, in two parts, or in one class."""

    def groups(of: Callable[[Inspected, Inspected], bool]) -> Iterator[list[Inspected]]:
        kept = [(i, j) for i, j in pairs if of(seen[i], seen[j])]
        for group in groups_of(len(seen), kept):
            if len(group) > 1:
                yield [seen[index] for index in group]

    for group in groups(lambda a, b: a.image.landmark != b.image.landmark):
        yield _finding("two-landmarks", group, exclude=group)
    for group in groups(lambda a, b: a.part != b.part):
        best = max(_RANK[one.part] for one in group)
        yield _finding("leak", group, exclude=[o for o in group if _RANK[o.part] < best])
    for group in groups(lambda a, b: (a.part, a.image.landmark) == (b.part, b.image.landmark)):
        largest = max(group, key=_worth)
        yield _finding("duplicate", group, exclude=[one for one in group if one is not largest])


def _worth(one: Inspected) -> tuple[bool, int, str]:
    width, height = one.size or (0, 0)
    return one.problem is None, width * height, one.name


def _finding(kind: str, group: list[Inspected], exclude: list[Inspected]) -> DataFinding:
    landmarks = sorted({one.image.landmark for one in group})
    where = {"two-landmarks": " and ".join(landmarks), "leak": _parts(group)}.get(
        kind, landmarks[0]
    )
    identical = len({one.sha256 for one in group}) == 1
    what = f"the same file {len(group)} times" if identical else f"{len(group)} near-duplicates"
    names = tuple(one.name for one in group)
    message = f"{where}: {what}: {', '.join(names)}"
    return DataFinding(
        kind,
        message,
        names=names,
        landmarks=tuple(landmarks),
        exclude=tuple(one.name for one in exclude),
    )


def _parts(group: list[Inspected]) -> str:
    return " and ".join(
        sorted({one.part or "" for one in group}, key=lambda part: _RANK.get(part, 0))
    )


def name_findings(seen: Sequence[Inspected]) -> Iterator[DataFinding]:
    """Yield landmarks under two categories, and landmarks whose names are nearly the same."""
    categories: dict[str, dict[str, str]] = defaultdict(dict)
    alike: dict[str, set[str]] = defaultdict(set)
    for one in seen:
        landmark = one.image.landmark
        categories[landmark].setdefault(one.image.category, one.name)
        alike[_plain(landmark)].add(landmark)
    for landmark, examples in sorted(categories.items()):
        if len(examples) > 1:
            message = f"{landmark}: under {' and '.join(sorted(examples))}"
            names = tuple(examples.values())
            yield DataFinding("two-categories", message, names=names, landmarks=(landmark,))
    for landmarks in sorted(map(sorted, alike.values())):
        if len(landmarks) > 1:
            message = f"{' and '.join(map(repr, landmarks))} are nearly the same name"
            yield DataFinding("similar-names", message, landmarks=tuple(landmarks))


def _plain(name: str) -> str:
    """Return a name's letters and digits alone, in one case and without accents."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", name).casefold() if c.isalnum())
    return letters or name


def size_findings(
    seen: Sequence[Inspected], pairs: Pairs, fractions: Mapping[str, float]
) -> Iterator[DataFinding]:
    """Yield classes that are too small for the split, and classes far from the median.

    fractions: of the parts "val" and "test" that are cut if they are not given. Near-duplicates
    stay on one side and so count as one image.
    """
    given = {one.part for one in seen if one.part is not None}
    cut = _parts_to_cut(given, fractions)
    different = _count_different(seen, pairs)
    landmarks = sorted({one.image.landmark for one in seen})
    training = {name: different[name, "train" if given else None] for name in landmarks}
    for name, count in training.items():
        needed = 1 + len(cut)
        if count < needed:
            parts = " and ".join(["training", *cut])
            yield _too_small(f"{name}: {count} different images for {parts}", name)
        for part in sorted(given - {"train"}):
            if count and not different[name, part]:
                yield _too_small(f"{name}: no image in the {part} part", name)
    yield from _imbalance(training)


def _parts_to_cut(given: set[str], fractions: Mapping[str, float]) -> list[str]:
    """Return the parts that `make_split` cuts."""
    cut = [part for part, share in fractions.items() if part not in given and share > 0]
    return [part for part in cut if part != "test" or not given & {"val", "test"}]


def _count_different(seen: Sequence[Inspected], pairs: Pairs) -> Counter[tuple[str, str | None]]:
    places = [(one.image.landmark, one.part) for one in seen]
    inside = [(i, j) for i, j in pairs if places[i] == places[j]]
    counts: Counter[tuple[str, str | None]] = Counter()
    for group in groups_of(len(seen), inside):
        if any(seen[index].usable for index in group):
            counts[places[group[0]]] += 1
    return counts


def _too_small(message: str, landmark: str) -> DataFinding:
    return DataFinding("too-small", message, landmarks=(landmark,))


def _imbalance(training: Mapping[str, int]) -> Iterator[DataFinding]:
    median = statistics.median(training.values()) if training else 0
    for name, count in training.items():
        if count > IMBALANCE * median or 0 < count < median / IMBALANCE:
            message = f"{name}: {count} images, the median is {median:g}"
            yield DataFinding("imbalance", message, landmarks=(name,))
