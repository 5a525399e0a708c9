"""Other clients run the very same file: MediaPipe names both heads and gives the same scores."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lmedge.classifier import Classifier
from lmedge.export.verify import run_file
from lmedge.model_file import HEADS
from tests import small_run
from tests import tiny_file as tiny

if TYPE_CHECKING:
    from tests.export.conftest import Exported, Real

SCRIPT = Path(__file__).with_name("mediapipe_scores.py")
VENV = Path(__file__).parents[2] / ".venv-clients" / "bin" / "python"
CLIENT = Path(os.environ.get("LMEDGE_CLIENTS_PYTHON") or VENV)
pytestmark = pytest.mark.skipif(
    not CLIENT.exists(),
    reason=f"no environment with MediaPipe at {CLIENT}; see constraints-clients.txt",
)


def mediapipe(file: Path, pictures: np.ndarray, folder: Path) -> list[dict[str, Any]]:
    """Return what MediaPipe says of (N, S, S, 3) uint8 RGB."""
    paths = [
        small_run.save(folder / f"{number:02d}.png", picture)
        for number, picture in enumerate(pictures)
    ]
    process = subprocess.run(
        [str(CLIENT), str(SCRIPT), str(file), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    found = json.loads(process.stdout)
    assert len(found) == len(pictures)
    return list(found)


def assert_same_scores(file: Path, pictures: np.ndarray, folder: Path) -> None:
    """Both heads by name, every label, and scores equal to the last bit of a float32."""
    classifier = Classifier(file)
    marginals = run_file(classifier.model, pictures)
    labels = {
        "landmark": classifier.taxonomy.landmarks,
        "category": classifier.taxonomy.categories,
    }
    for number, heads in enumerate(mediapipe(file, pictures, folder)):
        assert set(heads) == set(HEADS)
        for head, scores in heads.items():
            assert set(scores) == set(labels[head])
            found = np.array([scores[label] for label in labels[head]], np.float32)
            assert found.tobytes() == marginals[head][number].tobytes(), (number, head)


def test_an_exported_file(exported: Exported, tmp_path: Path) -> None:
    assert_same_scores(exported.path, exported.run.pictures("test"), tmp_path)


def test_the_real_network(real: Real, tmp_path: Path) -> None:
    path = tmp_path / "real.tflite"
    path.write_bytes(real.file.data)
    assert_same_scores(path, real.pictures[:6], tmp_path)


def test_heads_of_equal_size(tmp_path: Path) -> None:
    """Nothing but their order tells them apart, and a swap would go unnoticed."""
    from lmedge.export.metadata import pack
    from tests.export.test_metadata import EQUAL_CARD, equal_heads

    path = tmp_path / "equal.tflite"
    path.write_bytes(pack(equal_heads(), EQUAL_CARD))
    pictures = np.stack([tiny.picture(name, 32, 32) for name in ("blue", "green", "red")])
    assert_same_scores(path, pictures, tmp_path)
    first = mediapipe(path, pictures[:1], tmp_path)[0]
    best = {head: max(scores, key=scores.get) for head, scores in first.items()}
    assert best == {"landmark": "a", "category": "z"}
