"""Wheels for boards without a package index, fetched here for their architecture and Python."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..errors import DeployError
from ..harmless import harmless
from ..processes import child_environment, python_command
from ..writers import alone
from .state import Reason

_PLATFORMS = ("manylinux_2_17", "manylinux2014", "manylinux_2_27", "manylinux_2_28")
_SECONDS = 1800.0


def fill_wheelhouse(
    folder: Path, machine: str, python: tuple[int, int], requirements: Sequence[str]
) -> Path:
    """Return the folder of the wheels for an architecture and a Python, below `folder`.

    What is missing is downloaded; with everything there, no connection is needed. Raises
    DeployError if a package cannot be had, LmedgeError if the folder cannot be written.
    """
    architecture = "aarch64" if machine == "arm64" else machine
    place = folder / f"{architecture}-{python[0]}.{python[1]}"
    abi = f"cp{python[0]}{python[1]}"
    words = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    words += ["--dest", str(place), "--only-binary=:all:", "--implementation", "cp"]
    words += ["--python-version", f"{python[0]}.{python[1]}"]
    for tag in (abi, "abi3", "none"):
        words += ["--abi", tag]
    for platform in (*(f"{name}_{architecture}" for name in _PLATFORMS), "any"):
        words += ["--platform", platform]
    there = ["--no-index", "--find-links", str(place)]
    with alone(place, "lmedge deploy --wheelhouse", seconds=_SECONDS):  # boards fill it at a time
        problem = _pip([*words, *there, *requirements]) and _pip([*words, *requirements])
    if problem:
        raise DeployError(
            f"{place}: pip could not fetch wheels for {architecture}, Python {python[0]}."
            f"{python[1]} ({problem})",
            Reason.ENVIRONMENT,
        )
    return place


def _pip(words: Sequence[str]) -> str:
    """Run pip and return its last line if it fails, otherwise nothing."""
    try:
        done = subprocess.run(
            python_command(*words),
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {_SECONDS:g} s"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return harmless(lines[-1] if lines else "no message") if done.returncode else ""
