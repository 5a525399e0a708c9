"""`lmedge train`."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmedge.commands.options import (
    allow_leak_option,
    exclude_option,
    seed_option,
    set_option,
    unknown_option,
)
from lmedge.errors import RunError
from lmedge.evaluation import CROSS_VALIDATED
from lmedge.harmless import echo, harmless, shell_words
from lmedge.model_file import HEADS

from .cluster.team import joined, note, team
from .fitting.strategies import DEFAULT_STRATEGY, STRATEGIES
from .options import (
    DEVICES,
    DISTRIBUTIONS,
    PRECISIONS,
    WAIT_SECONDS,
    WEIGHTS,
    DeviceOptions,
    TrainingOptions,
)
from .recipes import load_recipe
from .recipes.sections import BACKBONE_NAMES

if TYPE_CHECKING:
    from .run import Run

DEFAULTS = load_recipe("default")
logger = logging.getLogger(__name__)


@click.command(short_help="Train on a folder of photographs.")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Run folder. [default: runs/DATA]")
@click.option("--recipe", default="default", show_default=True, help="Name or file of a recipe.")
@set_option("settings", "Change one value of the recipe, e.g. fine_tune.epochs=5. Repeatable.")
@click.option(
    "--strategy",
    default=DEFAULT_STRATEGY,
    show_default=True,
    metavar="|".join(STRATEGIES),
    help="Order of the two tasks. "
    + "; ".join(f"{one.name}: {one.help}" for one in STRATEGIES.values())
    + ".",
)
@click.option(
    "--backbone",
    metavar="|".join(BACKBONE_NAMES),
    help=f"Backbone of the network. [default: the recipe's, {DEFAULTS.network.backbone}]",
)
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    metavar="imagenet|base|none|PATH[@INPUT]",
    help="Initial weights of the backbone: the Keras download, those of the base that comes with "
    "lmedge, none, or a file or folder of Keras, KerasHub or timm (docs/usage.md). @imagenet or "
    "@advprop gives the input of a file that does not contain it.",
)
@click.option(
    "--image-size",
    type=int,
    help=f"Side of the input. [default: the recipe's, {DEFAULTS.data.image_size}]",
)
@seed_option("Fixes split, order, augmentation and initial weights.")
@click.option(
    "--split",
    type=click.Path(path_type=Path),
    help="File of `lmedge data split`. [default: DATA/split.csv if it exists]",
)
@exclude_option
@unknown_option(
    "Images of anything else, for the output `known`.  [default: DATA/unknown if it is there]"
)
@click.option(
    "--cross-fit/--hold-out",
    default=None,
    help="Learn from every image and predict each by a network that has not seen it, or hold "
    "parts back for that. [default: by the number of images]",
)
@allow_leak_option("Train although an image is in two parts.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="|".join(DEVICES),
    help="auto: a GPU if there is one.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    show_default=True,
    help="mixed: float16 with float32 weights; auto: mixed on GPUs with tensor cores.",
)
@click.option("--xla/--no-xla", default=None, help="Compile the step. [default: on a GPU]")
@click.option(
    "--distribute",
    type=click.Choice(DISTRIBUTIONS),
    default="none",
    show_default=True,
    help="All devices of this machine, or all machines of TF_CONFIG.",
)
@click.option(
    "--wait-for-workers",
    type=click.FloatRange(1),
    default=WAIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="With --distribute multiworker: how long to wait for the other workers at the start.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out from its last epoch.")
def train(
    data: Path,
    out: Path | None,
    recipe: str,
    settings: tuple[str, ...],
    strategy: str,
    backbone: str | None,
    weights: str,
    image_size: int | None,
    seed: int,
    split: Path | None,
    exclude: Path | None,
    unknown: Path | None,
    cross_fit: bool | None,
    allow_leak: bool,
    device: str,
    precision: str,
    xla: bool | None,
    distribute: str,
    wait_for_workers: float,
    resume: bool,
) -> None:
    """Train on photographs in DATA/<category>/<landmark>/*.jpg.

    With --resume, DATA may be another folder that the photographs were moved to.

    A taxonomy.csv (landmark,category) beside flat <landmark>/ folders works too. DATA/train,
    DATA/val and DATA/test are used as they are and never learned from.

    With up to some thousand images the network that ships learns from all of them. The figures
    come from networks that had not seen the image which they were scored on.

    \b
    lmedge train photographs
    lmedge train photographs --weights efficientnetb0_notop.h5 --set fine_tune.epochs=20
    lmedge train photographs --distribute mirrored
    lmedge train photographs --hold-out
    """  # noqa: D301  (click needs the control character)
    given = [
        *settings,
        *([] if backbone is None else [f"network.backbone={backbone}"]),
        *([] if image_size is None else [f"data.image_size={image_size}"]),
    ]
    values = load_recipe(recipe, given)
    devices = DeviceOptions(
        device=device,
        distribute=distribute,
        precision=precision,
        xla=xla,
        wait=wait_for_workers,
    )
    if distribute != "none" and cross_fit:
        raise click.UsageError("--cross-fit trains on one device; leave out --distribute")
    if distribute == "multiworker" and out is None:
        raise click.UsageError("--distribute multiworker needs --out, the same for all workers")
    named = out or _default_folder(data, resume)
    if weights not in WEIGHTS:
        weights = str(Path(weights).resolve())  # --resume may be called from elsewhere
    options = TrainingOptions(
        data=data,
        out=named,
        recipe=values,
        weights=weights,
        strategy=strategy,
        seed=seed,
        split=split,
        exclude=exclude,
        allow_leak=allow_leak,
        unknown=unknown,
        cross_fit=cross_fit,
        one_device=distribute == "none",
    )
    began = time.monotonic()
    run = _train(options, devices, resume=resume)
    if not devices.chief:
        echo(f"worker {devices.worker + 1} is done; the first one writes {harmless(named)}")
        return
    minutes = (time.monotonic() - began) / 60
    echo(f"trained in {minutes:.1f} min: {harmless(named)}")
    _print_scores(run)
    echo(f"next: {shell_words('lmedge', 'export', named, '--int8')}")


def _train(options: TrainingOptions, devices: DeviceOptions, *, resume: bool) -> Run:
    """Begin a run, or go on with an unfinished one; then train.

    A run that cannot be resumed is refused before TensorFlow's seconds. Several workers compare
    what they were given before those too, and their images before the first step.
    """
    named = options.out
    if devices.cluster is not None:
        _check_folder(named, devices.chief, resume)
    with (
        joined(devices.cluster) as signals,
        _run_folder(named, devices.chief, resume) as folder,
    ):
        from .cluster.facts import command_facts, compare_workers

        compare_workers(command_facts(options, folder if resume else None))
        earlier = _unfinished(folder, named).moved_to(options.data) if resume else None
        if earlier is not None:
            earlier.check_images()
        note("the start of TensorFlow")
        from . import training
        from .fitting.devices import place

        placement = place(devices, signals)
        if earlier is None:
            run = training.start(dataclasses.replace(options, out=folder))
        else:
            run = earlier
            logger.info("going on with %s; its own recipe, seed and split are used", named)
        training.train_run(run, placement, new=earlier is None)
        return run


def _check_folder(named: Path, chief: bool, resume: bool) -> None:
    """Raise what the folder of the run gives reason for before a worker waits for others."""
    from .run import Run

    if resume:
        _check_reachable(named, chief)
        _unfinished(named, named).check_replicas(2)
    elif chief:
        Run.check_new(named)


def _print_scores(run: Run) -> None:
    """Print the scores, and which network they are of."""
    metrics = run.metrics()
    learned = f"{harmless(run.folder)} has learned from {metrics['learned_from']} images"
    for part, what in (
        (CROSS_VALIDATED, "cross-validated, by networks that had not seen the image"),
        ("test", "test part"),
    ):
        if part in metrics:
            echo(f"{what} (n = {metrics[part]['landmark']['n']}, float): {_f1(metrics[part])}")
    if CROSS_VALIDATED in metrics:
        echo(learned)
    for doubt in metrics.get("doubts", []):
        echo(f"doubtful: {harmless(doubt)}")


def _f1(scores: Mapping[str, Any]) -> str:
    parts = []
    for head in HEADS:
        low, high = scores["interval"][head]
        value = scores[head]["macro_f1"]
        parts.append(f"{head} macro F1 {value:.3f} (95 % interval {low:.3f} to {high:.3f})")
    return ", ".join(parts)


def _unfinished(folder: Path, named: Path) -> Run:
    """Open the run to go on with. Raises RunError if nothing of it is missing."""
    from .run import Run

    run = Run.open(folder)
    if run.complete:
        raise RunError(f"{named} is finished; there is nothing to resume")
    return run


@contextlib.contextmanager
def _run_folder(named: Path, chief: bool, resume: bool) -> Iterator[Path]:
    """Give the folder that this worker writes to: the named one for the chief, otherwise its own.

    Every worker writes its state as it trains, but only the chief's is kept. To resume, the other
    workers read the chief's folder, which they must be able to reach.
    """
    if chief:
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="lmedge-worker-") as own:
        folder = Path(own) / "run"
        if (workers := team()) is not None:
            workers.cleanups.append(lambda: shutil.rmtree(own, ignore_errors=True))
        if resume:
            _check_reachable(named, chief)
            shutil.copytree(named, folder)
        yield folder


def _check_reachable(named: Path, chief: bool) -> None:
    if not chief and not (named / "run.json").exists():
        raise RunError(f"{named} is not a run folder this worker can reach; mount it here")


def _default_folder(data: Path, resume: bool) -> Path:
    """Return runs/DATA, or runs/DATA-2, -3 ... if there is a run already."""
    name = data.resolve().name or "run"
    folder, number = Path("runs") / name, 1
    while (following := Path("runs") / (name if number == 1 else f"{name}-{number}")).exists():
        folder, number = following, number + 1
    return folder if resume else following
