"""The ways to start the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lmedge
from lmedge import __version__


def test_the_module_is_the_command() -> None:
    command = Path(sys.executable).with_name("lmedge")
    outputs = [
        subprocess.run([*start, *words], capture_output=True, text=True, check=False)
        for start in ([str(command)], [sys.executable, "-m", "lmedge"])
        for words in (["--version"], ["predict"])
    ]
    version, usage, *again = [(one.returncode, one.stdout, one.stderr) for one in outputs]
    assert again == [version, usage]
    assert version == (0, f"lmedge, version {__version__}\n", "")
    assert usage[0] == 2


def test_the_former_name_of_read_image_still_works() -> None:
    assert lmedge.read_picture is lmedge.read_image
    assert "read_picture" not in lmedge.__all__
