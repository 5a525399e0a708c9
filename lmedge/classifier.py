"""Photographs in, predictions out: the two heads decoded together."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .decoding import Decoding
from .errors import LmedgeError
from .image import Color, check_frame, prepare_into
from .interpreter import Interpreter, Outputs
from .model_file import ModelFile, read_model
from .rejection import Threshold
from .taxonomy import Taxonomy
from .threads import best_threads


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One landmark that an image may show, with its joint probability in 0..1."""

    landmark: str
    category: str
    probability: float


class Reading(NamedTuple):
    """What a file says about one image before labels are chosen; the fields are Prediction's.

    `joint` is a list here: who smooths it needs no array of each frame.
    """

    joint: list[float]
    landmark_marginal: npt.NDArray[np.float32]
    category_marginal: npt.NDArray[np.float32]
    milliseconds: float
    agreement: float
    known: bool
    known_probability: float | None


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the file says about one image.

    The labels and `joint` come from both heads decoded together; `landmark_marginal` (L,) and
    `category_marginal` (C,) are what each head says alone, float32 in the order of the taxonomy.
    `agreement` is the probability, 0..1, that both heads mean the same, and `known_probability`
    that the image shows any of the landmarks, None where the file does not say it. `known` tells
    whether the latter, where there is one, reaches the file's threshold: an image below shows none
    of the file's landmarks, and the labels are no more than the nearest. `milliseconds` is the time
    from the decoded frame to this object.
    """

    landmark: str
    landmark_probability: float
    category: str
    category_probability: float
    top: tuple[Candidate, ...]
    joint: npt.NDArray[np.float32] = dataclasses.field(repr=False)
    landmark_marginal: npt.NDArray[np.float32] = dataclasses.field(repr=False)
    category_marginal: npt.NDArray[np.float32] = dataclasses.field(repr=False)
    milliseconds: float
    agreement: float = 1.0
    known: bool = True
    known_probability: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the labels for JSON, probabilities rounded to six places; see docs/formats.md."""
        return {
            "landmark": self.landmark,
            "landmark_probability": round(self.landmark_probability, 6),
            "category": self.category,
            "category_probability": round(self.category_probability, 6),
            "top": [
                {**dataclasses.asdict(entry), "probability": round(entry.probability, 6)}
                for entry in self.top
            ],
            "known": self.known,
            "known_probability": self.known_probability and round(self.known_probability, 6),
            "agreement": round(self.agreement, 6),
            "milliseconds": round(self.milliseconds, 3),
        }


