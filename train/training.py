"""A whole training: photographs in, a finished run folder out."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from lmedge.evaluation import CROSS_VALIDATED, PARTS
from lmedge.evaluation.scoring import Scores
from lmedge.evaluation.unknown import list_unknown_images
from lmedge.files import write_json
from lmedge.image import Resize
from lmedge.report.failures import logging_failure
from lmedge.writers import alone

from .arrays import Floats, write_arrays
from .backbones import BACKBONES, check_backbone, check_pretrained, check_start, load_stock_weights
from .backend import keras, tf
from .calibration import Calibration
from .cluster.facts import compare_workers, image_facts
from .cluster.team import note, team
from .cost import log_cost
from .cross_fit import cross_fit
from .data.fold_plan import Folding
from .data.preparation import SplitOptions, prepare_training
from .data.store import ImageStore
from .data.unlabelled import prepare_unknown
from .doubts import find_doubts
from .fitting.checkpoint import checkpoint_folder
from .fitting.devices import Placement, in_float32
from .fitting.replicas import replicas
from .fitting.steps import Trainer
from .log_file import log_file
from .network import (
    build_network,
    get_weights,
    load_network,
    measured_network,
    set_weights,
)
from .options import TrainingOptions
from .out_of_fold import read_out_of_fold
from .preflight import check_memory, check_space
from .reports.folder import report_run
from .reports.predictions import (
    Predictions,
    logits_of_all,
    out_of_fold_predictions,
    predictions_of,
)
from .run import Run

LOG = "train.log"
logger = logging.getLogger(__name__)


def start(options: TrainingOptions) -> Run:
    """Read the photographs, split them and write the description of the run."""
    Run.check_new(options.out)  # before the minutes of reading, as the next
    if options.unknown is not None:
        list_unknown_images(options.unknown)
    note("reading the photographs")
    recipe, settings = options.recipe, options.recipe.data
    check_backbone(recipe.network.backbone)
    for size in {settings.image_size, settings.input_size}:
        check_pretrained(
            recipe.network.backbone,
            options.weights,
            size,
            trains_norms=recipe.fine_tune.batch_norm == "train",
        )
    for group in recipe.fine_tune.start:
        check_start(recipe.network.backbone, group)
    store = ImageStore(settings.image_size, Resize(settings.resize))
    data = options.data.resolve() if options.data.exists() else options.data
    prepared = prepare_training(
        data,
        store,
        SplitOptions.of_recipe(
            settings,
            seed=options.seed,
            split=options.split,
            exclude=options.exclude,
            allow_leak=options.allow_leak,
        ),
        Folding.of_recipe(settings, options.cross_fit, one_device=options.one_device),
    )
    split = prepared.split
    logger.info(
        "%s; %s images to train on, %s to validate, %s to test",
        split.taxonomy().summary,
        *(len(split.parts[part]) for part in PARTS),
    )
    unknown, unreadable = prepare_unknown(data, options.unknown, store, split)
    run = Run(
        folder=options.out,
        recipe=recipe,
        split=split,
        strategy=options.strategy,
        weights=options.weights,
        seed=options.seed,
        data=str(options.data.resolve()),
        skipped=(*prepared.skipped, *unreadable),
        unknown=unknown,
        plan=prepared.plan,
    )
    if not run.judged:
        logger.warning(
            "there are no images to choose or to judge by: the last epoch is kept, and `lmedge "
            "export` will need --force; add photographs, or set data.val_fraction"
        )
    compare_workers(image_facts(run))
    run.create()
    return run


def train_run(run: Run, placement: Placement | None = None, *, new: bool = False) -> Scores | None:
    """Fit the network of an open run from its last checkpoint and finish the run folder.

    Args:
        run: The run.
        placement: The devices; None for one.
        new: If true, the folder is removed again if training fails before its first epoch.

    Returns:
        The scores on the test part. None without a test part, and for a worker that is not the
        chief, whose run folder stays unfinished.
    """
    _tell_team(run, new)
    scope = contextlib.nullcontext() if placement is None else placement.strategy.scope()
    alone_with_log = alone(run.folder, "lmedge train", LOG)
    removed = _removed_unless_begun(run) if new else contextlib.nullcontext()
    if run.finished:  # stopped while the reports were drawn
        with alone_with_log, log_file(run.folder / LOG), in_float32():
            return _score(run, load_network(run), placement)
    with alone_with_log, log_file(run.folder / LOG), removed, scope:
        if placement is not None:
            logger.info("%s", placement.summary)
        keras.utils.set_random_seed(run.seed)
        tf.config.experimental.enable_op_determinism()
        network = build_network(run.spec)
        pretrained = run.weights != "none"
        if pretrained:
            with in_float32():  # the stock model's input layers are measured
                load_stock_weights(
                    network,
                    BACKBONES[run.recipe.network.backbone],
                    run.weights,
                    run.recipe.data.normalisation,
                )
        else:
            logger.info("no pretrained weights: every layer is trained, from random weights")
        xla = placement is not None and placement.xla
        run.check_replicas(replicas())
        check_space(run, network)
        check_memory(run, network)
        if replicas() == 1:  # several would have to measure together
            log_cost(run, network)
        shares: Mapping[str, float] = {}
        if run.plan is not None:
            shares = cross_fit(run, network, pretrained=pretrained, xla=xla).shares
            logger.info("the network that ships: %d images", len(run.entries("train")))
        trainer = Trainer(run=run, network=network, pretrained=pretrained, xla=xla, shares=shares)
        trainer.train()
        if placement is None:
            return _score(run, measured_network(run, network), None)
        weights = get_weights(network)  # read by all workers together
    with in_float32(), log_file(run.folder / LOG):
        network = build_network(run.input_spec)
        set_weights(network, weights, run.folder)
        return _score(run, network, placement)


def _score(run: Run, network: keras.Model, placement: Placement | None) -> Scores | None:
    """Predict what is scored, each worker its share; the chief finishes the run folder."""
    note("the scores at the end")
    logits = {
        part: logits_of_all(network, run.input_store, run.entries(part))
        for part in ("val", "test")
        if run.entries(part)
    }
    if placement is not None and not placement.chief:
        return None
    return _finish(run, network, logits)


def _tell_team(run: Run, new: bool) -> None:
    """Let the workers, if there are several, know what to do if one of them is lost."""
    if (workers := team()) is None:
        return
    workers.begun = lambda: run.begun
    if new:
        workers.cleanups.append(run.remove_unless_begun)


@contextlib.contextmanager
def _removed_unless_begun(run: Run) -> Iterator[None]:
    """Remove the run folder if the block fails before anything was trained.

    The corrected command is then a new run. What is not of a run stays.
    """
    try:
        yield
    except BaseException:
        run.remove_unless_begun()
        raise


def _finish(
    run: Run, network: keras.Model, logits: Mapping[str, dict[str, Floats]]
) -> Scores | None:
    """Score the network by its logits of each part, and write the end of the run."""
    found: dict[str, Predictions] = {}
    # the test part takes the calibration of the images that no network had learned from
    calibration = None if run.entries("val") else Calibration.none()
    if run.plan is not None:
        found[CROSS_VALIDATED] = out_of_fold_predictions(run)
        calibration = found[CROSS_VALIDATED].calibration
    for part, own in logits.items():
        found[part] = predictions_of(own, run.entries(part), run.taxonomy, calibration)
        calibration = found[part].calibration
    metrics = _metrics(run, found)
    metrics["doubts"] = _doubts(run, network, metrics)
    for doubt in metrics["doubts"]:
        logger.warning("%s: %s", run.folder, doubt)
    write_json(run.folder / "metrics.json", metrics)
    # The run is finished with its weights: no report after them can undo that.
    write_arrays(run.weights_path, get_weights(network))
    with logging_failure(run.folder / "plots"):
        report_run(run, network, found)
    # Until then --resume draws what is missing.
    shutil.rmtree(checkpoint_folder(run), ignore_errors=True)
    return found["test"].scores if "test" in found else None


def _doubts(run: Run, network: keras.Model, metrics: Mapping[str, Any]) -> list[str]:
    shares = {} if run.plan is None else read_out_of_fold(run).shares
    trainer = Trainer(run=run, network=network, pretrained=run.weights != "none")
    planned = [(one.name, one.epochs) for one in trainer.phases()]
    left_out = [name for name, share in shares.items() if share == 0]
    return find_doubts(run, planned, metrics, left_out)


def _metrics(run: Run, found: Mapping[str, Predictions]) -> dict[str, Any]:
    """Return the content of metrics.json."""
    report: dict[str, Any] = {part: one.as_dict() for part, one in found.items()}
    if run.plan is not None:
        report[CROSS_VALIDATED]["folds"] = run.plan.folds
        report[CROSS_VALIDATED]["networks"] = run.plan.networks
    return {**report, "learned_from": len(run.entries("train"))}
