"""The log of a training, whose disk may be full."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lmedge.errors import LmedgeError
from lmedge.train.log_file import log_file

logger = logging.getLogger("lmedge.train.test")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@needs_full
def test_a_full_disk_is_one_line_and_the_training_goes_on(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The library would print a traceback for each line, and fail as it closes the file."""
    with caplog.at_level(logging.INFO, "lmedge"), log_file(Path("/dev/full")):
        logger.info("one")
        logger.info("two")
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert warnings == ["cannot write /dev/full: No space left on device; going on without the log"]
    assert "Traceback" not in capsys.readouterr().err


def test_a_log_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "train.log").mkdir()
    with (
        pytest.raises(LmedgeError, match=r"cannot write .*train\.log"),
        log_file(tmp_path / "train.log"),
    ):
        pass
