"""The state of the phases on disk: what a killed training goes on with, and what a phase leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lmedge.errors import RunError

from ..arrays import Weights, read_arrays, write_arrays
from ..backend import keras, tf
from ..history import HistoryRow
from ..network import build_network, get_weights, set_weights
from ..run import Run
from .divergence import check_finite
from .replicas import outside
from .validation import Quality


def checkpoint_folder(run: Run) -> Path:
    """Return the folder of the phases' states while training goes on."""
    return run.checkpoints


def phase_file(run: Run, phase: str, suffix: str = "") -> Path:
    """Return a file of a phase: its state, or with a suffix "-best", "-start" or "-share"."""
    return checkpoint_folder(run) / f"{phase}{suffix}.safetensors"


def start_weights(run: Run, phase: str, network: keras.Model) -> tuple[Weights, Path]:
    """Return the weights a phase began with, and their file. The first call writes it."""
    path = phase_file(run, phase, "-start")
    if not path.exists():
        write_arrays(path, get_weights(network))
    return read_arrays(path), path


def start_network(run: Run, phase: str, network: keras.Model) -> keras.Model:
    """Return a copy of the network as it was when a phase began, of plain variables.

    A phase that goes on after a kill finds those weights in its first checkpoint.
    """
    arrays, path = start_weights(run, phase, network)
    twin = outside(build_network, run.spec)
    set_weights(twin, arrays, path)
    return twin


def blended(start: Weights, kept: Weights, share: float) -> Weights:
    """Return start + share (kept - start). Frozen weights stay as they were, to the last bit.

    The average keeps what was right before and most of what was learned (Wortsman et al.,
    arXiv:2109.01903). The best share depends on the number of training images.
    """
    if share == 1:
        return kept
    part = np.float32(share)
    return {name: start[name] + part * (value - start[name]) for name, value in kept.items()}


def write_share(run: Run, phase: str, share: float) -> None:
    """Write the share of the fitted weights that is kept; it ends a phase that is blended."""
    write_arrays(phase_file(run, phase, "-share"), {"share": np.array([share])})


def restore_finished(
    run: Run, phase: str, network: keras.Model, epochs: int, blends: bool = False
) -> bool:
    """Put the result of a phase into the network. Returns false if the phase has not ended."""
    path, share = phase_file(run, phase), phase_file(run, phase, "-share")
    if not path.exists() or int(read_arrays(path)["epoch"][0]) < epochs:
        return False
    if blends and not share.exists():
        return False
    kept = read_arrays(phase_file(run, phase, "-best"))
    if blends:
        start = read_arrays(phase_file(run, phase, "-start"))
        kept = blended(start, kept, float(read_arrays(share)["share"][0]))
    set_weights(network, kept, path)
    return True


class Checkpoint:
    """The state of one phase on disk: weights, optimizer, best weights, history."""

    def __init__(
        self,
        run: Run,
        phase: str,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer | None = None,
    ) -> None:
        self._run, self._phase = run, phase
        self._network, self._optimizer = network, optimizer
        self._path = phase_file(run, phase)

    def save(self, row: HistoryRow, best: Quality, *, keep: bool) -> None:
        """Write the kept weights, then the history, then the state that ends the epoch.

        Raises:
            DivergedError: if a weight is not finite; nothing is written.
        """
        weights = get_weights(self._network)
        check_finite(weights, f"after epoch {row.epoch}, the weights")
        if keep:
            write_arrays(phase_file(self._run, self._phase, "-best"), weights)
        earlier = [old for old in self._run.history() if not self._repeats(old, row.epoch)]
        self._run.write_history([*earlier, row])
        arrays: Weights = {f"network/{name}": value for name, value in weights.items()}
        for number, variable in enumerate(self._optimizer.variables if self._optimizer else ()):
            arrays[f"optimizer/{number}"] = np.asarray(tf.convert_to_tensor(variable))
        arrays["epoch"] = np.array([row.epoch])
        arrays["best"] = np.array(
            [best.macro_f1, best.loss, best.accuracy, best.n], dtype=np.float64
        )
        write_arrays(self._path, arrays)

    def end(self, epochs: int) -> None:
        """End a phase of `epochs` with its last good weights, those of its start if it has none.

        `fit` has written the kept ones by then.
        """
        try:
            arrays = read_arrays(self._path)
        except RunError:
            kept = read_arrays(phase_file(self._run, self._phase, "-best"))
            arrays = {f"network/{name}": value for name, value in kept.items()}
            arrays["best"] = np.zeros(4)
        write_arrays(self._path, {**arrays, "epoch": np.array([epochs])})

    def _repeats(self, row: HistoryRow, epoch: int) -> bool:
        return row.phase == self._phase and row.epoch >= epoch

    def restore(self, trainable: list[tf.Variable]) -> tuple[int, Quality | None]:
        """Put the state into the network and the optimizer of `trainable` variables.

        Returns:
            The epochs that are done and the best quality so far; (0, None) without a checkpoint.
        """
        if not self._path.exists():
            return 0, None
        arrays = read_arrays(self._path)
        set_weights(self._network, _below(arrays, "network/"), self._path)
        assert self._optimizer is not None  # a closed-form phase has ended with its one epoch
        self._optimizer.build(trainable)
        saved = _below(arrays, "optimizer/")
        for number, variable in enumerate(self._optimizer.variables if saved else ()):
            variable.assign(saved[str(number)])
        f1, loss, accuracy, count = (float(value) for value in arrays["best"])
        best = Quality(macro_f1=f1, loss=loss, accuracy=accuracy, n=int(count))
        return int(arrays["epoch"][0]), best


def _below(arrays: Weights, prefix: str) -> Weights:
    return {key.removeprefix(prefix): v for key, v in arrays.items() if key.startswith(prefix)}
