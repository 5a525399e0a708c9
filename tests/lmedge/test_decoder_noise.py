"""Decoders write no line between ours, and what they write is counted."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lmedge.decoder_noise import counting_decoder_noise
from lmedge.progress import TALK
from lmedge.streams import libraries_write_to
from tests import processes

NOISE = b"libpng error: IDAT: CRC error\n"


def noisy(path: Path) -> Path:
    """Write a PNG that ends early: libpng and OpenCV both write about it."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    path.write_bytes(stream.getvalue()[:-4000])
    return path


def test_it_is_counted_and_the_rest_passes(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lmedge"), counting_decoder_noise():
        os.write(2, NOISE)
        with counting_decoder_noise():  # inside another
            os.write(2, b"Corrupt JPEG data: bad Huffman code\n")
            os.write(2, b"[ERROR:0@0.17] global loadsave.cpp:1390 imdecode_('')\n\n")
            os.write(2, b"something that a person should read\n")
    assert capfd.readouterr().err == "something that a person should read\n"
    assert "image decoders wrote 3 messages" in caplog.text


def test_nothing_is_logged_about_silence(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lmedge"), counting_decoder_noise():
        pass
    assert caplog.text == ""


def test_it_can_be_shown(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TALK, "1")
    with counting_decoder_noise():
        os.write(2, NOISE)
    assert capfd.readouterr().err == NOISE.decode()


def test_what_python_writes_stays_where_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(2, "w", closefd=False) as stderr, (tmp_path / "sink").open("wb") as sink:
        monkeypatch.setattr(sys, "stderr", stderr)
        with libraries_write_to(sink.fileno()):
            os.write(2, NOISE)
            sys.stderr.write("ours\n")
        assert sys.stderr is stderr
        os.write(2, b"after\n")
    assert (tmp_path / "sink").read_bytes() == NOISE
    assert capfd.readouterr().err == "ours\nafter\n"


def test_a_command_prints_its_own_lines_alone(
    tiny_file: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Commands that other tests run in this process set it, and then there is no noise to count
    monkeypatch.delenv("OPENCV_LOG_LEVEL", raising=False)
    bad = noisy(tmp_path / "cut.png")
    good = next(photographs.rglob("*.jpg"))
    words = ["predict", tiny_file, bad, good, bad, good]
    process = processes.lmedge(*words)
    assert process.returncode == 3
    lines = process.stderr.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["skipped", "skipped"]
    assert "image decoders wrote" in lines[2]
    assert lines[3].startswith("lmedge: 2 of 4 images could not be read")
    assert len(lines) == 4
    assert cv2.imdecode(np.frombuffer(bad.read_bytes(), np.uint8), cv2.IMREAD_COLOR) is None
