"""Out-of-fold answers: of networks that had not seen the images which they are asked about.

The file is a part of the run folder. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.errors import RunError
from lmedge.model_file import HEADS

from .arrays import Floats, Weights, read_arrays, write_arrays
from .data.split import label_indices
from .history import HistoryRow
from .run import Run

FILE = "out_of_fold.safetensors"
FOLDS = "folds"  # the folder of the fold networks, in the run folder
_SHARE = "share/"


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """The answers of a run's fold networks.

    Attributes:
        places: (M,) indices of the measured images among the training images, ascending.
        fold: (M,) the network that had not seen each.
        logits: by head, (M, L) and (M, C) of that network.
        features: (K, N, F) float16, of each fold network for ALL N training images. The backbone's
            pooled features; row `features[fold[i], places[i]]` is out of fold.
        unknown: (K, U, F) float16, of each fold network for the run's unknown images.
        shares: by phase, the share of fine-tuned weights that these answers chose.
    """

    places: npt.NDArray[np.intp]
    fold: npt.NDArray[np.int64]
    logits: Mapping[str, Floats]
    features: npt.NDArray[np.float16]
    unknown: npt.NDArray[np.float16]
    shares: Mapping[str, float]

    def truth(self, run: Run) -> dict[str, npt.NDArray[np.int64]]:
        """Return the label indices of the measured images by head, (M,) each."""
        entries = run.entries("train")
        return label_indices([entries[place] for place in self.places], run.taxonomy)

    def write(self, folder: Path) -> None:
        """Write the file of a run folder."""
        shares = {f"{_SHARE}{name}": np.array([value]) for name, value in self.shares.items()}
        arrays: Weights = {
            "places": self.places,
            "fold": self.fold,
            "features": self.features,
            "unknown": self.unknown,
            **self.logits,
            **shares,
        }
        write_arrays(folder / FILE, arrays)


def fold_folder(run: Run, number: int) -> Path:
    """Return the run folder of a fold network, `number` from 0."""
    return run.folder / FOLDS / f"fold-{number + 1}"


def fold_run(run: Run, number: int) -> Run:
    """Return a run with the folder of a fold network, to read its history."""
    return dataclasses.replace(run, folder=fold_folder(run, number))


def fold_history(run: Run) -> list[HistoryRow]:
    """Return history.csv with the validation figures of the fold networks, their mean.

    The network that ships has no images to validate with. Epochs that not all folds have are left
    as they are, and so is the history of a run that was not cross-fitted.
    """
    networks = 0 if run.plan is None else run.plan.networks
    folds = [fold_run(run, number).history() for number in range(networks)]
    own: dict[tuple[str, int], list[HistoryRow]] = {}
    for row in itertools.chain.from_iterable(folds):
        own.setdefault((row.phase, row.epoch), []).append(row)
    return [_validated(row, own.get((row.phase, row.epoch), []), networks) for row in run.history()]


def _validated(row: HistoryRow, folds: Sequence[HistoryRow], networks: int) -> HistoryRow:
    if not folds or len(folds) < networks:
        return row
    return dataclasses.replace(
        row,
        val_loss=float(np.mean([one.val_loss for one in folds])),
        val_accuracy=float(np.mean([one.val_accuracy for one in folds])),
        val_macro_f1=float(np.mean([one.val_macro_f1 for one in folds])),
    )


def has_answers(folder: Path) -> bool:
    """Return true if the fold networks of a run folder have all been asked."""
    return (folder / FILE).exists()


def read_out_of_fold(run: Run) -> OutOfFold:
    """Read the out-of-fold answers of a cross-fitted run.

    Raises:
        RunError: if the file is missing, damaged or of another run.
    """
    path = run.folder / FILE
    if run.plan is None:
        raise RunError(f"{run.folder} was not cross-fitted; it has no out-of-fold answers")
    arrays = read_arrays(path)
    try:
        found = OutOfFold(
            places=arrays["places"],
            fold=arrays["fold"],
            logits={head: arrays[head] for head in HEADS},
            features=arrays["features"],
            unknown=arrays["unknown"],
            shares={
                name.removeprefix(_SHARE): float(value[0])
                for name, value in arrays.items()
                if name.startswith(_SHARE)
            },
        )
        _check(run, found)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise RunError(f"{path} is damaged or of another run ({error}); train anew") from error
    return found


def _check(run: Run, found: OutOfFold) -> None:
    """Raise ValueError unless the arrays fit the run and are finite."""
    plan, taxonomy = run.plan, run.taxonomy
    assert plan is not None
    measured = plan.measured
    classes = {"landmark": len(taxonomy.landmarks), "category": len(taxonomy.categories)}
    if not np.array_equal(found.places, measured):
        raise ValueError("other images")
    if not np.array_equal(found.fold, plan.fold[measured]):
        raise ValueError("other folds")
    for head, values in found.logits.items():
        if values.shape != (len(measured), classes[head]) or not np.isfinite(values).all():
            raise ValueError(f"the {head} logits")
    if found.features.shape[:2] != (plan.networks, len(plan.assigned)):
        raise ValueError("the features")
    if found.unknown.shape[:2] != (plan.networks, len(run.unknown)):
        raise ValueError("the unknown images")
