"""Comparison of one file's outputs on emulated ARM64 processors and on this machine.

    sudo python -m benchmarks.studies.arm64_root arm64
    python -m benchmarks.studies.arm64 FILE.tflite --data PHOTOGRAPHS --root arm64

Only the outputs are compared: the time of an emulated processor says nothing about a real one.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from lmedge.errors import DataError, LmedgeError, MissingDependencyError
from lmedge.evaluation.folders import list_images
from lmedge.remote.packing import unpack, write_wheel
from lmedge.report.csv_files import write_csv

from .answers import Answers, load
from .common import PATH, images_option, out_option, run_study

EMULATOR = "qemu-aarch64-static"
_BASE = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
_DOT = f"{_BASE} atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
# The emulator's name: part number and features of /proc/cpuinfo, as Linux prints them on the chip.
CORES = {
    "cortex-a53": ("0xd03", f"{_BASE} cpuid"),
    "cortex-a72": ("0xd08", f"{_BASE} cpuid"),
    "cortex-a76": ("0xd0b", _DOT),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """One emulated core against this machine; shares in 0..1.

    `prepared_same` is the share of images that are decoded and resized to the same bytes,
    `prepared_largest` the largest difference of a byte. The rest is of the bytes prepared here:
    `integers_same` is the share of images for which the int8 logits of both heads are the same,
    None for a file without; `outputs_same` that for which the float32 probabilities are, to the
    last bit; then the largest difference of a probability, and the shares with the same best
    landmark and category. Seconds are emulated.
    """

    core: str
    pictures: int
    prepared_same: float
    prepared_largest: int
    integers_same: float | None
    outputs_same: float
    outputs_largest: float
    same_landmark: float
    same_category: float
    emulated_seconds_a_picture: float


def compare(core: str, here: Answers, there: Answers) -> Comparison:
    """Compare the outputs of an emulated core with those of this machine."""
    pixels = np.abs(here.prepared.astype(np.int16) - there.prepared).reshape(len(here.prepared), -1)
    gaps = [
        np.abs(a - b).max(axis=1)
        for a, b in ((here.landmark, there.landmark), (here.category, there.category))
    ]
    equal = [_bits(here.landmark, there.landmark), _bits(here.category, there.category)]
    return Comparison(
        core=core,
        pictures=len(here.prepared),
        prepared_same=float((pixels.max(axis=1) == 0).mean()),
        prepared_largest=int(pixels.max()),
        integers_same=float((here.logits == there.logits).all(axis=1).mean())
        if here.logits.size
        else None,
        outputs_same=float((equal[0] & equal[1]).mean()),
        outputs_largest=float(np.max(gaps)),
        same_landmark=float((here.landmark.argmax(axis=1) == there.landmark.argmax(axis=1)).mean()),
        same_category=float((here.category.argmax(axis=1) == there.category.argmax(axis=1)).mean()),
        emulated_seconds_a_picture=there.seconds,
    )


def _bits(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return (N,) booleans, True for rows of the same bytes; == differs for NaN and -0."""
    same = a.view(np.uint32) == b.view(np.uint32)
    return np.asarray(same.all(axis=1))


def cpuinfo(core: str) -> str:
    """Return /proc/cpuinfo of one core; without it the runtime reads this machine's and crashes."""
    part, features = CORES[core]
    return (
        f"processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 3\n\n"
    )


def view(system: Path, core: str, folder: Path) -> Path:
    """Make `folder` look like the ARM64 system on one core, and return its Python.

    The system itself may belong to root. Raises DataError when there is no Python in it.
    """
    found = sorted(system.glob("usr/bin/python3.[0-9]*"))
    if not found:
        raise DataError(f"{system}: holds no ARM64 system; see benchmarks.studies.arm64_root")
    (folder / "proc").mkdir(parents=True)
    (folder / "proc" / "cpuinfo").write_text(cpuinfo(core))
    # No more than these: the emulator looks here for every absolute path, and more links would
    # lead paths of this machine into the system.
    for name in ("usr", "lib"):
        (folder / name).symlink_to(system / name)
    return folder / found[-1].relative_to(system)


