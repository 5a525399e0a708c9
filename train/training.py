"""A whole training: photographs in, a finished run folder out."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lmedge.errors import RunError
from lmedge.evaluation.scoring import Scores
from lmedge.files import write_json
from lmedge.image import Resize

from .backbones import BACKBONES, check_backbone, check_start, check_weights, load_stock_weights
from .backend import keras, tf
from .calibration import Calibration
from .data.preparation import Wish, prepare_split
from .data.split import PARTS, Split
from .data.store import ImageStore
from .fitting.devices import Placement, in_float32
from .fitting.phase import checkpoint_folder
from .fitting.steps import Job
from .fitting.strategies import STRATEGIES, check_strategy
from .network import build_network
from .recipes.loading import Recipe
from .reports.folder import report_run, spared
from .reports.predictions import Predictions, predict
from .run import Run, get_weights, set_weights, write_arrays

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Request:
    """What `lmedge train` was asked for.

    split, exclude: files, or None for split.csv and exclude.txt in `data` where they are there.
    """

    data: Path
    out: Path
    recipe: Recipe
    strategy: str
    weights: str
    seed: int
    split: Path | None = None
    exclude: Path | None = None
    allow_leak: bool = False


def start(request: Request) -> Run:
    """Read the photographs, split them and write the run's description."""
    check_strategy(request.strategy)
    backbone = request.recipe.network.backbone
    check_backbone(backbone)
    check_weights(backbone, request.weights)
    for group in request.recipe.fine_tune.start:
        check_start(backbone, group)
    settings = request.recipe.data
    store = ImageStore(settings.image_size, Resize(settings.resize))
    data = request.data.resolve() if request.data.exists() else request.data
    wish = Wish(
        request.seed,
        settings.val_fraction,
        settings.test_fraction,
        request.split,
        request.exclude,
        request.allow_leak,
        {"val": settings.val_count, "test": settings.test_count},
    )
    split, skipped = prepare_split(data, store, wish)
    taxonomy = split.taxonomy()
    logger.info(
        "%d landmarks in %d categories; %s images to train on, %s to validate, %s to test",
        len(taxonomy.landmarks),
        len(taxonomy.categories),
        *(len(split.parts[part]) for part in PARTS),
    )
    return Run.create(
        request.out,
        request.recipe,
        split,
        strategy=request.strategy,
        weights=request.weights,
        seed=request.seed,
        data=str(request.data.resolve()),
        skipped=tuple(skipped),
    )


def start_refit(finished: Run, out: Path) -> Run:
    """Write the description of a run like a finished one that trains on its test images too.

    Its figures are those of the finished run: a network cannot be tested on what it has seen.
    Raises RunError when the run has not ended, or has no test part.
    """
    if not (finished.folder / "weights.safetensors").exists():
        raise RunError(
            f"{finished.folder}: training has not ended, so that nothing is known of how good it "
            "is; go on with `lmedge train ... --resume` first"
        )
    tested = finished.entries("test")
    if not tested or "test" not in finished.metrics():
        raise RunError(f"{finished.folder} has no test images that could be trained on too")
    train = sorted([*finished.entries("train"), *tested], key=lambda entry: entry.order)
    split = Split({"train": tuple(train), "val": finished.entries("val"), "test": ()})
    logger.info(
        "%d images to train on, the %d test images of %s among them; %d to validate",
        len(train),
        len(tested),
        finished.folder,
        len(split.parts["val"]),
    )
    return Run.create(
        out,
        finished.recipe,
        split,
        strategy=finished.strategy,
        weights=finished.weights,
        seed=finished.seed,
        data=finished.data,
        skipped=finished.skipped,
        refit_of={"run": finished.folder.name, "test": finished.metrics()["test"]},
    )


def train(run: Run, placement: Placement | None = None) -> Scores | None:
    """Fit the network of an open run from where it stands and finish the run folder.

    Returns the scores on the test part, or None where there is none, or for a worker that is not
    the chief: its run folder stays unfinished.
    """
    scope = contextlib.nullcontext() if placement is None else placement.strategy.scope()
    with _log_file(run.folder / "train.log"), scope:
        if placement is not None:
            logger.info("%s", placement.summary)
        keras.utils.set_random_seed(run.seed)
        tf.config.experimental.enable_op_determinism()
        network = build_network(run.spec)
        pretrained = run.weights != "none"
        if pretrained:
            with in_float32():  # what the stock model's input layers do is measured
                load_stock_weights(
                    network,
                    BACKBONES[run.recipe.network.backbone],
                    run.weights,
                    run.recipe.data.normalisation,
                )
        else:
            logger.info("no pretrained weights: every layer is trained, from random weights")
        xla = placement is not None and placement.xla
        STRATEGIES[run.strategy].train(Job(run, network, pretrained, xla))
        if placement is None:
            return _finish(run, network)
        weights = get_weights(network)  # read by all workers together
    if not placement.chief:
        return None
    with in_float32(), _log_file(run.folder / "train.log"):
        network = build_network(run.spec)
        set_weights(network, weights, run.folder)
        return _finish(run, network)


def _finish(run: Run, network: keras.Model) -> Scores | None:
    found: dict[str, Predictions] = {}
    # what the validation part chooses, test takes
    calibration = None if run.entries("val") else Calibration.none()
    for part in ("val", "test"):
        if run.entries(part):
            found[part] = predict(network, run.store, run.entries(part), run.taxonomy, calibration)
            calibration = found[part].calibration
    report = {part: predictions.as_dict() for part, predictions in found.items()}
    write_json(run.folder / "metrics.json", report)
    # The run is finished with its weights: what is drawn after them cannot undo that.
    write_arrays(run.folder / "weights.safetensors", get_weights(network))
    shutil.rmtree(checkpoint_folder(run), ignore_errors=True)
    with spared(run.folder / "plots"):
        report_run(run, network, found)
    return found["test"].scores if "test" in found else None


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Copy everything lmedge logs to `path`, behind what is there."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    root = logging.getLogger("lmedge")
    root.addHandler(handler)
    try:
        logger.debug("process %d", os.getpid())
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
