"""Other clients run the very same file: MediaPipe names its outputs and gives the same scores."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lmedge.classifier import Classifier
from lmedge.export.verification.comparison import run_file
from lmedge.model_file import KNOWN, KNOWN_LABELS, ModelFile, read_model
from lmedge.runtime import load_runtime
from tests import small_run
from tests import tiny_file as tiny
from tests.lmedge.teach import small
from tests.locations import ROOT

if TYPE_CHECKING:
    from tests.export.conftest import Exported, Real

SCRIPT = Path(__file__).with_name("mediapipe_scores.py")
VENV = ROOT / ".venv-clients" / "bin" / "python"
CLIENT = Path(os.environ.get("LMEDGE_CLIENTS_PYTHON") or VENV)
pytestmark = pytest.mark.skipif(
    not CLIENT.exists(),
    reason=f"no environment with MediaPipe at {CLIENT}; see constraints-clients.txt",
)


def mediapipe(file: Path, images: np.ndarray, folder: Path) -> list[dict[str, Any]]:
    """Return what MediaPipe says of (N, S, S, 3) uint8 RGB."""
    paths = [
        small_run.save(folder / f"{number:02d}.png", image) for number, image in enumerate(images)
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
    assert len(found) == len(images)
    return list(found)


def outputs_of_kernels(model: ModelFile, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs for (N, S, S, 3) uint8 RGB by name, as the runtime gives them."""
    runner = load_runtime()[1](model_content=model.data)
    runner.allocate_tensors()
    specs = {**model.heads, **({} if model.known is None else {KNOWN: model.known})}
    found: dict[str, list[np.ndarray]] = {name: [] for name in specs}
    for image in images:
        runner.set_tensor(model.image.index, image[None])
        runner.invoke()
        for name, spec in specs.items():
            found[name].append(runner.get_tensor(spec.index)[0].copy())
    return {name: np.stack(values) for name, values in found.items()}


def assert_same_scores(
    file: Path, images: np.ndarray, folder: Path, limits: Mapping[str, float] | None = None
) -> int:
    """Every output by name, every label, and scores equal to the last bit to those of the kernels.

    lmedge's own are the same but for the rounding that `lmedge/exact.py` takes away. Scores below
    the `limits` of the file's metadata must be missing; returns how many are.
    """
    left_out = 0
    classifier = Classifier(file)
    marginals = outputs_of_kernels(classifier.model, images)
    for head, values in run_file(classifier.model, images).items():
        assert np.abs(marginals[head] - values).max() <= (1 / 2000 if head == KNOWN else 1e-6)
    labels = {
        "landmark": classifier.taxonomy.landmarks,
        "category": classifier.taxonomy.categories,
        KNOWN: KNOWN_LABELS,
    }
    for number, heads in enumerate(mediapipe(file, images, folder)):
        assert set(heads) == set(marginals)
        for head, scores in heads.items():
            wanted = marginals[head][number]
            kept = [
                n for n, one in enumerate(wanted) if one >= np.float32((limits or {}).get(head, 0))
            ]
            assert set(scores) == {labels[head][n] for n in kept}
            found = np.array([scores[labels[head][n]] for n in kept], np.float32)
            assert found.tobytes() == wanted[kept].tobytes(), (number, head)
            left_out += len(wanted) - len(kept)
    return left_out


def test_an_exported_file(exported: Exported, tmp_path: Path) -> None:
    assert exported.outcome.findings.rejection is not None
    limits = exported.outcome.findings.rejection.heads
    assert set(limits) == {"landmark", "category", KNOWN}
    assert_same_scores(exported.path, exported.run.images("test"), tmp_path, limits)


def test_the_two_heads_come_first(exported: Exported, tmp_path: Path) -> None:
    """A client that counts from the front finds them where they were without the third output."""
    order = list(mediapipe(exported.path, exported.run.images("test")[:1], tmp_path)[0])
    assert order[2:] == [KNOWN]


def test_score_thresholds_are_honoured(exported: Exported, tmp_path: Path) -> None:
    from lmedge.metadata import Card, pack

    run, limits = exported.run, {"landmark": 0.3, "category": 0.6}
    info = {"preprocessing": {"size": run.recipe.data.image_size, "resize": "squash"}}
    card = Card(
        name="x",
        description="",
        version="0",
        taxonomy=run.taxonomy,
        size=run.recipe.data.image_size,
        info=info,
        score_thresholds=limits,
    )
    path = tmp_path / "strict.tflite"
    path.write_bytes(pack(exported.graph, card))
    assert assert_same_scores(path, run.images("test"), tmp_path, limits) > 0


def test_the_real_network(real: Real, tmp_path: Path) -> None:
    path = tmp_path / "real.tflite"
    path.write_bytes(real.file.data)
    assert_same_scores(path, real.pictures[:6], tmp_path)


def test_a_taught_file(tmp_path: Path) -> None:
    path = small.write_taught(tmp_path)
    limits = read_model(path).info["rejection"]["heads"]
    images = np.stack([small.draw(name, 40)[::2, ::2] for name in small.HIERARCHY])
    assert_same_scores(path, images, tmp_path, limits)


def test_heads_of_equal_size(tmp_path: Path) -> None:
    """Nothing but their order tells them apart, and a swap would go unnoticed."""
    from lmedge.metadata import pack
    from tests.export.test_metadata import EQUAL_CARD, equal_heads

    path = tmp_path / "equal.tflite"
    path.write_bytes(pack(equal_heads(), EQUAL_CARD))
    images = np.stack([tiny.image(name, 32, 32) for name in ("blue", "green", "red")])
    assert_same_scores(path, images, tmp_path)
    first = mediapipe(path, images[:1], tmp_path)[0]
    best = {head: max(scores, key=scores.get) for head, scores in first.items()}
    assert best == {"landmark": "a", "category": "z"}
