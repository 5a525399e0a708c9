"""`lmedge demo`: the whole way on drawings of monuments, by the commands of a user."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import click
import cv2
import numpy as np

from lmedge.commands.options import seed_option
from lmedge.errors import LmedgeError
from lmedge.files import replacing, write_bytes
from lmedge.harmless import echo, harmless, shell_words
from lmedge.image import RgbImage
from lmedge.processes import child_environment, python_command
from lmedge.progress import Advance, progress, progress_shown

from .. import demo as drawings

TRAIN, VALIDATE, TEST = 60, 15, 25  # drawings of each monument
FEW = 10  # of them, for the part without training
CLIP_FRAMES = 150
FRAME_RATE = 15


@click.command(short_help="Draw, train, export and classify: no photographs needed.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("lmedge-demo"),
    show_default=True,
    help="Folder for all that is made.",
)
@seed_option("Fixes the drawings and the training.")
@click.option("--quick", is_flag=True, help="Few drawings: a check, not a result.")
def demo(out: Path, seed: int, quick: bool) -> None:
    """Go the whole way without photographs or a network connection.

    Draws 12 monuments in 4 categories and teaches a file from 10 drawings of each, in seconds. Then
    trains on more of them at 96 pixels, from the weights of the base that comes with lmedge,
    exports the int8 file, classifies images and a clip with it and measures it. Minutes on two
    cores.
    """
    began = time.monotonic()
    if (out / "run").exists() or (out / "photographs").exists():
        raise LmedgeError(f"{out} holds a demo already; remove it or name another with --out")
    draw_part(out, "test", TEST, 3 * seed + 2)
    examples = sorted((out / "photographs" / "test").glob("*/*/*-0001.jpg"))[:6]
    teach_part(out, seed, examples)
    echo(f"\nTaught after {time.monotonic() - began:.0f} s. A training is the longer way:")
    draw_photographs(out, seed, TRAIN // 6 if quick else TRAIN)
    file = out / "monuments.tflite"
    settings = ["--set", "fine_tune.epochs=1"] if quick else []
    # Two drawings that happen to look alike are not copies.
    show_and_run(
        "train",
        out / "photographs",
        "--recipe",
        "demo",
        "--weights",
        "base",
        "--seed",
        seed,
        "--out",
        out / "run",
        "--allow-leak",
        *settings,
    )
    show_and_run("export", out / "run", "--int8", "-o", file, *(["--force"] if quick else []))
    show_and_run("predict", file, *examples)
    show_and_run(
        "camera",
        file,
        "--source",
        out / "clip.mp4",
        "--headless",
        "--jsonl",
        out / "clip.jsonl",
        "--record",
        out / "clip-annotated.mp4",
    )
    show_and_run("benchmark", file, "--data", out / "photographs", "--part", "test", "--out", out)
    save_frame(out / "clip-annotated.mp4", out / "annotated-frame.png")
    print_summary(out, time.monotonic() - began)


def teach_part(out: Path, seed: int, examples: Sequence[Path]) -> None:
    """Teach the base that comes with lmedge from the first drawings of the training part."""
    drawings.write_data_set(out / "few", FEW, 3 * seed)
    file = out / "taught.tflite"
    show_and_run("teach", out / "few", "-o", file)
    show_and_run("predict", file, *examples)


def draw_photographs(out: Path, seed: int, train: int) -> None:
    """Draw the parts of the training, the clip and the contact sheet."""
    draw_part(out, "train", train, 3 * seed)
    draw_part(out, "val", VALIDATE, 3 * seed + 1)
    _save_png(out / "contact-sheet.png", drawings.contact_sheet(seed))
    _save_clip(out / "clip.mp4", seed)


def draw_part(out: Path, part: str, count: int, seed: int) -> None:
    """Draw one part of the photographs, which has a seed of its own."""
    total = count * sum(len(landmarks) for landmarks in drawings.MONUMENTS.values())
    with progress(f"Drawing the {part} part", total) as advance:
        drawings.write_data_set(
            out / "photographs" / part, count, seed, progress=functools.partial(_step, advance)
        )


def _step(advance: Advance, _done: int, _total: int) -> None:
    advance()


def _save_clip(path: Path, seed: int) -> None:
    with replacing(path) as temporary:
        writer: cv2.VideoWriter | None = None
        for frame, _ in drawings.clip(seed, CLIP_FRAMES):
            if writer is None:
                code = cv2.VideoWriter.fourcc(*"mp4v")
                size = (frame.shape[1], frame.shape[0])
                writer = cv2.VideoWriter(str(temporary), code, FRAME_RATE, size)
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        if writer is not None:
            writer.release()
        check_clip(temporary, path)


def check_clip(written: Path, path: Path) -> None:
    """Raise LmedgeError, with the name `path`, unless a clip has all its frames.

    OpenCV reports no frame that a full disk did not take.
    """
    capture = cv2.VideoCapture(str(written))
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    if frames < CLIP_FRAMES:
        raise LmedgeError(
            f"cannot write {path}: {frames} of {CLIP_FRAMES} frames arrived; free space or choose "
            "another folder"
        )


def _save_png(path: Path, image: RgbImage) -> None:
    # not by imwrite, which reports no full disk
    done, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise LmedgeError(f"cannot write {path}: it cannot be encoded; run `lmedge doctor`")
    write_bytes(path, encoded.tobytes())


def save_frame(video: Path, path: Path) -> None:
    """Save the frame in the middle of the first scene of a video as PNG."""
    capture = cv2.VideoCapture(str(video))
    frame = None
    for _ in range(20):
        _, frame = capture.read()
    capture.release()
    if frame is None:
        raise LmedgeError(f"{video} has no frames")
    _save_png(path, np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8))


def show_and_run(*arguments: object) -> None:
    """Show a command of lmedge and run it in a process of its own."""
    words = [str(argument) for argument in arguments]
    click.secho(f"\n$ lmedge {shell_words(*words)}", bold=True)
    quiet = [] if progress_shown() else ["-q"]
    done = subprocess.run(
        python_command("-m", "lmedge", *quiet, *words), env=child_environment(), check=False
    )
    if done.returncode:
        raise LmedgeError(f"`lmedge {words[0]}` ended with code {done.returncode}; see above")


def print_summary(out: Path, seconds: float) -> None:
    """Print the scores and the files that were made."""
    report = json.loads((out / "report.json").read_text("utf-8"))
    accuracy, latency = report["accuracy"], report["latency"]
    width = shutil.get_terminal_size().columns
    click.secho("\n" + "-" * min(72, width))
    echo(
        f"Done in {seconds / 60:.1f} min. The int8 file, on {accuracy['landmark']['n']} drawings "
        f"it has not seen:\n  landmark macro F1 {accuracy['landmark']['macro_f1']:.3f}, category "
        f"macro F1 {accuracy['category']['macro_f1']:.3f}, "
        f"{latency['invoke_ms']['p50']:.2f} ms an image on one thread"
    )
    for name, what in (
        ("taught.tflite", "the file that was taught in seconds, and few: its drawings"),
        ("monuments.tflite", "the file to ship: model, labels and metrics in one"),
        ("contact-sheet.png", "examples of the drawings"),
        ("annotated-frame.png", "a frame of the clip as the camera shows it"),
        ("clip-annotated.mp4", "the whole clip, and clip.jsonl"),
        ("run", "the training: recipe, split, weights, curves, confusion matrices"),
        ("report.json", "the benchmark"),
    ):
        echo(f"  {harmless(out / name)}: {what}")
