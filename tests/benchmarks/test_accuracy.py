"""Accuracy: the figures are those of the answers the Classifier gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmedge.benchmarks.accuracy import score
from lmedge.classifier import Classifier
from lmedge.errors import DataError
from lmedge.evaluation.folders import UnknownLandmark, scan
from lmedge.image import read_image
from tests import bad_images
from tests import tiny_file as tiny
from tests.in_process import lmedge


@pytest.fixture(scope="module")
def classifier(tiny_file: Path) -> Classifier:
    return Classifier(tiny_file)


def test_right_answers_score_one(classifier: Classifier, photographs: Path) -> None:
    accuracy = score(classifier, scan(photographs))
    assert accuracy.scores["landmark"].macro_f1 == accuracy.scores["category"].macro_f1 == 1.0
    assert accuracy.scores["landmark"].n == 8
    assert accuracy.scores.conflict_rate == 0.0
    assert accuracy.skipped == 0


def test_a_wrong_label_costs_what_it_should(classifier: Classifier, photographs: Path) -> None:
    red = photographs / "towers" / "red"
    assert cv2.imwrite(str(red / "blue.jpg"), tiny.image("blue")[..., ::-1])
    accuracy = score(classifier, scan(photographs))
    landmark = {entry.name: entry for entry in accuracy.scores["landmark"].classes}
    assert landmark["red"].recall == pytest.approx(2 / 3)
    assert landmark["blue"].precision == pytest.approx(2 / 3)
    assert landmark["red"].support == 3
    assert accuracy.scores["landmark"].accuracy == pytest.approx(8 / 9)
    # F1 of red and blue is 0.8 each, of the other two 1.
    assert accuracy.scores["landmark"].macro_f1 == pytest.approx(0.9)


def test_the_figures_are_those_of_the_predictions(
    classifier: Classifier, photographs: Path
) -> None:
    bgr = cv2.addWeighted(tiny.image("red"), 0.5, tiny.image("green"), 0.5, 0.0)[..., ::-1]
    assert cv2.imwrite(str(photographs / "towers" / "green" / "mixed.jpg"), bgr)
    images = scan(photographs)
    predictions = [classifier.classify(read_image(image.path)) for image in images]
    pairs = list(zip(images, predictions, strict=True))
    scores = score(classifier, images).scores
    right = sum(image.landmark == prediction.landmark for image, prediction in pairs)
    assert scores["landmark"].accuracy == pytest.approx(right / len(pairs))
    right = sum(image.category == prediction.category for image, prediction in pairs)
    assert scores["category"].accuracy == pytest.approx(right / len(pairs))


def test_the_images_are_identified_wherever_they_are(
    classifier: Classifier, photographs: Path, tmp_path: Path
) -> None:
    here = score(classifier, scan(photographs)).images_sha256
    moved = tmp_path / "moved"
    photographs.rename(moved)
    assert score(classifier, scan(moved)).images_sha256 == here
    (moved / "towers" / "red" / "0.jpg").unlink()
    assert score(classifier, scan(moved)).images_sha256 != here


def test_classes_without_images_are_named(classifier: Classifier, photographs: Path) -> None:
    shutil.rmtree(photographs / "towers" / "red")
    accuracy = score(classifier, scan(photographs))
    assert accuracy.scores["landmark"].macro_f1 == 1.0
    (note,) = accuracy.absent_notes
    assert note.startswith("landmark: 1 of 4 have no image (red); macro F1 1.000")


def test_what_is_measured_is_what_predict_does(
    classifier: Classifier, photographs: Path, tmp_path: Path
) -> None:
    """Large JPEG files, which are decoded at reduced scale."""
    red = photographs / "towers" / "red"
    large = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    assert cv2.imwrite(str(red / "large.jpg"), large)
    (image,) = [one for one in scan(photographs) if one.path.name == "large.jpg"]
    seen = lmedge("predict", classifier.model.path, image.path, "--json")
    said = json.loads(seen.stdout)
    own = classifier.classify_file(image.path)
    assert said["landmark_probability"] == pytest.approx(own.landmark_probability, abs=1e-6)
    measured = score(classifier, [image])
    if said["landmark"] != "red":
        (mistake,) = measured.details.mistakes
        assert mistake.probability == pytest.approx(own.landmark_probability, abs=1e-6)


def test_unreadable_and_unknown_are_left_out_and_listed(
    classifier: Classifier, photographs: Path
) -> None:
    red = photographs / "towers" / "red"
    bad = [
        bad_images.enormous_png(red / "enormous.png"),
        bad_images.text(red / "text.jpg"),
        bad_images.truncated_jpeg(red / "truncated.jpg"),
    ]
    red.rename(red.with_name("new")).with_name("red").mkdir()
    (red / "0.jpg").write_bytes((red.with_name("new") / "0.jpg").read_bytes())
    for path in bad:
        (red.with_name("new") / path.name).rename(path)
    accuracy = score(classifier, scan(photographs))
    assert accuracy.unknown_landmarks == (UnknownLandmark(landmark="new", pictures=2),)
    assert [entry.path for entry in accuracy.unreadable] == bad
    assert accuracy.scores["landmark"].n == 7
    assert accuracy.skipped == 5
    skipped = accuracy.as_dict()["skipped"]
    assert skipped["pictures"] == 5
    assert str(bad[0]) in skipped["unreadable"][0]["reason"]


def test_nothing_to_score(classifier: Classifier, photographs: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange" / "towers" / "new"
    strange.mkdir(parents=True)
    bad_images.text(strange / "1.jpg")
    with pytest.raises(DataError, match="none of the 1 landmark here .* is a label of the file"):
        score(classifier, scan(tmp_path / "strange"))
    strange.rename(strange.with_name("red"))
    with pytest.raises(DataError, match="none of the 1 images could be read"):
        score(classifier, scan(tmp_path / "strange"))


def test_another_hierarchy_is_refused(classifier: Classifier, photographs: Path) -> None:
    (photographs / "towers" / "red").rename(photographs / "domes" / "red")
    with pytest.raises(DataError, match="'red' is in category 'domes' here and in 'towers'"):
        score(classifier, scan(photographs))
