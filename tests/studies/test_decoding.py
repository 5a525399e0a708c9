"""The study of decoding at reduced scale: its photographs, its inputs and its classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.studies.decoding import enlarge_to, inputs, predictions
from lmedge.evaluation.folders import LabelledImage
from tests import small_run


def test_both_decodings_of_photographs_of_the_size_that_was_asked_for(tmp_path: Path) -> None:
    image = small_run.draw((90, 120, 60), 1, (60, 80))
    rng = np.random.default_rng(0)
    assert enlarge_to(image, 60, rng) is image
    assert enlarge_to(image, 150, rng).shape == (150, 200, 3)
    path = small_run.save(tmp_path / "a.png", image)
    pixels, taken = inputs([LabelledImage(path, "a", "b")], 32, 150)
    assert pixels[False].shape == pixels[True].shape == (1, 32, 32, 3)
    assert not np.array_equal(pixels[False], pixels[True])
    assert min(taken.values()) > 0


def test_a_prediction_is_of_a_classifier_that_has_not_learned_the_image() -> None:
    """Labels that the features do not follow cannot be predicted."""
    rng, truth = np.random.default_rng(0), np.arange(60) % 3
    noise = rng.normal(size=(60, 200)).astype(np.float32)
    assert np.mean(np.array(list(predictions(noise, noise, truth))) == truth) < 0.6
    clear = (np.eye(3, dtype=np.float32)[truth] * 9 + noise[:, :3]).astype(np.float32)
    assert np.mean(np.array(list(predictions(clear, clear, truth))) == truth) > 0.9
