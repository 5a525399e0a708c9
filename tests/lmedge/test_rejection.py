"""Whether an image shows a landmark the file knows."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmedge.classifier import Classifier
from lmedge.errors import ModelFileError
from lmedge.model_file import read_model
from lmedge.rejection import agreement
from tests import tiny_file as tiny
from tests.in_process import lmedge


def test_agreement_of_two_witnesses() -> None:
    parents = np.array([0, 0, 1])
    assert agreement(np.array([0.5, 0.5, 0.0]), np.array([1.0, 0.0]), parents) == 1.0
    assert agreement(np.array([0.5, 0.5, 0.0]), np.array([0.0, 1.0]), parents) == 0.0
    both = np.array([[0.2, 0.3, 0.5]]), np.array([[0.4, 0.6]])
    assert agreement(*both, parents) == pytest.approx([0.5 * 0.4 + 0.5 * 0.6])


def with_threshold(path: Path, value: object, *, known: bool = False, **more: object) -> Path:
    from lmedge.metadata import Card, pack

    rejection = {"threshold": value, **more}
    info = {"preprocessing": {"size": 32, "resize": "crop"}, "rejection": rejection}
    card = Card(
        name="tiny",
        description="four colours",
        version="0.1.0",
        taxonomy=tiny.TAXONOMY,
        size=32,
        info=info,
    )
    path.write_bytes(pack(tiny.graph(known=known), card))
    return path


def rewritten(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return a file whose archive has `new` for `old`, in names and contents."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    body = io.BytesIO(data[: data.index(b"PK\x03\x04")])
    body.seek(0, io.SEEK_END)
    with zipfile.ZipFile(body, "a") as archive:
        for name, content in found.items():
            archive.writestr(name.replace(old.decode(), new.decode()), content.replace(old, new))
    return body.getvalue()


class TestFile:
    @pytest.fixture(scope="class")
    def strict(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return with_threshold(tmp_path_factory.mktemp("strict") / "strict.tflite", 0.999)

    def test_a_file_without_a_threshold_knows_everything(self, tiny_file: Path) -> None:
        prediction = Classifier(tiny_file).classify(tiny.image("blue"))
        assert prediction.known
        assert 0 < prediction.agreement <= 1

    def test_below_the_threshold_is_not_known(self, strict: Path) -> None:
        classifier = Classifier(strict)
        prediction = classifier.classify(tiny.image("grey stone"))
        assert prediction.agreement < 0.999
        assert not prediction.known
        assert not classifier.with_joint(prediction, prediction.joint).known
        assert prediction.as_dict()["known"] is False

    def test_predict_says_so(self, strict: Path, tmp_path: Path) -> None:
        image = tmp_path / "grey.png"
        cv2.imwrite(str(image), tiny.image("grey stone")[..., ::-1])
        shown = lmedge("predict", strict, image).stdout
        assert "not a landmark" in shown
        assert "grey stone" not in shown
        line = lmedge("predict", strict, image, "--json").stdout
        assert json.loads(line)["known"] is False
        assert json.loads(line)["landmark"] == "grey stone"
        lmedge("predict", strict, image, "--copy-to", tmp_path / "sorted")
        assert (tmp_path / "sorted" / "not a landmark" / "grey.png").exists()

    def test_the_third_output_is_held_against_its_threshold(self, tmp_path: Path) -> None:
        file = with_threshold(tmp_path / "third.tflite", 0.9, known=True, score="known")
        classifier = Classifier(file)
        for name in tiny.COLOURS:
            prediction = classifier.classify(tiny.image(name))
            # The tiny graph computes this output in int8.
            largest = prediction.landmark_marginal.max()
            assert prediction.known_probability == pytest.approx(largest, abs=1 / 256)
            assert prediction.known == (prediction.known_probability >= 0.9)
            steady = classifier.with_joint(prediction, prediction.joint)
            assert steady.known_probability == prediction.known_probability
        card = lmedge("inspect", file).stdout
        assert '"not a landmark" below a known_probability of 0.900' in " ".join(card.split())

    def test_an_older_threshold_is_of_the_agreement(self, tmp_path: Path) -> None:
        """Whatever else the file computes."""
        file = with_threshold(tmp_path / "old.tflite", 0.999, known=True)
        prediction = Classifier(file).classify(tiny.image("grey stone"))
        assert Classifier(file).threshold.score == "agreement"
        assert prediction.known == (prediction.agreement >= 0.999)

    def test_no_third_output_is_told_as_null(self, strict: Path) -> None:
        said = Classifier(strict).classify(tiny.image("blue")).as_dict()
        assert said["known_probability"] is None

    @pytest.mark.parametrize("score", ["known", "luck", 3])
    def test_a_threshold_of_what_is_not_there(self, score: object, tmp_path: Path) -> None:
        path = with_threshold(tmp_path / "bad.tflite", 0.5, score=score)
        with pytest.raises(ModelFileError, match="its threshold cannot be used"):
            Classifier(path)

    def test_the_labels_of_the_third_output_are_checked(self, tmp_path: Path) -> None:
        file = with_threshold(tmp_path / "third.tflite", 0.9, known=True)
        for old, new in (
            (b"something else", b"something more"),
            (b"known_labels", b"other_labels"),
        ):
            other = tmp_path / "other.tflite"
            other.write_bytes(rewritten(file.read_bytes(), old, new))
            with pytest.raises(ModelFileError, match="known_labels.txt"):
                read_model(other)

    @pytest.mark.parametrize("value", ["high", -1, 2, None, [0.5]])
    def test_a_damaged_threshold_is_one_line(self, value: object, tmp_path: Path) -> None:
        path = with_threshold(tmp_path / "bad.tflite", value)
        process = lmedge("predict", path, tmp_path)
        assert process.returncode == 4
        (line,) = process.stderr.splitlines()
        assert "its threshold cannot be used" in line