def run_here_and_there(
    module: Sequence[str], cores: Sequence[str], root: Path, folder: Path, there: Sequence[str] = ()
) -> Iterator[tuple[str, Path]]:
    """Run `python -m MODULE... --out FILE` here, then on each core in the system below `root`.

    Yields the name of the core, "" for this machine, and the file, in `folder`. `there` are words
    for the cores alone.

    Raises:
        DataError: There is no ARM64 system below `root`.
        LmedgeError: A module fails; with its last line.
    """
    modules, own = write_payload(folder), folder / "here.npz"
    _checked([sys.executable, "-m", *module, "--out", str(own)], "on this machine")
    yield "", own
    path = os.pathsep.join(map(str, [modules, root.absolute() / "packages"]))
    for core in cores or CORES:
        place, out = folder / core, folder / f"{core}.npz"
        python = view(root.absolute() / "system", core, place)
        command = [EMULATOR, "-cpu", core, "-L", str(place), "-E", f"PYTHONPATH={path}"]
        # -P: the working folder may hold an lmedge of its own, without its other rooms.
        command += [str(python), "-P", "-m", *module, "--out", str(out), *there]
        _checked(command, f"on the emulated {core}")
        yield core, out


def write_payload(folder: Path) -> Path:
    """Write lmedge and the studies that the emulated system needs, and return where they are.

    The wheel contains no study: the modules that `answers` needs are copied beside it.
    """
    modules = folder / "modules"
    unpack(write_wheel(folder), modules)
    studies = modules / "benchmarks" / "studies"
    studies.mkdir(parents=True)
    for name in ("__init__", "common", "answers", "tensors"):
        shutil.copy(Path(__file__).with_name(f"{name}.py"), studies)
    return modules


def _checked(command: list[str], place: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise LmedgeError(f"{place}: {lines[-1]}")


def emulation_options(images: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the decorator that adds the file, the photographs, their number, and the cores."""
    parts = [
        click.argument("file", type=PATH, metavar="FILE.tflite"),
        click.option("--data", type=PATH, required=True, metavar="DIR"),
        click.option(
            "--root",
            type=PATH,
            required=True,
            metavar="FOLDER",
            help="The folder that `python -m benchmarks.studies.arm64_root FOLDER` made.",
        ),
        images_option(images),
        click.option(
            "--core", "cores", type=click.Choice(list(CORES)), multiple=True, help="Default: all"
        ),
    ]

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for part in reversed(parts):
            command = part(command)
        return command

    return add


def drawn_images(data: Path, count: int) -> list[Path]:
    """Return the paths of so many images, drawn at random, the same at each call.

    Raises:
        MissingDependencyError: The emulator that they are for is not installed.
        DataError: There are none.
    """
    if shutil.which(EMULATOR) is None:
        raise MissingDependencyError(f"{EMULATOR} is missing: sudo apt install qemu-user-static")
    paths = list_images(data)
    if not paths:
        raise DataError(f"{data}: no images there; name another folder")
    return [paths[at] for at in np.random.default_rng(0).permutation(len(paths))[:count].tolist()]


@click.command()
@emulation_options(36)
@out_option("arm64.csv")
def main(
    file: Path, data: Path, root: Path, images: int, cores: tuple[str, ...], out: Path
) -> None:
    """Compare prepared images and outputs of emulated ARM64 cores with those of this machine."""
    drawn = drawn_images(data, images)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listed = folder / "pictures.txt"
        listed.write_text("".join(f"{path.absolute()}\n" for path in drawn), "utf-8")
        module = ["benchmarks.studies.answers", str(file.absolute()), str(listed)]
        given = ("--input", str(folder / "here.npz"))
        found = run_here_and_there(module, cores, root, folder, given)
        here = load(next(found)[1])
        for core, path in found:
            rows.append(compare(core, here, load(path)))
            click.echo(_line(rows[-1]))
    write_csv(out, rows, data=f"{file.name}, {len(drawn)} images of {data.name}")
    click.echo(f"written: {out}")


def _line(row: Comparison) -> str:
    return (
        f"{row.core}: {row.pictures} images, prepared the same {row.prepared_same:.1%}, "
        f"int8 logits the same {row.integers_same or 0:.1%}, probabilities to the last bit "
        f"{row.outputs_same:.1%}, largest difference {row.outputs_largest:.2g}"
    )


if __name__ == "__main__":
    run_study(main)
