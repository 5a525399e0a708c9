"""`lmedge camera`: the labels of every frame, until the source ends or the user stops it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from ..commands.options import delegate_option, threads_option
from ..errors import LmedgeError
from ..files import check_writable
from ..harmless import echo
from ..streams import open_lines
from ..systemd import under_systemd, use_journal
from ..writers import check_outputs, held
from .capture import CaptureOptions, list_cameras
from .choice import Choice
from .field_options import FieldOptions, field_options
from .frames import FrameSource, FrameView
from .loop import CameraSummary, run_camera, stopping_on_signals
from .parameters import Address, Pair, Region
from .preview import Preview
from .preview_token import find_token
from .recorder import Recorder
from .service import SupervisedState
from .sinks import JsonLines, LabelLines, Sink
from .smoothing import UNSMOOTHED, Steadiness
from .sources import open_source
from .teach_options import TeachOptions, teach_options
from .window import Window, require_display

if TYPE_CHECKING:
    from .teacher import Teacher

_log = logging.getLogger(__name__)


def _list(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    for line in list_cameras() or ["no camera found"]:
        echo(line)
    context.exit()


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.tflite..."
)
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list,
    help="List the cameras of this machine, and end.",
)
@click.option(
    "--source",
    default="0",
    show_default=True,
    metavar="0|PATH|URL",
    help="A camera's number, /dev/videoN, /dev/v4l/by-id/NAME or picamera2, a video, an image, a "
    "folder or pattern of images, or an http, https or rtsp address.",
)
@click.option("--size", type=Pair(), help="Ask the camera for this size.")
@click.option(
    "--fps", type=click.FloatRange(0, 1000, min_open=True), help="Ask the camera for this rate."
)
@click.option(
    "--rotate",
    type=click.Choice(["0", "90", "180", "270"]),
    default="0",
    help="Turn the image clockwise.",
)
@click.option("--mirror", is_flag=True, help="Mirror the image left to right.")
@click.option("--roi", type=Region(), help="Look at this part only, in shares of the image.")
@click.option(
    "--give-up",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="End, with exit code 11, when a camera is away for so long  [default: never]",
)
@click.option("--headless", is_flag=True, help="Open no window.")
@click.option(
    "--preview",
    type=Address(),
    help="Serve a page with the image and the labels; any address but 127.0.0.1 has a token.",
)
@click.option("--token", hidden=True)  # all users of a machine can read a command line
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the token that browsers must know  [default: LMEDGE_TOKEN, or one is made]",
)
@click.option(
    "--jsonl",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="-|FILE",
    help="Write one JSON object per frame, to standard output or to a file.",
)
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.mp4",
    help="Record the frames with their labels drawn in.",
)
@teach_options
@field_options
@click.option(
    "--status",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.json",
    help="Keep the state of the loop in a small file, for programs that watch it.",
)
@threads_option
@delegate_option
@click.option(
    "--smoothing",
    type=click.FloatRange(0, 3600),
    metavar="SECONDS",
    help="Average over about this time; 0 for none  [default: the file's, for images 0]",
)
@click.option("--no-smoothing", is_flag=True, help="Show each frame's own labels.")
@click.option("--frames", type=click.IntRange(1), metavar="N", help="End after N frames.")
def camera(
    files: tuple[Path, ...],
    source: str,
    size: tuple[int, int] | None,
    fps: float | None,
    rotate: str,
    mirror: bool,
    roi: tuple[float, float, float, float] | None,
    give_up: float | None,
    headless: bool,
    preview: tuple[str, int] | None,
    token: str | None,
    token_file: Path | None,
    jsonl: str | None,
    record: Path | None,
    status: Path | None,
    threads: int | None,
    delegate: Path | None,
    smoothing: float | None,
    no_smoothing: bool,
    frames: int | None,
    teach: bool,
    teach_photographs: Path | None,
    **field: Any,
) -> None:
    """Classify a live camera, a video or images, and show both labels on each frame.

    Of a camera or stream, only the newest frame is classified; videos and folders are read in
    full. The command waits for a camera that goes away. Keys in the window: `q` ends, space
    pauses, `s` saves the image, `o` hides the overlay, 1 to 9 choose one of several files or the
    number of threads. Ctrl-C ends too, and recordings are then finished. With --teach, `t` takes a
    burst of the landmark in view and asks for its name, and `u` takes the last lesson back. The
    preview page has buttons for both; a terminal without either takes names as lines.

    \b
    lmedge camera landmarks.tflite
    lmedge camera landmarks.tflite --source walk.mp4 --headless --record labelled.mp4
    lmedge camera landmarks.tflite --headless --preview 127.0.0.1:8000
    lmedge camera landmarks.tflite --source rtsp://camera.local/live --headless --jsonl -
    lmedge camera taught.tflite --teach --teach-photographs more
    """  # noqa: D301 - click's mark, the character itself
    if record is not None:
        if record.suffix.lower() != ".mp4":
            raise click.BadParameter("the name must end in .mp4", param_hint="--record")
        check_writable(record)
    written = [] if record is None else [record]
    written += [] if jsonl in {None, "-"} else [Path(str(jsonl))]
    states = [] if status is None else [status]
    check_outputs([*written, *states], [*files, Path(source)])
    if under_systemd():
        use_journal()
    outlets = FieldOptions(**field)
    lessons = TeachOptions(teach=teach, teach_photographs=teach_photographs)
    if preview is not None:
        token = find_token(preview[0], token, token_file, always=teach)
    window = not headless and _has_display(preview is not None)
    seen = window or preview is not None
    lessons.check(files, seen=seen or sys.stdin.isatty())
    choice = Choice(files, threads, delegate=delegate)
    options, view = (
        CaptureOptions(size=size, rate=fps),
        FrameView(rotate=int(rotate), mirror=mirror, roi=roi),
    )
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(
            open_source(source, options=options, view=view, give_up=give_up)
        )
        outputs = SinkOptions(
            jsonl=jsonl,
            record=record,
            status=status,
            preview=preview,
            token=token,
            window=window,
        )
        teacher = lessons.open(opened, choice, stack, None if seen else sys.stdin)
        sinks = [
            *outlets.open(opened, choice, token_file, stack),
            *outputs.open(opened, choice, stack, teacher),
        ]
        steadiness = _steadiness(choice, smoothing, no_smoothing)
        with stopping_on_signals(opened):
            summary = run_camera(choice, opened, sinks, smoothing=steadiness, frames=frames)
    _log.info("%s", _sentence(summary))
    for path in written if summary.frames else ():
        _log.info("wrote %s", path)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SinkOptions:
    """The sinks that the command line names."""

    jsonl: str | None
    record: Path | None
    status: Path | None
    preview: tuple[str, int] | None
    token: str | None
    window: bool

    def open(
        self,
        source: FrameSource,
        choice: Choice,
        stack: contextlib.ExitStack,
        teacher: Teacher | None,
    ) -> list[Sink]:
        """Open all of them, files before the window, so that a frame that is seen was written.

        The teacher is last: what it waits for, the others have seen.
        """
        sinks: list[Sink] = []
        if self.jsonl is not None:
            sinks.append(JsonLines(_open_lines(self.jsonl, stack)))
        elif not self.window:
            sinks.append(LabelLines(sys.stdout))
        if self.record is not None:
            sinks.append(Recorder(self.record))
        if self.preview is not None:
            page = Preview(*self.preview, token=self.token, teacher=teacher)
            _log.info("preview at %s", page.shown())
            sinks.append(page)
        if self.window:
            sinks.append(Window(source, choice, teacher))
        if self.status is not None or under_systemd():
            sinks.append(SupervisedState(self.status, choice))
        return sinks if teacher is None else [*sinks, teacher]


def _has_display(optional: bool) -> bool:
    """Return True if a window can be opened; raise LmedgeError unless it is `optional`."""
    try:
        require_display()
    except LmedgeError as error:
        if not optional:
            raise
        _log.info("no window: %s", error)
        return False
    return True


def _steadiness(choice: Choice, seconds: float | None, none: bool) -> Steadiness | None:
    """Return the smoothing of the options; None leaves it to the file and the kind of source."""
    if none:
        return UNSMOOTHED
    if seconds is None:
        return None
    return dataclasses.replace(Steadiness.of(choice.current.model), seconds=seconds)


def _open_lines(target: str, stack: contextlib.ExitStack) -> TextIO:
    if target == "-":
        return sys.stdout
    stack.enter_context(held(target))
    return stack.enter_context(open_lines(target))


def _sentence(summary: CameraSummary) -> str:
    frames = "1 frame" if summary.frames == 1 else f"{summary.frames} frames"
    extra = f", {summary.dropped} dropped" if summary.dropped else ""
    extra += f", {summary.skipped} skipped" if summary.skipped else ""
    extra += f", {summary.damaged} damaged" if summary.damaged else ""
    if summary.absences:
        extra += f", away {summary.absences} time{'s' if summary.absences > 1 else ''}"
    return (
        f"{frames} in {summary.seconds:.1f} s{extra}; {summary.rate:.1f} a second, "
        f"{summary.median_ms:.1f} ms to classify one; {summary.end}"
    )
