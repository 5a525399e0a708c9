"""The images that a file is judged by, and honest answers of a network for images it has learned.

A validation part has not been learned, so that the answers for it are honest as they are. The
network of a cross-fitted run has learned every image, and is certain by memory. Its out-of-fold
answers come from networks that had not seen the image. The change that quantization makes to the
logits of an image is therefore measured on the network that ships, and added to the out-of-fold
logits of the same image: what flips there would flip on an image that is new.

Quantization also blurs what the network has learned by heart, which a new image has nothing of. On
three runs the margin of a landmark against its rival fell by 0.15 on learned images and by 0.04 on
images kept aside. `without_memory` takes this out of the change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lmedge.decoding import softmax
from lmedge.evaluation import CROSS_VALIDATED
from lmedge.model_file import HEADS, KNOWN
from lmedge.train.arrays import Images
from lmedge.train.backbones import BACKBONES
from lmedge.train.out_of_fold import OutOfFold, read_out_of_fold
from lmedge.train.run import Run

from .comparison import Logits, Probabilities, Truth, file_logits
from .known import fit_known, known_score

MOST = 1000  # images that a cross-fitted run is judged by, at most; each runs through four networks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judge:
    """Images with their labels, and the honest answers of the float network as it was trained.

    Attributes:
        part: "val", CROSS_VALIDATED, or "train" if there is nothing better.
        places: (M,) indices of the images among those of their part of the split.
        truth: by head, (M,).
        honest: logits by head, (M, L) and (M, C), of networks that had not learned the image.
        own: logits of the float network that ships for the same images; None if they are honest.
        likeness: (M, L) of each image to each landmark by the features of a network that had not
            learned it, as the third output weights it; None if the file's own is honest.
    """

    part: str
    places: npt.NDArray[np.intp]
    truth: Truth
    honest: Logits
    own: Logits | None = None
    likeness: npt.NDArray[np.float64] | None = None

    @property
    def judges(self) -> bool:
        """False if the images are only those that the network has learned."""
        return self.part != "train"

    def shifted(self, logits: Logits) -> Logits:
        """Return the honest logits with the change from the float network to `logits`."""
        if self.own is None:
            return logits
        return {
            head: without_memory(self.honest[head], self.own[head], logits[head], self.truth[head])
            for head in HEADS
        }

    def shifted_file(
        self, found: Probabilities, temperatures: Mapping[str, float]
    ) -> Probabilities:
        """Return the probabilities of a file as `shifted` returns logits.

        Args:
            found: Outputs of the file for the images, by name.
            temperatures: Those inside the file, by head.
        """
        if self.own is None:
            return found
        given = {head: file_logits(found[head], temperatures[head]) for head in HEADS}
        moved = self.shifted(given)
        return {**found, **{head: softmax(moved[head], temperatures[head]) for head in HEADS}}

    def with_known(self, found: Probabilities, parents: npt.NDArray[np.intp]) -> Probabilities:
        """Return the honest outputs of a file with an honest third output, if it has that.

        Args:
            found: Outputs as `shifted_file` returns them.
            parents: The category of each landmark, (L,).
        """
        if self.likeness is None or KNOWN not in found:
            return found
        score = known_score(found, found["category"][:, parents], self.likeness)
        return {**found, KNOWN: np.stack([score, 1 - score], axis=1)}


def without_memory(
    honest: npt.NDArray[np.floating],
    own: npt.NDArray[np.floating],
    found: npt.NDArray[np.floating],
    truth: npt.NDArray[np.int64],
) -> npt.NDArray[np.float32]:
    """Return honest logits with the change from `own` to `found`, but for what memory explains.

    The common factor of the change applies to the honest logits, whose margins are smaller. The
    mean change of the true class, and that of its rival by the honest logits, are taken out: a
    damage of some classes remains, a loss of certainty that all learned images share does not.

    Args:
        honest: (N, C) logits of networks that had not learned the images.
        own: (N, C) logits of the float network that ships.
        found: (N, C) logits of the file.
        truth: (N,) class indices.
    """
    honest, own, found = (
        values.astype(np.float64) - values.mean(axis=1, keepdims=True)
        for values in (honest, own, found)
    )
    power = float((own * own).sum())
    factor = float((found * own).sum()) / power if power > 0 else 1.0
    change = found - factor * own
    if honest.shape[1] > 1:
        rows = np.arange(len(truth))
        others = honest.copy()
        others[rows, truth] = -np.inf
        for places in (truth, others.argmax(axis=1)):
            change[rows, places] -= change[rows, places].mean()
    return (factor * honest + change).astype(np.float32)


def judged_part(run: Run) -> str:
    """Return the name of the images that a run is judged by."""
    if run.entries("val"):
        return "val"
    return "train" if run.plan is None else CROSS_VALIDATED


def judged_images(run: Run, places: npt.NDArray[np.intp]) -> Images:
    """Return the images at `places` of the part of the split that `judged_part` is of."""
    part = "val" if run.entries("val") else "train"
    whole = len(places) == len(run.entries(part))
    return run.images(part, None if whole else places.tolist())


def out_of_fold_judge(run: Run, own: Logits, rows: npt.NDArray[np.intp]) -> Judge:
    """Return the judge of a cross-fitted run.

    Args:
        run: The run.
        own: Logits of its float network, as trained, for the chosen images.
        rows: The chosen ones among its out-of-fold answers, see `chosen_rows`.
    """
    found = read_out_of_fold(run)
    truth = found.truth(run)
    return Judge(
        part=CROSS_VALIDATED,
        places=found.places[rows],
        truth={head: truth[head][rows] for head in HEADS},
        honest={head: found.logits[head][rows] for head in HEADS},
        own=own,
        likeness=_likeness(run, found)[rows],
    )


def chosen_rows(run: Run) -> npt.NDArray[np.intp]:
    """Return the out-of-fold answers that a run is judged by: MOST by its seed, or all."""
    assert run.plan is not None
    count = len(run.plan.measured)
    if count <= MOST:
        return np.arange(count)
    rng = np.random.default_rng([run.seed, 3])
    return np.sort(rng.choice(count, MOST, replace=False))


def _likeness(run: Run, found: OutOfFold) -> npt.NDArray[np.float64]:
    """Return the out-of-fold likeness of each image to each landmark, (M, L)."""
    parents, truth = run.taxonomy.parent_index, run.labels("train")["landmark"]
    likeness = np.zeros((len(found.places), len(parents)))
    assert run.plan is not None
    for number, stored in enumerate(found.features):
        features = stored.astype(np.float64)
        learned, asked = run.plan.fold != number, found.fold == number
        unknown = found.unknown[number].astype(np.float64) if run.unknown else None
        known = fit_known(
            features[learned],
            truth[learned],
            parents,
            unknown,
            read=BACKBONES[run.spec.backbone].last_features,
        )
        likeness[asked] = known.likeness(features[found.places[asked]])
    return likeness
