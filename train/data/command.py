"""`lmedge data check` and `lmedge data split`."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import click
from rich.table import Table

from lmedge.commands.options import allow_leak_option, seed_option
from lmedge.errors import LmedgeError
from lmedge.files import check_folder, check_writable, write_json, write_text
from lmedge.harmless import echo, harmless, json_text
from lmedge.image import Resize
from lmedge.report.terminal import HarmlessConsole
from lmedge.taxonomy import counted

from ..recipes import load_recipe
from .findings import KINDS, MIN_SIDE, DataFinding, by_kind

DEFAULTS = load_recipe("default").data
SHOWN = 3  # findings of a kind, below the table
logger = logging.getLogger(__name__)
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path)
_EXCLUDE_HELP = "List of images to leave out. [default: DATA/exclude.txt if it is there]"


@click.group(short_help="Check photographs, and split them once and for all.")
def data() -> None:
    """Check photographs, and write a split that travels with them.

    \b
    lmedge data check photographs --report checked
    lmedge data check photographs --exclude-file photographs/exclude.txt
    lmedge data split photographs
    """  # noqa: D301  (click needs the control character)


@data.command("check", short_help="Report what is wrong with the photographs.")
@click.argument("data", type=_FOLDER)
@click.option("--report", type=_FOLDER, help="Folder for report.json and the contact sheet.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not as a table.")
@click.option("--exclude-file", type=_FILE, help="Write the images to leave out to this file.")
@click.option("--exclude", type=_FILE, help=_EXCLUDE_HELP)
@click.option(
    "--ignore",
    multiple=True,
    type=click.Choice(list(KINDS)),
    metavar="KIND",
    help=f"Leave out findings of a kind. Repeatable. Kinds: {', '.join(KINDS)}.",
)
@click.option(
    "--min-side",
    type=click.IntRange(1),
    default=MIN_SIDE,
    show_default=True,
    help="An image with a shorter side below this many pixels is tiny.",
)
@click.option("--strict", is_flag=True, help="Exit with code 1 if there is a finding.")
@click.pass_context
def check_command(
    context: click.Context,
    data: Path,
    report: Path | None,
    as_json: bool,
    exclude_file: Path | None,
    exclude: Path | None,
    ignore: tuple[str, ...],
    min_side: int,
    strict: bool,
) -> None:
    """Check every photograph of DATA and report the findings. Nothing is changed or deleted.

    DATA is laid out as for `lmedge train`. Excluded images are not read.
    """
    from lmedge.exclude import exclude_file_of, write_exclusions

    from .check import check_data

    if report is not None:
        check_folder(report)
    if exclude_file is not None:
        check_writable(exclude_file)  # before minutes of reading
    listed = exclude_file_of(data, exclude)
    result = check_data(
        data,
        exclude=listed,
        ignore=ignore,
        min_side=min_side,
        fractions={"test": DEFAULTS.test_fraction, "val": DEFAULTS.val_fraction},
    )
    if as_json:
        echo(json_text(result.as_dict(), indent=2, allow_nan=False))
    else:
        _show(result.findings, _summary(result.as_dict()))
    if report is not None:
        from .sheet import write_sheets

        write_json(report / "report.json", result.as_dict())
        pages = write_sheets(result.findings, data, report)
        logger.info("written: %s", ", ".join(map(str, [report / "report.json", *pages])))
    if exclude_file is not None:
        exclusions = result.exclusions()
        write_exclusions(exclude_file, exclusions)
        logger.info("written: %s, %d images to leave out", exclude_file, len(exclusions))
    if strict and result.findings:
        context.exit(1)


def _summary(about: dict[str, object]) -> str:
    excluded = f", {about['excluded']} excluded" if about["excluded"] else ""
    landmarks = about["landmarks"]
    assert isinstance(landmarks, list)
    categories = {one["category"] for one in landmarks}
    names = {one["landmark"] for one in landmarks}
    landmark_count = counted(len(names), "landmark", "landmarks")
    category_count = counted(len(categories), "category", "categories")
    images = counted(int(str(about["pictures"])), "image", "images")
    return f"{images} of {landmark_count} in {category_count}{excluded}"


def _show(findings: tuple[DataFinding, ...], summary: str) -> None:
    if not findings:
        echo(f"{summary}: nothing found")
        return
    table = Table(title=summary, title_justify="left")
    table.add_column("finding", no_wrap=True)
    table.add_column("number", justify="right")
    table.add_column("what it is")
    table.add_column("what to do")
    for kind, group in by_kind(findings):
        table.add_row(kind, str(len(group)), *KINDS[kind])
    console = HarmlessConsole()
    console.print(table)
    for kind, group in by_kind(findings):
        for finding in group[:SHOWN]:
            console.print(harmless(f"{kind}: {finding.message}"), soft_wrap=True)
        if len(group) > SHOWN:
            console.print(f"{kind}: and {len(group) - SHOWN} more, all with --report or --json")


@data.command(short_help="Write the split to a file that travels with the data.")
@click.argument("data", type=_FOLDER)
@click.option("--out", type=_FILE, help="Where to write it. [default: DATA/split.csv]")
@seed_option("Fixes the choice of the images.")
@click.option("--exclude", type=_FILE, help=_EXCLUDE_HELP)
@click.option(
    "--val-fraction",
    type=click.FloatRange(0, 0.5),
    default=DEFAULTS.val_fraction,
    show_default=True,
    help="Of each landmark.",
)
@click.option(
    "--test-fraction",
    type=click.FloatRange(0, 0.5),
    default=DEFAULTS.test_fraction,
    show_default=True,
    help="Of each landmark.",
)
@allow_leak_option("Write it although an image is in two parts.")
@click.option("--overwrite", is_flag=True, help="Replace an existing split file.")
def split(
    data: Path,
    out: Path | None,
    seed: int,
    exclude: Path | None,
    val_fraction: float,
    test_fraction: float,
    allow_leak: bool,
    overwrite: bool,
) -> None:
    """Cut DATA into training, validation and test part and write the part of each image.

    `lmedge train DATA` then uses DATA/split.csv. Its paths are relative to DATA, and every image is
    identified by its hash, so that a copy of the folder has the same split. Parts of your own are
    kept.
    """
    from .preparation import SplitOptions, prepare_split
    from .split_file import SPLIT_FILE, as_portable_csv
    from .store import ImageStore

    path = out or data / SPLIT_FILE
    if path.exists() and not overwrite:
        raise LmedgeError(f"{path}: exists already; pass --overwrite to cut anew, or --out FILE")
    check_writable(path)  # before minutes of reading
    options = SplitOptions(
        seed=seed,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        exclude=exclude,
        allow_leak=allow_leak,
    )
    store = ImageStore(DEFAULTS.image_size, Resize(DEFAULTS.resize))
    made, _ = prepare_split(data, store, options, cut_anew=True)
    write_text(path, as_portable_csv(made, data))
    counts = Counter({part: len(entries) for part, entries in made.parts.items()})
    echo(
        f"{harmless(path)}: {counts['train']} images to train on, {counts['val']} to validate, "
        f"{counts['test']} to test"
    )