class Classifier:
    """Classify images with one exported file.

    >>> Classifier("landmarks.tflite").classify(frame).landmark  # doctest: +SKIP

    May be used from several threads, which then take turns; for more at a time give each thread
    its own.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | ModelFile,
        *,
        threads: int | None = 1,
        top: int = 3,
        delegate: str | os.PathLike[str] | None = None,
        runtime: str | None = None,
    ) -> None:
        """Load and check `model`; `top` is how many candidates a Prediction lists.

        `threads`: None measures once which count is fastest here. `delegate`: the path of a TFLite
        delegate. `runtime`: "litert" or "tflite-runtime", where both are installed. Raises
        ModelFileError when the file cannot be used, LmedgeError when the delegate cannot,
        MissingDependencyError without the runtime.
        """
        if top < 1:
            raise LmedgeError(f"top must be at least 1, not {top}")
        self.model = model if isinstance(model, ModelFile) else read_model(model)
        self.top = top
        if threads is None:
            threads = 1 if delegate is not None else best_threads(self.model, runtime)
        self.decoding = Decoding.of(self.model)
        self.threshold = Threshold.of(self.model)
        self._scratch = np.empty((self.model.size, self.model.size, 3), np.uint8)
        self.interpreter = Interpreter(self.model, threads, delegate=delegate, runtime=runtime)
        taxonomy = self.model.taxonomy
        self._parents: list[int] = taxonomy.parent_index.tolist()
        self._names = tuple(taxonomy.hierarchy().items())
        self._members = {
            name: [place for place, parent in enumerate(self._parents) if parent == index]
            for index, name in enumerate(taxonomy.categories)
        }

    @property
    def taxonomy(self) -> Taxonomy:
        """The labels the file knows."""
        return self.model.taxonomy

    def classify(self, frame: npt.NDArray[np.uint8], *, color: Color = "rgb") -> Prediction:
        """Classify one frame, (H, W, 3) uint8 of any size; color="bgr" for OpenCV's own order."""
        start = time.perf_counter()
        return self.decode(*self._run(frame, color), start=start)

    def read(self, frame: npt.NDArray[np.uint8], *, color: Color = "rgb") -> Reading:
        """As `classify`, without choosing labels: for `with_joint`, once they are smoothed."""
        start = time.perf_counter()
        return self._reading(*self._run(frame, color), start=start)

    def _run(self, frame: npt.NDArray[np.uint8], color: Color) -> Outputs:
        check_frame(frame)
        resize, scratch = self.model.resize, self._scratch  # one image is run after the other
        return self.interpreter.run(
            lambda out: prepare_into(out, frame, resize, color=color, scratch=scratch)
        )

    def classify_many(
        self, frames: Iterable[npt.NDArray[np.uint8]], *, color: Color = "rgb"
    ) -> list[Prediction]:
        """Classify each frame in turn."""
        return [self.classify(frame, color=color) for frame in frames]

    def decode(
        self,
        landmark: npt.NDArray[np.float32],
        category: npt.NDArray[np.float32],
        known: npt.NDArray[np.float32] | None = None,
        start: float | None = None,
    ) -> Prediction:
        """Decode the probabilities of the two heads, (L,) and (C,), and of the third output, (2,).

        known: None of a file without it. start: by perf_counter.
        """
        reading = self._reading(landmark, category, known, start=start)
        return self._answer(reading, np.array(reading.joint, np.float32), start=start)

    def _reading(
        self,
        landmark: npt.NDArray[np.float32],
        category: npt.NDArray[np.float32],
        third: npt.NDArray[np.float32] | None,
        start: float | None,
    ) -> Reading:
        # `joint_probabilities` and `agreement` in plain Python: an invoke leaves nothing in the
        # caches, and each routine of NumPy that is called then costs more than all of this.
        weight = self.decoding.category_weight
        alone, above = landmark.tolist(), category.tolist()
        weighed = above if weight == 1.0 else [value**weight for value in above]
        agreed, total, product = 0.0, 0.0, []
        for value, parent in zip(alone, self._parents, strict=True):
            agreed += value * above[parent]
            both = value * weighed[parent]
            total += both
            product.append(both)
        joint = [value / total for value in product] if total > 0 else alone
        shown = None if third is None else third.item(0)
        known = self.threshold.score_of(agreed, shown) >= self.threshold.least
        milliseconds = 0.0 if start is None else 1000.0 * (time.perf_counter() - start)
        return Reading(joint, landmark, category, milliseconds, agreed, known, shown)

    def with_joint(
        self,
        prediction: Prediction | Reading,
        joint: npt.NDArray[np.float32],
        *,
        lead: int | None = None,
    ) -> Prediction:
        """Answer again from another joint probability (L,), a smoothed one for instance.

        Marginals, agreement, `known` and the time stay those of `prediction`. `lead`: index of the
        landmark to answer with, in place of the most probable one.
        """
        return self._answer(prediction, joint, lead)

    def _answer(
        self,
        said: Prediction | Reading,
        joint: npt.NDArray[np.float32],
        lead: int | None = None,
        start: float | None = None,
    ) -> Prediction:
        values = joint.tolist()
        # Plain Python as above; stable, so that of equal ones the first leads.
        order = sorted(range(len(values)), key=values.__getitem__, reverse=True)[: self.top]
        if lead is not None and order[0] != lead:
            order = [lead, *(index for index in order if index != lead)][: self.top]
        top = tuple([Candidate(*self._names[index], values[index]) for index in order])
        best = top[0]  # one answer: never a landmark of another category
        return Prediction(
            best.landmark,
            best.probability,
            best.category,
            min(1.0, sum([values[index] for index in self._members[best.category]])),
            top,
            joint,
            said.landmark_marginal,
            said.category_marginal,
            said.milliseconds if start is None else 1000.0 * (time.perf_counter() - start),
            said.agreement,
            said.known,
            said.known_probability,
        )
