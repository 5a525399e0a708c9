"""An ARM64 Debian with Python and the device's wheels in a folder, to be run by emulation.

    sudo apt install qemu-user-static debootstrap
    sudo python -m benchmarks.studies.arm64_root arm64

This machine's kernel starts nothing in the folder. Packages are unpacked, not installed, and no
other root, mount or kernel setting is needed.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import click

from lmedge.errors import LmedgeError, MissingDependencyError
from lmedge.machine import OPENCV_PACKAGES, package_version
from lmedge.remote.packing import unpack

from .common import PATH, run_study

SUITE, PYTHON = "bookworm", "3.11"
# Debian package of each tool.
TOOLS = {
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    "qemu-aarch64-static": "qemu-user-static",
}
PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in (35, 34, 31, 28, 27, 17)]
DISTRIBUTIONS = ("numpy", "ai-edge-litert", "flatbuffers", "click", "rich")


def make_system(system: Path, mirror: str | None) -> None:
    """Unpack a minimal ARM64 Debian with Python. Raises LmedgeError when a tool fails."""
    options = ["--arch=arm64", "--foreign", "--variant=minbase", "--include=python3"]
    _run("debootstrap", *options, SUITE, str(system), *filter(None, [mirror]))
    for package in sorted((system / "var/cache/apt/archives").glob("*.deb")):
        _run("dpkg-deb", "-x", str(package), str(system))


def requirements(*also: str) -> list[str]:
    """Return the requirements of the device and `also`, in the versions that are installed here.

    OpenCV is the one without windows: the other needs libraries of a desktop. Its code for
    images is the same.
    """
    names = (*DISTRIBUTIONS, *also)
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in names]
    return [*pinned, f"opencv-python-headless=={package_version(*OPENCV_PACKAGES)}"]


def make_packages(packages: Path, wheels: Path, *also: str) -> None:
    """Download the wheels for ARM64 and unpack them. Raises LmedgeError when pip fails."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    _run(
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--only-binary=:all:",
        *platforms,
        "--python-version",
        PYTHON,
        "--dest",
        str(wheels),
        *requirements(*also),
    )
    for wheel in sorted(wheels.glob("*.whl")):
        unpack(wheel, packages)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise LmedgeError(f"{Path(command[0]).name} failed: {lines[-1]}")


@click.command()
@click.argument("folder", type=PATH)
@click.option("--mirror", metavar="URL", help="Debian mirror  [default: debootstrap's own]")
def main(folder: Path, mirror: str | None) -> None:
    """Make FOLDER with a Debian for ARM64 (system/) and the device's wheels (packages/)."""
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise MissingDependencyError(f"{tool} is missing: sudo apt install {package}")
    if folder.exists():
        raise LmedgeError(f"{folder} exists; remove it or choose another folder")
    click.echo("downloading and unpacking Debian for ARM64")
    make_system(folder / "system", mirror)
    click.echo("downloading and unpacking the wheels")
    make_packages(folder / "packages", folder / "wheels")
    click.echo(f"made: {folder}")


if __name__ == "__main__":
    run_study(main)
