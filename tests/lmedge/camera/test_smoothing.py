from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lmedge import Classifier
from lmedge.camera import Smoother
from lmedge.errors import LmedgeError
from tests.tiny_file import picture


@pytest.fixture(scope="module")
def classifier(tiny_file: Path) -> Classifier:
    return Classifier(tiny_file)


def test_one_stray_frame_does_not_change_the_label(classifier: Classifier) -> None:
    red, blue = classifier.classify(picture("red")), classifier.classify(picture("blue"))
    assert (red.landmark, blue.landmark) == ("red", "blue")
    smoother = Smoother(classifier, 0.5)
    stream = [red] * 10 + [blue] + [red] * 10
    answers = [smoother.update(entry, i / 20) for i, entry in enumerate(stream)]
    assert {entry.landmark for entry in answers} == {"red"}
    assert answers[10].landmark_probability < answers[9].landmark_probability
    assert answers[10].milliseconds == blue.milliseconds
    assert np.array_equal(answers[10].landmark_marginal, blue.landmark_marginal)
    for entry in answers:
        assert float(entry.joint.sum()) == pytest.approx(1, abs=1e-5)
        assert entry.top[0].landmark == entry.landmark
        assert entry.category == "towers"


def test_the_time_constant_is_in_seconds_whatever_the_rate(classifier: Classifier) -> None:
    red, blue = classifier.classify(picture("red")), classifier.classify(picture("blue"))
    left = []
    for rate in (5, 50):
        smoother = Smoother(classifier, 0.5)
        smoother.update(red, 0.0)
        for i in range(1, rate + 1):
            answer = smoother.update(blue, i / rate)
        left.append(answer.joint[classifier.taxonomy.landmarks.index("red")])
    assert left[0] == pytest.approx(np.exp(-2) * red.landmark_probability, abs=0.01)
    assert left[1] == pytest.approx(left[0], abs=1e-4)


def test_zero_changes_nothing_and_a_bad_constant_is_refused(classifier: Classifier) -> None:
    red = classifier.classify(picture("red"))
    assert Smoother(classifier, 0).update(red, 0.0) is red
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(LmedgeError, match="smoothing"):
            Smoother(classifier, wrong)
