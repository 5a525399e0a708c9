"""The peers' virtual environments: made once, from exact versions."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from lmedge import files
from lmedge.errors import MissingDependencyError

REQUIREMENTS = Path(__file__).with_name("requirements")
ENVIRONMENTS = Path(".venv-peers")
PEERS = ("litert", "onnxruntime", "openvino", "tflite-runtime", "mediapipe")
_MARK = "lmedge-requirements.txt"
_log = logging.getLogger(__name__)

environments_option = click.option(
    "--environments",
    type=click.Path(path_type=Path),
    default=ENVIRONMENTS,
    show_default=True,
    metavar="DIR",
)
python_option = click.option(
    "--python",
    default=sys.executable,
    metavar="PATH",
    help="Makes the environments; tflite-runtime needs 3.11  [default: this one]",
)


def make_environments(
    peers: Sequence[str], folder: Path, python: str = sys.executable, *, needed: str
) -> dict[str, Path]:
    """Return the Python of each peer that can be installed here; log the others.

    Raises MissingDependencyError when `needed` cannot be installed.
    """
    found = {}
    for peer in peers:
        try:
            found[peer] = make_environment(peer, folder, python)
        except MissingDependencyError as error:
            if peer == needed:
                raise
            _log.warning("left out: %s", error)
    return found


def make_environment(peer: str, folder: Path, python: str = sys.executable) -> Path:
    """Return the Python of a peer's environment, `folder`/`peer`, made with `python` if need be.

    It is made again when its requirements changed. Raises MissingDependencyError when a package
    cannot be installed there, for want of a wheel or of a network.
    """
    wanted = (REQUIREMENTS / f"{peer}.txt").read_text("utf-8")
    own = folder.absolute() / peer
    mark, inside = own / _MARK, own / "bin" / "python"
    if mark.is_file() and mark.read_text("utf-8") == _state(wanted):
        return inside
    _log.info("installing %s in %s", peer, own)
    _run(peer, python, "-m", "venv", "--clear", str(own))
    quiet = ("--quiet", "--disable-pip-version-check")
    _run(peer, str(inside), "-m", "pip", "install", *quiet, "-r", str(REQUIREMENTS / f"{peer}.txt"))
    files.write_text(mark, _state(wanted))
    return inside


def _state(wanted: str) -> str:
    return f"{hashlib.sha256(wanted.encode()).hexdigest()}\n"


def _run(peer: str, *command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise MissingDependencyError(f"{peer}: {command[0]} is no Python ({error.strerror})") from (
            error
        )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise MissingDependencyError(f"{peer}: cannot be installed with {command[0]} ({reason})")
