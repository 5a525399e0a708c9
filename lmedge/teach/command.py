"""`lmedge teach`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..commands.options import THREADS, exclude_option, unknown_option
from ..errors import ModelFileError
from ..files import check_writable
from ..harmless import echo, harmless, shell_words
from ..machine import cores
from ..model_file import read_model
from ..taxonomy import label_problem

if TYPE_CHECKING:
    from .teaching import Lesson, Taught

PATH = click.Path(path_type=Path)


def _renames(
    _: click.Context, param: click.Parameter, given: Sequence[str]
) -> list[tuple[str, str]]:
    found = []
    for text in given:
        old, sign, new = text.partition("=")
        problem = label_problem(new)
        if not sign or problem is not None:
            raise click.BadParameter(f"{text!r} is not OLD=NEW", param=param)
        found.append((old, new))
    return found


@click.command(short_help="Teach a file landmarks in seconds, without TensorFlow.")
@click.argument("photographs", type=PATH, required=False)
@click.option(
    "--base",
    type=PATH,
    metavar="FILE.tflite",
    help="A file that lmedge exported or taught: its backbone stays, byte for byte.  [default: the "
    "base that comes with lmedge]",
)
@click.option("-o", "--output", type=PATH, metavar="NEW.tflite", help="The file to write.")
@click.option("--add", is_flag=True, help="Keep the landmarks that the base remembers.")
@click.option(
    "--remove", multiple=True, metavar="NAME", help="Drop a landmark of the base. Repeatable."
)
@click.option(
    "--rename",
    multiple=True,
    callback=_renames,
    metavar="OLD=NEW",
    help="Rename a landmark or a category of the base. Repeatable.",
)
@click.option(
    "--list",
    "listed",
    type=PATH,
    metavar="FILE.tflite",
    help="List what a file remembers: landmark, category and photographs, a line each.",
)
@click.option(
    "--forget", is_flag=True, help="Store no features: the file then takes no --add or --remove."
)
@exclude_option
@unknown_option("Images of anything else.  [default: PHOTOGRAPHS/unknown if it is there]")
@click.option("--threads", type=THREADS, help="Threads of the runtime.  [default: one a core]")
@click.option("--force", is_flag=True, help="Write the file even if it is refused.")
def teach(
    photographs: Path | None,
    base: Path | None,
    output: Path | None,
    add: bool,
    remove: tuple[str, ...],
    rename: list[tuple[str, str]],
    listed: Path | None,
    forget: bool,
    exclude: Path | None,
    unknown: Path | None,
    threads: int | None,
    force: bool,
) -> None:
    """Give the backbone of a file new landmarks, in closed form and without TensorFlow.

    PHOTOGRAPHS is laid out as for `lmedge train`: <category>/<landmark>/, unknown/, exclude.txt.
    The new file knows these landmarks alone; with --add also those that the base remembers. Every
    photograph is learned, and judged by the answer without itself and its burst. A file is not
    written if two landmarks cannot be distinguished, if a photograph stands under two, or if a
    landmark of the base loses beyond doubt.

    \b
    lmedge teach photographs -o new.tflite
    lmedge teach photographs --base landmarks.tflite -o new.tflite
    lmedge teach more-photographs --base new.tflite --add -o new.tflite
    lmedge teach --base new.tflite --remove "old bridge" -o new.tflite
    lmedge teach --list new.tflite
    """  # noqa: D301  (click needs the control character)
    if listed is not None:
        _list(listed)
        return
    from .teaching import Lesson

    lesson = Lesson(add=add, remove=remove, rename=rename, forget=forget, force=force)
    _run(
        photographs,
        base,
        _checked(photographs, base, output, lesson),
        lesson,
        exclude,
        unknown,
        threads or cores(),
    )


def _checked(
    photographs: Path | None, base: Path | None, output: Path | None, lesson: Lesson
) -> Path:
    if base is None and lesson.changes:
        raise click.UsageError("--add, --remove and --rename need --base: a file that was taught")
    if output is None:
        raise click.UsageError("-o NEW.tflite is missing: the file to write")
    if output.suffix != ".tflite":
        raise click.BadParameter("the file must end in .tflite", param_hint="--output")
    if photographs is None and not (lesson.remove or lesson.rename):
        raise click.UsageError("PHOTOGRAPHS is missing: a folder of <category>/<landmark>/")
    if photographs is not None and (lesson.remove or lesson.rename) and not lesson.add:
        raise click.UsageError("PHOTOGRAPHS beside --remove or --rename needs --add")
    if photographs is None and lesson.add:
        raise click.UsageError("--add needs PHOTOGRAPHS, the folder of what is added")
    check_writable(output)
    return output


def _run(
    photographs: Path | None,
    base: Path | None,
    output: Path,
    lesson: Lesson,
    exclude: Path | None,
    unknown: Path | None,
    threads: int,
) -> None:
    from .base import Base
    from .photographs import read_photographs
    from .teaching import teach_file, write_taught

    began = time.monotonic()
    opened = Base.open(base)
    if lesson.changes:
        opened.recalled()  # a base that remembers nothing ends here, before the photographs
    read = None
    if photographs is not None:
        read = read_photographs(
            photographs, opened.backbone, exclude=exclude, unknown=unknown, threads=threads
        )
    reading = time.monotonic() - began
    taught = teach_file(opened, read, lesson, output)
    _print(taught)
    both = sorted({*opened.learned} & {*taught.features.landmarks})
    if both:
        echo(
            f"the backbone was trained on {len(both)} of these landmarks, {harmless(both[0])} for "
            "one: if it has learned these very photographs, the figures are too good"
        )
    write_taught(taught, lesson)
    if taught.problems:
        echo(f"forced: {harmless('; '.join(taught.problems))}", err=True)
    whole = time.monotonic() - began
    echo(f"taught in {whole:.1f} s, {reading:.1f} s of it for features: {harmless(output)}")
    echo(f"next: {shell_words('lmedge', 'predict', output, 'IMAGE')}")


def _print(taught: Taught) -> None:
    """Print the figures of a file, all of them from answers without the photograph itself."""
    from .curve import MORE, forecast
    from .gate import doubted
    from .teaching import place_names

    found, scores = taught.teaching, taught.teaching.scores
    labels = found.taxonomy
    echo(
        f"{labels.summary} from {taught.features.count} photographs in {found.bursts} bursts; "
        f"{len(taught.file.data) / 1e6:.2f} MB"
    )
    intervals = scores.intervals() if found.judged else {}
    for head, (low, high) in intervals.items():
        echo(
            f"{head} macro F1 {scores[head].macro_f1:.3f} ({low:.3f} to {high:.3f}), each "
            "photograph judged without itself and its burst"
        )
    unmeasured = int((~found.measured).sum())
    if not found.judged:
        echo(
            "nothing judges this file: the photographs of each landmark are alike or of one burst, "
            "and count as one; add some from another place or time"
        )
    elif unmeasured:
        echo(f"{unmeasured} photographs are the only burst of their landmark and judge nothing")
    if taught.heads:
        echo(taught.heads)
    passing = f"a landmark that is not in the list passes as known in {100 * found.passing:.0f} %"
    if found.rejection.false_accepts is not None:
        passing += f", an image of --unknown in {100 * found.rejection.false_accepts:.0f} %"
    echo(passing)
    told = forecast(found, taught.features)
    if told is not None:
        echo(
            f"{MORE} more photographs a landmark would make about {100 * told.gain:.1f} more of "
            f"100 right ({100 * told.low:.1f} to {100 * told.high:.1f})"
        )
    names = place_names(taught.features, taught.names)
    for place, guess, sure, own in doubted(found):
        true = labels.landmarks[int(found.truth["landmark"][place])]
        echo(
            f"doubted: {harmless(names[place])} is under {harmless(true)} ({own:.2f}), looks like "
            f"{harmless(labels.landmarks[guess])} ({sure:.2f})"
        )


def _list(path: Path) -> None:
    from .memory import TAUGHT

    model = read_model(path)
    entry = model.info.get(TAUGHT)
    counts = entry.get("photographs") if isinstance(entry, dict) else None
    if not isinstance(counts, dict):
        raise ModelFileError(f"{path}: remembers nothing; `lmedge labels` lists its landmarks")
    for landmark, category in model.taxonomy.hierarchy().items():
        count = counts.get(landmark, 0)
        echo(f"{harmless(landmark)}\t{harmless(category)}\t{harmless(count)}")
