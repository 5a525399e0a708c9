"""A whole lesson: a base and photographs in, a verified file with new heads out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import GateError, LmedgeError, ModelFileError
from ..evaluation import CROSS_VALIDATED
from ..files import write_bytes
from ..golden import golden_answers, verify
from ..image import PIXEL_MEAN, PIXEL_SCALE
from ..interpreter import Interpreter
from ..machine import package_version
from ..metadata import Card, pack
from ..model_file import ModelFile, bare_model, parse_model
from ..trial import GOLDEN, golden_image
from .backbone import FeatureReader
from .base import STRATEGY, Base
from .features import FeatureSet, coarse, unit
from .fitting import Teaching, teach_heads
from .gate import against_trained, copies, losses, not_distinguished, shortened
from .heads import with_heads
from .memory import DESCRIPTION, TAUGHT, remembered, storable
from .photographs import ReadPhotographs, check_counts

CLOSE = 1e-4  # between a probability of the file and the same in double precision
PACKAGES = ("numpy", "ai-edge-litert")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is to change.

    Attributes:
        add: Keep the landmarks of the base.
        remove: Landmarks of the base to drop.
        rename: Old and new names of landmarks or categories of the base.
        forget: Store no features.
        force: Write the file even if the gate refuses it.
    """

    add: bool = False
    remove: Sequence[str] = ()
    rename: Sequence[tuple[str, str]] = ()
    forget: bool = False
    force: bool = False

    @property
    def changes(self) -> bool:
        """True if the landmarks of the base stay, but for what is changed."""
        return bool(self.add or self.remove or self.rename)

    def applied(self, base: Base, read: ReadPhotographs | None) -> FeatureSet:
        """Return the features that the new file is taught from.

        Raises:
            DataError: A name is not there, is taken, or stands under another category.
            ModelFileError: The base remembers nothing that could stay.
        """
        if not self.changes:
            assert read is not None
            return read.found
        found = base.recalled()
        for name in self.remove:
            found = found.without(name)
        for old, new in self.rename:
            found = found.renamed(old, new)
        return found if read is None else found.with_others(read.found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Taught:
    """A taught file, not yet written.

    Attributes:
        file: The file as it is packed.
        features: What it was taught from.
        teaching: The heads and their honest answers.
        problems: Why the gate refuses it; empty if it passes.
        names: The photograph that each row is of, if it was read just now.
        heads: How the heads of a trained base compare with those in closed form, empty otherwise.
    """

    file: ModelFile
    features: FeatureSet
    teaching: Teaching
    problems: Sequence[str]
    names: Mapping[tuple[str, bytes], str] = dataclasses.field(default_factory=dict, repr=False)
    heads: str = ""


def teach_file(base: Base, read: ReadPhotographs | None, lesson: Lesson, path: Path) -> Taught:
    """Teach a base; `path` is the name that the file is to have.

    Raises:
        DataError: The photographs cannot be used.
        ModelFileError: The base cannot be used, or this runtime computes other answers.
    """
    found = lesson.applied(base, read)
    names = {} if read is None else read.names
    if not lesson.forget:
        found = storable(found)
    if found.bits != 8:
        names = {(name, _coarse(row, found.zero)): text for (name, row), text in names.items()}
    check_counts({name: len(rows) for name, rows in found.landmarks.items()})
    teaching, heads = teach_heads(found), ""
    problems = [
        *shortened(_copies(found, names, teaching.alike)),
        *shortened(not_distinguished(teaching)),
    ]
    if lesson.changes and base.remembered is not None:
        old = _kept(base.remembered, lesson)
        old = old if found.bits == old.bits else old.coarsened()
        if len(old.landmarks) > 1:
            before = teach_heads(old)
            problems += shortened(losses(before, old, teaching, found))
            if base.trained_f1 is not None:
                heads, refused = against_trained(base.trained_f1, before)
                problems += refused
    file = _packed(base, found, teaching, lesson, path, problems)
    return Taught(
        file=file,
        features=found,
        teaching=teaching,
        problems=problems,
        names=names,
        heads=heads,
    )


def _coarse(row: bytes, zero: int) -> bytes:
    return coarse(np.frombuffer(row, np.int8), zero).tobytes()


def write_taught(taught: Taught, lesson: Lesson) -> None:
    """Write the file, whole or not at all. Raises GateError if it is refused and not forced."""
    path = taught.file.path
    if taught.problems and not lesson.force:
        raise GateError(
            f"{path} was not written: {'; '.join(taught.problems)}. Correct the folders, list "
            "photographs in exclude.txt, or write it anyway with --force"
        )
    write_bytes(path, taught.file.data)


def _kept(found: FeatureSet, lesson: Lesson) -> FeatureSet:
    """Return the landmarks of the base that stay, under their new names."""
    for name in lesson.remove:
        found = found.without(name)
    for old, new in lesson.rename:
        found = found.renamed(old, new)
    return found


def _copies(
    found: FeatureSet,
    names: Mapping[tuple[str, bytes], str],
    pairs: Sequence[tuple[int, int]],
) -> list[str]:
    """Return a line for each photograph that stands under two landmarks."""
    places = place_names(found, names)
    return [
        f"{places[one]} and {places[other]} are one photograph, or nearly, of two landmarks; "
        "keep it in one folder"
        for one, other in copies(found, pairs)
    ]


def place_names(found: FeatureSet, names: Mapping[tuple[str, bytes], str]) -> list[str]:
    """Return a name for each photograph of a set: its path, if it was read just now."""
    return [
        names.get(
            (landmark, row.tobytes()), f"a photograph of {landmark!r} that the base remembers"
        )
        for landmark in sorted(found.landmarks)
        for row in found.landmarks[landmark]
    ]


def _packed(
    base: Base,
    found: FeatureSet,
    teaching: Teaching,
    lesson: Lesson,
    path: Path,
    problems: Sequence[str],
) -> ModelFile:
    backbone, taxonomy = base.backbone, teaching.taxonomy
    temperatures = {name: one.temperature for name, one in teaching.heads.heads.items()}
    graph = with_heads(backbone.data, teaching.heads)
    bare = bare_model(graph, path, taxonomy, backbone.resize, temperatures)
    _check_answers(bare, base, teaching)
    entry, files = remembered(found, forget=lesson.forget)
    info = {
        "format": base.format,
        "io": "uint8",
        "preprocessing": {
            "size": backbone.size,
            "resize": backbone.resize.value,
            "color": "RGB",
            "mean": PIXEL_MEAN,
            "scale": PIXEL_SCALE,
        },
        "temperatures": temperatures,
        "decoding": dataclasses.asdict(teaching.decoding),
        "metrics": (
            {CROSS_VALIDATED: {"file": teaching.scores.brief()}} if teaching.judged else {}
        ),
        "gate": {"problems": list(problems)},
        "provenance": _provenance(base, found, teaching),
        "rejection": teaching.rejection.as_dict(),
        "golden": golden_answers(bare, trusted=True),
        TAUGHT: entry,
        **({} if base.smoothing is None else {"smoothing": dict(base.smoothing)}),
    }
    card = Card(
        name=path.stem,
        description="landmarks and their categories, both heads; taught by lmedge",
        version=__version__,
        taxonomy=taxonomy,
        size=backbone.size,
        score_thresholds=teaching.rejection.heads,
        info=info,
        files={name: (content, DESCRIPTION) for name, content in files.items()},
    )
    file = parse_model(pack(graph, card), path)
    if not verify(file, trusted=True).identical:
        raise LmedgeError(f"{path}: its outputs changed as it was packed; nothing was written")
    return file


def _check_answers(bare: ModelFile, base: Base, teaching: Teaching) -> None:
    """Compare the graph with the same sums in double precision, on the golden images.

    Those are of the features as the graph has them, which are not rounded if they are no int8.
    """
    reader, interpreter = FeatureReader(base.backbone), Interpreter(bare, trusted=True)
    for number in range(GOLDEN):
        image = golden_image(number, bare.size)
        row = unit(reader.run(image)[None], base.backbone.zero)
        wanted = teaching.heads.outputs(row)
        for name, values in interpreter.run(image)._asdict().items():
            if float(np.abs(values - wanted[name][0]).max()) > CLOSE:
                raise ModelFileError(
                    f"{bare.path}: this runtime computes other {name} probabilities than were "
                    "taught; nothing was written, update the runtime"
                )


def _provenance(base: Base, found: FeatureSet, teaching: Teaching) -> dict[str, Any]:
    """Return what the file comes from; the way there, lesson by lesson, leaves no trace."""
    installed = {package: package_version(package) for package in PACKAGES}
    return {
        "strategy": STRATEGY,
        "base_sha256": base.sha256,
        "base_landmarks": list(base.learned),
        "backbone_sha256": base.backbone.sha256,
        "pictures": {"train": found.count},
        "bursts": teaching.bursts,
        "regularisation": {name: one.share for name, one in teaching.heads.heads.items()},
        "unknown_landmarks_accepted": teaching.passing,
        "exported_with": {name: version for name, version in installed.items() if version},
    }
