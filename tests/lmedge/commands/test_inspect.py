"""`lmedge inspect` and `lmedge labels`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from lmedge.golden import golden_answers, verify
from lmedge.model_file import parse_model, read_model
from lmedge.trial import GOLDEN, golden_image
from tests import processes
from tests import tiny_file as tiny
from tests.in_process import lmedge
from tests.processes import assert_refused

DIGEST = "e2682f8f9edfdcee7aa1cc497fdac96e56b94a9798aba3855a3546122cc18e3c"


def with_golden(path: Path, tiny_file: Path, change: float = 0.0, **golden: object) -> Path:
    """Write the tiny file with golden answers, the first of them changed by `change`."""
    from lmedge.metadata import Card, pack

    answers = golden_answers(read_model(tiny_file))
    answers["landmark"][0][0] += change
    info = {
        "preprocessing": {"size": 32, "resize": "crop"},
        "provenance": {},
        "golden": {**answers, **golden},
    }
    card = Card(
        name="tiny",
        description="four colours",
        version="0.1.0",
        taxonomy=tiny.TAXONOMY,
        size=32,
        info=info,
    )
    model = read_model(tiny_file)
    path.write_bytes(pack(model.data[: model.info["model_bytes"]], card))
    return path


def test_a_card(tiny_file: Path) -> None:
    process = processes.lmedge("inspect", tiny_file)
    assert process.returncode == 0, process.stderr
    for word in ("4 landmarks in 2 categories", "32 x 32", "int8", "towers: green, red"):
        assert word in process.stdout
    assert hashlib.sha256(tiny_file.read_bytes()).hexdigest() in process.stdout


def test_json(tiny_file: Path) -> None:
    report = json.loads(lmedge("inspect", tiny_file, "--json").stdout)
    assert report["bytes"] == tiny_file.stat().st_size
    assert report["input"] == {"size": 32, "resize": "crop", "dtype": "uint8"}
    assert {"operator": "MEAN", "dtype": "int8", "count": 1} in report["operators"]
    assert report["info"]["hierarchy"]["red"] == "towers"
    assert report["verification"] is None


def test_labels(tiny_file: Path) -> None:
    lines = lmedge("labels", tiny_file).stdout.splitlines()
    assert lines == ["blue\tdomes", "green\ttowers", "grey stone\tdomes", "red\ttowers"]
    assert json.loads(lmedge("labels", tiny_file, "--json").stdout)["blue"] == "domes"


def test_a_file_answers_as_it_did(tiny_file: Path, tmp_path: Path) -> None:
    path = with_golden(tmp_path / "golden.tflite", tiny_file)
    process = lmedge("inspect", path, "--verify")
    assert process.returncode == 0, process.stderr
    assert "the answers are those of the export" in process.stdout
    assert verify(read_model(path)).identical


def test_other_answers_are_told(tiny_file: Path, tmp_path: Path) -> None:
    path = with_golden(tmp_path / "other.tflite", tiny_file, change=0.3)
    process = lmedge("inspect", path, "--verify", "--json")
    assert process.returncode == 4
    assert "0.300" in process.stderr
    assert json.loads(process.stdout)["verification"]["passed"] is False
    near = verify(read_model(with_golden(tmp_path / "near.tflite", tiny_file, change=0.001)))
    assert near.passed
    assert not near.identical


@pytest.mark.parametrize(
    "damage", [{"landmark": [[1.0]]}, {"category": "none"}, {"landmark": None}]
)
def test_damaged_answers_are_one_line(
    damage: dict[str, object], tiny_file: Path, tmp_path: Path
) -> None:
    path = with_golden(tmp_path / "damaged.tflite", tiny_file, **damage)
    assert_refused(lmedge("inspect", path, "--verify"), 4, "damaged.tflite", "golden")
    assert lmedge("inspect", path).returncode == 0


def test_an_older_file_cannot_be_verified(tiny_file: Path) -> None:
    assert_refused(lmedge("inspect", tiny_file, "--verify"), 4, "no golden answers")


def test_no_file_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "text.tflite"
    path.write_text("text")
    for verb in ("inspect", "labels"):
        assert_refused(lmedge(verb, path), 4, "text.tflite")


def test_golden_images_are_images() -> None:
    images = [golden_image(number, 64) for number in range(GOLDEN)]
    assert all(image.shape == (64, 64, 3) and image.dtype == np.uint8 for image in images)
    assert all(image.std() > 10 for image in images)
    assert len({image.tobytes() for image in images}) == GOLDEN
    # Never another: files hold answers to these very bytes.
    digest = hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()
    assert digest == DIGEST


def test_a_parsed_file_has_what_is_needed(tiny_file: Path) -> None:
    model = parse_model(tiny_file.read_bytes(), tiny_file)
    answers = golden_answers(model)
    assert [len(rows) for rows in answers.values()] == [GOLDEN, GOLDEN]
    assert np.sum(answers["landmark"], axis=1) == pytest.approx(np.ones(GOLDEN), abs=0.01)


@pytest.mark.parametrize(
    ("rejection", "said"),
    [
        (
            {"threshold": 0.5, "kept": 0.95, "false_accepts": 0.02},
            "below an agreement of 0.500; 95.0% of test images and 2.0% of unknown images pass",
        ),
        ({"threshold": 0.5, "kept": None, "false_accepts": []}, "below an agreement of 0.500"),
        ({"threshold": 0.0}, "every image is given a landmark"),
    ],
)
def test_the_threshold_is_shown(tmp_path: Path, rejection: dict[str, object], said: str) -> None:
    from lmedge.metadata import Card, pack

    info = {"preprocessing": {"size": 32, "resize": "crop"}, "rejection": rejection}
    path = tmp_path / "known.tflite"
    path.write_bytes(
        pack(
            tiny.graph(),
            Card(
                name="tiny", description="", version="0", taxonomy=tiny.TAXONOMY, size=32, info=info
            ),
        )
    )
    process = lmedge("inspect", path)
    assert process.returncode == 0, process.stderr
    assert said in " ".join(process.stdout.split())
