"""`lmedge camera`: the labels of every frame, until the source ends or the user stops it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
from pathlib import Path
from typing import Any

import click

from ..commands.options import delegate_option, threads_option
from ..errors import LmedgeError
from ..files import check_writable
from ..harmless import echo, json_text
from ..systemd import under_systemd, use_journal
from ..writers import check_outputs
from .cameras import find_cameras
from .capture import CaptureOptions
from .choice import Choice
from .field_options import FieldOptions, field_options
from .frames import FrameView
from .loop import CameraSummary, run_camera, stopping_on_signals
from .parameters import Address, Pair, PixelFormat, Region
from .preview_token import find_token
from .service import failure_in
from .sink_options import SinkOptions
from .smoothing import UNSMOOTHED, Steadiness
from .sources import open_source
from .teach_options import TeachOptions, teach_options
from .window import require_display

_log = logging.getLogger(__name__)


def _list(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    found = find_cameras()
    if context.params.get("as_json"):
        for one in found:
            echo(json_text(one.as_json()))
    else:
        for line in [line for one in found for line in one.lines()] or ["no camera found"]:
            echo(line)
    context.exit()


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.tflite..."
)
@click.option(
    "--list",
    is_flag=True,
    expose_value=False,
    callback=_list,
    help="List the cameras of this machine, their formats, sizes and rates, and end.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,  # before --list, whatever their order
    help="With --list: print one JSON object a camera.",
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
    "--format",
    "pixels",
    type=PixelFormat(),
    help="Ask the camera for this format, such as MJPG or YUYV  [default: one with the size]",
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
    as_json: bool,
    source: str,
    size: tuple[int, int] | None,
    fps: float | None,
    pixels: str | None,
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
    if as_json:
        raise click.UsageError("--json needs --list")
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
    kept = status is not None or under_systemd()
    options, view = (
        # A service goes on with the nearest if another camera took the place of its own.
        CaptureOptions(size=size, rate=fps, format=pixels, exact=not kept),
        FrameView(rotate=int(rotate), mirror=mirror, roi=roi),
    )
    with failure_in(status, files[0]), contextlib.ExitStack() as stack:
        choice = Choice(files, threads, delegate=delegate)
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
