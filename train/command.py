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

from lmedge.errors import RunError

from .fitting.strategies import STRATEGIES, check_strategy
from .recipes.loading import Recipe, load_recipe, recipe_from
from .recipes.sections import BACKBONE_NAMES

if TYPE_CHECKING:
    from .run import Run

logger = logging.getLogger(__name__)


@click.command(short_help="Train on a folder of photographs.")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Run folder. [default: runs/DATA]")
@click.option("--recipe", default="default", show_default=True, help="Name or file of a recipe.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one value of the recipe, e.g. fine_tune.epochs=5. Repeatable.",
)
@click.option(
    "--strategy",
    default="landmarks-first",
    show_default=True,
    metavar="|".join(STRATEGIES),
    help="Order of the two tasks.",
)
@click.option(
    "--backbone",
    metavar="|".join(BACKBONE_NAMES),
    help="Network body. [default: the recipe's, efficientnetb0]",
)
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    metavar="imagenet|none|PATH",
    help="Where the backbone starts: the Keras download, nothing, or its .h5 file without top.",
)
@click.option("--image-size", type=int, help="Side of the input. [default: the recipe's, 224]")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Fixes split, order, augmentation and initial weights.",
)
@click.option(
    "--split",
    type=click.Path(path_type=Path),
    help="File of `lmedge data split`. [default: DATA/split.csv if it is there]",
)
@click.option(
    "--exclude",
    type=click.Path(path_type=Path),
    help="List of images to leave out. [default: DATA/exclude.txt if it is there]",
)
@click.option(
    "--refit",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Train as that finished run did, on its test images too. [--out: RUN-refit]",
)
@click.option("--allow-leak", is_flag=True, help="Train although an image is in two parts.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|gpu|gpu:N",
    help="A GPU when there is one.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "mixed"]),
    default="auto",
    show_default=True,
    help="mixed: float16 with float32 weights; auto takes it on GPUs with tensor cores.",
)
@click.option("--xla/--no-xla", default=None, help="Compile the step. [default: on a GPU]")
@click.option(
    "--distribute",
    type=click.Choice(["none", "mirrored", "multiworker"]),
    default="none",
    show_default=True,
    help="All devices of this machine, or all machines of TF_CONFIG.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out where it was stopped.")
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
    refit: Path | None,
    allow_leak: bool,
    device: str,
    precision: str,
    xla: bool | None,
    distribute: str,
    resume: bool,
) -> None:
    """Train on photographs in DATA/<category>/<landmark>/*.jpg.

    A taxonomy.csv (landmark,category) beside flat <landmark>/ folders works too. DATA/train,
    DATA/val and DATA/test are used as they are; what is missing is cut from the training part.

    \b
    lmedge train photographs
    lmedge train photographs --weights efficientnetb0_notop.h5 --set fine_tune.epochs=20
    lmedge train photographs --distribute mirrored
    lmedge train photographs --refit runs/photographs
    """  # noqa: D301  (click needs the control character)
    values = _with_options(load_recipe(recipe, settings), backbone, image_size)
    check_strategy(strategy)
    # Imported here: a mistake in the arguments is said before TensorFlow's seconds.
    from . import training
    from .fitting.devices import place
    from .run import Run

    if refit is not None and not resume:
        _check_refit()
    began = time.monotonic()
    placement = place(device, distribute, precision, xla)
    if distribute == "multiworker" and out is None:
        raise click.UsageError("--distribute multiworker needs --out, the same for all workers")
    named = out or (_default_folder(data, resume) if refit is None else _beside(refit))
    if weights not in ("imagenet", "none"):
        weights = str(Path(weights).resolve())  # --resume may be called from elsewhere
    request = training.Request(
        data, named, values, strategy, weights, seed, split, exclude, allow_leak
    )
    with _run_folder(named, placement.chief, resume) as folder:
        if resume:
            run = Run.open(folder)
            if (folder / "weights.safetensors").exists():
                raise RunError(f"{named} is finished; there is nothing to resume")
            logger.info("going on with %s; its own recipe, seed and split are used", named)
        elif refit is not None:
            run = training.start_refit(_finished(refit, data), folder)
        else:
            run = training.start(dataclasses.replace(request, out=folder))
        test = training.train(run, placement)
    if not placement.chief:
        click.echo(f"worker {placement.worker + 1} is done; the first one writes {named}")
        return
    minutes = (time.monotonic() - began) / 60
    click.echo(f"trained in {minutes:.1f} min: {named}")
    if test is not None:
        click.echo(
            f"test part ({test['landmark'].n} images, float): landmark macro F1 "
            f"{test['landmark'].macro_f1:.3f}, category macro F1 {test['category'].macro_f1:.3f}"
        )
    if run.refit_of is not None:
        _say_refit(run.refit_of)
    click.echo(f"next: lmedge export {named} --int8")


def _check_refit() -> None:
    """Refuse options that a refit takes from its run. Raises UsageError."""
    context = click.get_current_context()
    for name in (
        "recipe",
        "settings",
        "strategy",
        "backbone",
        "weights",
        "image_size",
        "seed",
        "split",
        "exclude",
        "allow_leak",
    ):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = next(one.opts[0] for one in context.command.params if one.name == name)
            raise click.UsageError(f"--refit takes what {option} says from RUN; leave one out")


def _finished(refit: Path, data: Path) -> Run:
    from .run import Run

    run = Run.open(refit)
    if data.resolve() != Path(run.data):
        raise RunError(f"{refit} was trained on {run.data}, not on {data}; pass its photographs")
    return run


def _beside(refit: Path) -> Path:
    return refit.resolve().with_name(f"{refit.resolve().name}-refit")


def _say_refit(refit_of: Mapping[str, Any]) -> None:
    """Say what is known of a network that has no test images of its own."""
    test = refit_of["test"]
    click.echo(
        f"no test part: its images were trained on. Of {refit_of['run']}, which had not seen "
        f"them: landmark macro F1 {test['landmark']['macro_f1']:.3f}, category macro F1 "
        f"{test['category']['macro_f1']:.3f}"
    )


@contextlib.contextmanager
def _run_folder(named: Path, chief: bool, resume: bool) -> Iterator[Path]:
    """Give the folder a worker writes to: the chief the one that was named, another its own.

    Every worker keeps its state as it trains; only the chief's is kept. To go on, the others read
    the chief's, which they must be able to reach.
    """
    if chief:
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="lmedge-worker-") as own:
        folder = Path(own) / "run"
        if resume:
            if not (named / "run.json").exists():
                raise RunError(f"{named} is not a run folder this worker can reach; mount it here")
            shutil.copytree(named, folder)
        yield folder


def _with_options(recipe: Recipe, backbone: str | None, image_size: int | None) -> Recipe:
    values = recipe.as_dict()
    if backbone is not None:
        values["network"]["backbone"] = backbone
    if image_size is not None:
        values["data"]["image_size"] = image_size
    return recipe_from(values) if values != dataclasses.asdict(recipe) else recipe


def _default_folder(data: Path, resume: bool) -> Path:
    """Return runs/DATA, or runs/DATA-2, -3 ... where a run stands there already."""
    name = data.resolve().name or "run"
    folder, number = Path("runs") / name, 1
    while (following := Path("runs") / (name if number == 1 else f"{name}-{number}")).exists():
        folder, number = following, number + 1
    return folder if resume else following
