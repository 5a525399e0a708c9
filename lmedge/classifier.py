"""Images to predictions: the two heads of a file, decoded together."""

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
from .image import Color, check_frame, prepare_into, read_image
from .interpreter import Interpreter
from .model_file import ModelFile, read_model
from .rejection import Threshold
from .runner import Outputs
from .taxonomy import Taxonomy
from .threads import best_threads

TOP = 3  # candidates that a Prediction lists


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """One landmark that an image may show.

    Attributes:
        landmark: Name of the landmark.
        category: Name of its category.
        probability: Joint probability of the landmark, 0 to 1.
    """

    landmark: str
    category: str
    probability: float


class Reading(NamedTuple):
    """The outputs of a file for one image, before labels are chosen.

    The fields are those of Prediction, but `joint` is a list: smoothing needs no array of each
    frame.
    """

    joint: list[float]
    landmark_marginal: npt.NDArray[np.float32]
    category_marginal: npt.NDArray[np.float32]
    milliseconds: float
    agreement: float
    known: bool
    known_probability: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The labels of one image, and the probabilities behind them.

    The landmark, its category and `joint` come from both heads decoded together, so that the
    category is always that of the landmark.

    Attributes:
        landmark: Name of the most probable landmark.
        landmark_probability: Its joint probability, 0 to 1.
        category: Name of the landmark's category.
        category_probability: Sum of the joint probabilities of the category's landmarks, 0 to 1.
        top: The most probable landmarks, best first.
        joint: (L,) float32 joint probabilities, in the order of `taxonomy.landmarks`.
        landmark_marginal: (L,) float32 probabilities of the landmark head alone.
        category_marginal: (C,) float32 probabilities of the category head alone, in the order of
            `taxonomy.categories`.
        milliseconds: Time from the decoded frame to this object.
        agreement: Probability that both heads mean the same landmark, 0 to 1.
        known: False if the image shows none of the file's landmarks, by the threshold in the
            file. The labels are then the nearest ones only.
        known_probability: Probability that the image shows any of the landmarks, 0 to 1; None
            from a file without that output.
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
        """Return the labels for JSON, with probabilities rounded to six places.

        docs/formats.md names the fields.
        """
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

    Several threads may use one classifier, which then runs one image after the other. To run
    more at a time, give each thread its own.

    Attributes:
        model: The checked file.
        top: The number of candidates that a Prediction lists.
        interpreter: The runtime with the graph loaded.
        decoding: The weight of the category head.
        threshold: The least score of an image that shows a known landmark.

    Examples:
        >>> Classifier("landmarks.tflite").classify(frame).landmark  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | ModelFile,
        *,
        threads: int | None = 1,
        top: int = TOP,
        delegate: str | os.PathLike[str] | None = None,
        runtime: str | None = None,
    ) -> None:
        """Load and check a file.

        Args:
            model: Path of the file, or the file as `read_model` returns it.
            threads: Threads of the runtime; None measures once which count is fastest here.
            top: The number of candidates that a Prediction lists, at least 1.
            delegate: Path of a TFLite delegate, a shared library for an accelerator.
            runtime: "litert" or "tflite-runtime"; None takes the first one installed.

        Raises:
            ModelFileError: The file is missing, damaged, not made by lmedge, or does not run here.
            LmedgeError: The delegate cannot be loaded, or a value is out of range.
            MissingDependencyError: The runtime is not installed.
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
        self._names = [
            {"landmark": landmark, "category": category}
            for landmark, category in taxonomy.hierarchy().items()
        ]
        self._members = {
            name: [place for place, parent in enumerate(self._parents) if parent == index]
            for index, name in enumerate(taxonomy.categories)
        }

    @property
    def taxonomy(self) -> Taxonomy:
        """The landmarks and categories that the file knows."""
        return self.model.taxonomy

    def classify(self, frame: npt.NDArray[np.uint8], *, color: Color = "rgb") -> Prediction:
        """Classify one frame.

        Args:
            frame: (H, W, 3) uint8 of any size, upright.
            color: Order of the channels, "rgb" or "bgr"; OpenCV's own order is "bgr".

        Returns:
            The labels and probabilities of the frame.

        Raises:
            DataError: The frame has another shape or dtype.
        """
        start = time.perf_counter()
        return self.decode(*self._run(frame, color), start=start)

    def classify_file(self, path: str | os.PathLike[str]) -> Prediction:
        """Classify an image file as `lmedge predict` and `lmedge benchmark` do.

        A large JPEG is decoded at the scale that the file's input needs.

        Args:
            path: A file of one of the formats in docs/formats.md.

        Returns:
            The labels and probabilities of the image.

        Raises:
            DataError: The file is missing, too large, or cannot be decoded.
        """
        return self.classify(read_image(path, self.model.size))

    def read(self, frame: npt.NDArray[np.uint8], *, color: Color = "rgb") -> Reading:
        """Do as `classify` without choosing labels, which `with_joint` does after smoothing."""
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
        """Classify each frame in turn; arguments and errors are those of `classify`."""
        return [self.classify(frame, color=color) for frame in frames]

    def decode(
        self,
        landmark: npt.NDArray[np.float32],
        category: npt.NDArray[np.float32],
        known: npt.NDArray[np.float32] | None = None,
        start: float | None = None,
    ) -> Prediction:
        """Decode the probabilities of the heads.

        Args:
            landmark: (L,) float32 probabilities of the landmark head.
            category: (C,) float32 probabilities of the category head.
            known: (2,) float32 of the third output; None from a file without it.
            start: `time.perf_counter()` when the work on the image began; None leaves the time 0.
        """
        reading = self._reading(landmark, category, known, start=start)
        return self._choose(reading, np.array(reading.joint, np.float32), start=start)

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
        """Choose labels again by another joint probability, a smoothed one for instance.

        Args:
            prediction: Source of the marginals, the agreement, `known` and the time.
            joint: (L,) float32 joint probabilities.
            lead: Index of the landmark to choose in place of the most probable one.
        """
        return self._choose(prediction, joint, lead)

    def _choose(
        self,
        reading: Prediction | Reading,
        joint: npt.NDArray[np.float32],
        lead: int | None = None,
        start: float | None = None,
    ) -> Prediction:
        values = joint.tolist()
        # Plain Python as above; stable, so that of equal ones the first leads.
        order = sorted(range(len(values)), key=values.__getitem__, reverse=True)[: self.top]
        if lead is not None and order[0] != lead:
            order = [lead, *(index for index in order if index != lead)][: self.top]
        top = tuple([Candidate(**self._names[index], probability=values[index]) for index in order])
        best = top[0]  # one answer: never a landmark of another category
        inside = sum([values[index] for index in self._members[best.category]])
        taken = reading.milliseconds if start is None else 1000.0 * (time.perf_counter() - start)
        return Prediction(
            landmark=best.landmark,
            landmark_probability=best.probability,
            category=best.category,
            category_probability=min(1.0, inside),
            top=top,
            joint=joint,
            landmark_marginal=reading.landmark_marginal,
            category_marginal=reading.category_marginal,
            milliseconds=taken,
            agreement=reading.agreement,
            known=reading.known,
            known_probability=reading.known_probability,
        )
