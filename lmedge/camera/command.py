"""`lmedge camera`: frames in, labels out, until the source ends or someone says stop."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import TextIO

import click

from lmedge.classifier import Classifier
from lmedge.errors import LmedgeError
from lmedge.files import check_writable

from .frames import Source
from .loop import Summary, run_camera, stopping_on_signals
from .recorder import Recorder
from .sinks import JsonLines, LabelLines, Sink
from .sources import open_source
from .window import Window, check_display

_log = logging.getLogger(__name__)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.option(
    "--source",
    default="0",
    show_default=True,
    metavar="0|PATH|URL",
    help="A camera's number or /dev/videoN, a video, a picture, a folder of pictures, or an "
    "http, https or rtsp address.",
)
@click.option("--headless", is_flag=True, help="Open no window.")
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
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--smoothing",
    type=click.FloatRange(0, 3600),
    metavar="SECONDS",
    help="Average over about this time; 0 for none  [default: 0.5, for pictures 0]",
)
@click.option("--frames", type=click.IntRange(1), metavar="N", help="End after N frames.")
def camera(
    file: Path,
    source: str,
    headless: bool,
    jsonl: str | None,
    record: Path | None,
    threads: int,
    smoothing: float | None,
    frames: int | None,
) -> None:
    """Classify a live camera, a video or pictures, and show both labels on each frame.

    Of a camera or stream the newest frame is always the one classified; videos and folders are
    read in full. `q` in the window, or Ctrl-C, ends; recordings are finished then.

    \b
    lmedge camera landmarks.tflite
    lmedge camera landmarks.tflite --source walk.mp4 --headless --record labelled.mp4
    lmedge camera landmarks.tflite --source rtsp://camera.local/live --headless --jsonl -
    """  # noqa: D301 - click's mark, the character itself
    if record is not None:
        if record.suffix.lower() != ".mp4":
            raise click.BadParameter("the name must end in .mp4", param_hint="--record")
        check_writable(record)
    if not headless:
        check_display()
    classifier = Classifier(file, threads=threads)
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(open_source(source))
        stream = None if jsonl is None else _open_lines(jsonl, stack)
        sinks = _sinks(opened, headless, stream, record)
        with stopping_on_signals(opened):
            summary = run_camera(classifier, opened, sinks, smoothing=smoothing, frames=frames)
    _log.info("%s", _sentence(summary))
    for written in (record, None if jsonl in {None, "-"} else jsonl):
        if written is not None and summary.frames:
            _log.info("wrote %s", written)


def _sinks(
    source: Source, headless: bool, stream: TextIO | None, record: Path | None
) -> list[Sink]:
    """Files before the window: a frame that is seen has been written."""
    sinks: list[Sink] = []
    if stream is not None:
        sinks.append(JsonLines(stream))
    elif headless:
        sinks.append(LabelLines(sys.stdout))
    if record is not None:
        sinks.append(Recorder(record, source.rate))
    if not headless:
        sinks.append(Window(source))
    return sinks


def _open_lines(target: str, stack: contextlib.ExitStack) -> TextIO:
    if target == "-":
        return sys.stdout
    try:
        return stack.enter_context(Path(target).open("w", encoding="utf-8"))
    except OSError as error:
        raise LmedgeError(f"{target}: cannot be written ({error.strerror})") from error


def _sentence(summary: Summary) -> str:
    frames = "1 frame" if summary.frames == 1 else f"{summary.frames} frames"
    extra = f", {summary.dropped} dropped" if summary.dropped else ""
    extra += f", {summary.skipped} skipped" if summary.skipped else ""
    return (
        f"{frames} in {summary.seconds:.1f} s{extra}; {summary.rate:.1f} a second, "
        f"{summary.median_ms:.1f} ms to classify one; {summary.end}"
    )
