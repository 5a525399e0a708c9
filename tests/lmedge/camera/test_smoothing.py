from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from lmedge import Classifier, Prediction
from lmedge.camera import UNSMOOTHED, Smoother, Steadiness
from lmedge.errors import LmedgeError, ModelFileError
from lmedge.model_file import ModelFile
from lmedge.train.recipes import load_recipe
from tests.tiny_file import image


@pytest.fixture(scope="module")
def classifier(tiny_file: Path) -> Classifier:
    return Classifier(tiny_file)


def test_one_stray_frame_does_not_change_the_label(classifier: Classifier) -> None:
    red, blue = classifier.classify(image("red")), classifier.classify(image("blue"))
    assert (red.landmark, blue.landmark) == ("red", "blue")
    smoother = Smoother(classifier, Steadiness())
    stream = [red] * 10 + [blue] + [red] * 10
    answers = [smoother.update(entry, i / 20).prediction for i, entry in enumerate(stream)]
    assert {entry.landmark for entry in answers} == {"red"}
    assert answers[10].landmark_probability < answers[9].landmark_probability
    assert answers[10].milliseconds == blue.milliseconds
    assert np.array_equal(answers[10].landmark_marginal, blue.landmark_marginal)
    for entry in answers:
        assert float(entry.joint.sum()) == pytest.approx(1, abs=1e-5)
        assert entry.top[0].landmark == entry.landmark
        assert entry.category == "towers"


def test_the_time_constant_is_in_seconds_whatever_the_rate(classifier: Classifier) -> None:
    red, blue = classifier.classify(image("red")), classifier.classify(image("blue"))
    left = []
    for rate in (5, 50):
        smoother = Smoother(classifier, Steadiness(seconds=0.5))
        smoother.update(red, 0.0)
        for i in range(1, rate + 1):
            answer = smoother.update(blue, i / rate).prediction
        left.append(answer.joint[classifier.taxonomy.landmarks.index("red")])
    assert left[0] == pytest.approx(np.exp(-2) * red.landmark_probability, abs=0.01)
    assert left[1] == pytest.approx(left[0], abs=1e-4)


def test_zero_changes_nothing_and_a_bad_constant_is_refused(classifier: Classifier) -> None:
    red = classifier.classify(image("red"))
    assert Smoother(classifier, UNSMOOTHED).update(red, 0.0).prediction is red
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(LmedgeError, match="smoothing"):
            Steadiness(seconds=wrong)
    with pytest.raises(LmedgeError, match="margin"):
        Steadiness(margin=1.0)


def mixture(classifier: Classifier, red: float, blue: float) -> Prediction:
    """Answer with given probabilities of two landmarks."""
    names = classifier.taxonomy.landmarks
    joint = np.zeros(len(names), np.float32)
    joint[names.index("red")], joint[names.index("blue")] = red, blue
    return classifier.with_joint(classifier.classify(image("red")), joint)


def test_two_landmarks_alike_do_not_take_turns(classifier: Classifier) -> None:
    stream = [mixture(classifier, *((0.52, 0.48), (0.46, 0.54))[i % 2]) for i in range(60)]
    assert len({entry.landmark for entry in stream}) == 2
    smoother = Smoother(classifier, Steadiness(seconds=0.01, margin=0.1, dwell=0.0))
    answers = [smoother.update(entry, i / 20).prediction for i, entry in enumerate(stream)]
    assert {entry.landmark for entry in answers} == {"red"}
    assert {entry.category for entry in answers} == {"towers"}
    assert all(entry.top[0].landmark == "red" for entry in answers)
    assert answers[-1].landmark_probability == pytest.approx(0.46, abs=0.01)


def test_a_label_stays_at_least_the_dwell(classifier: Classifier) -> None:
    red, blue = mixture(classifier, 1, 0), mixture(classifier, 0, 1)
    smoother = Smoother(classifier, Steadiness(seconds=0.01, margin=0.1, dwell=1.0))
    labels = [
        smoother.update((red, blue)[i // 4 % 2], i / 20).prediction.landmark for i in range(80)
    ]
    changes = [i / 20 for i in range(1, 80) if labels[i] != labels[i - 1]]
    assert changes and min(np.diff([0.0, *changes])) >= 1.0 - 1e-9


def test_not_a_landmark_is_as_steady_as_the_others(classifier: Classifier) -> None:
    red = classifier.classify(image("red"))
    smoother = Smoother(classifier, Steadiness(seconds=0.2, margin=0.1, dwell=0.3))
    known = [True] * 20 + [False] + [True] * 10 + [False] * 20 + [True] * 20
    answers = [smoother.update(red, i / 20, flag) for i, flag in enumerate(known)]
    shown = [answer.known for answer in answers]
    assert shown[:31] == [True] * 31  # one stray frame
    assert not shown[50] and shown[-1]
    assert sum(a != b for a, b in itertools.pairwise(shown)) == 2
    raw = Smoother(classifier, UNSMOOTHED)
    assert [raw.update(red, 0.0, flag).known for flag in known] == known


def test_the_file_says_how_steady(classifier: Classifier) -> None:
    model = classifier.model
    assert "smoothing" not in model.info and Steadiness.of(model) == Steadiness()

    def saying(value: object) -> ModelFile:
        return dataclasses.replace(model, info={**model.info, "smoothing": value})

    asked = {"smoothing": 2.0, "margin": 0.0, "dwell": 0.1}
    assert Steadiness.of(saying(asked)) == Steadiness(seconds=2.0, margin=0.0, dwell=0.1)
    for wrong in ({}, {**asked, "margin": 2}, {**asked, "dwell": "long"}, [1]):
        with pytest.raises(ModelFileError, match="smoothing"):
            Steadiness.of(saying(wrong))


def test_the_default_recipe_says_what_the_camera_does_by_itself() -> None:
    camera = load_recipe("default").camera
    assert (
        Steadiness(seconds=camera.smoothing, margin=camera.margin, dwell=camera.dwell)
        == Steadiness()
    )


def test_a_frame_smoothed_at_once_is_a_frame_classified_and_smoothed(
    classifier: Classifier,
) -> None:
    for steadiness in (Steadiness(), UNSMOOTHED):
        at_once, after = Smoother(classifier, steadiness), Smoother(classifier, steadiness)
        for number, name in enumerate(["red", "red", "blue", "green", "blue"]):
            frame = np.ascontiguousarray(image(name)[..., ::-1])
            prediction = classifier.classify(frame, color="bgr")
            one = at_once.classify(frame, number / 10)
            other = after.update(prediction, number / 10, prediction.known)
            alike = dataclasses.replace(
                one.prediction,
                milliseconds=0.0,
                joint=other.prediction.joint,
                landmark_marginal=other.prediction.landmark_marginal,
                category_marginal=other.prediction.category_marginal,
            )
            assert alike == dataclasses.replace(other.prediction, milliseconds=0.0)
            assert np.array_equal(one.prediction.joint, other.prediction.joint)
            assert one.prediction.milliseconds > 0
            assert one.known == other.known
