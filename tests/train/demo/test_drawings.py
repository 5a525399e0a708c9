from __future__ import annotations

import itertools
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from lmedge.train.demo import (
    MONUMENTS,
    clip,
    contact_sheet,
    draw_monument,
    draw_unknown,
    write_data_set,
)

LANDMARKS = [landmark for group in MONUMENTS.values() for landmark in group]
RgbImage = npt.NDArray[np.uint8]


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestMonuments:
    def test_four_categories_of_three_and_no_name_twice(self) -> None:
        assert len(MONUMENTS) == 4
        assert all(len(group) == 3 for group in MONUMENTS.values())
        assert len(set(LANDMARKS)) == 12

    def test_are_in_the_order_a_scan_of_the_folder_finds_them(self) -> None:
        assert list(MONUMENTS) == sorted(MONUMENTS)
        assert all(list(group) == sorted(group) for group in MONUMENTS.values())


class TestDraw:
    @pytest.mark.parametrize("landmark", LANDMARKS)
    def test_gives_rgb_bytes_of_the_size_asked_for(self, landmark: str) -> None:
        image = draw_monument(landmark, generator(0), (100, 70))
        assert image.shape == (70, 100, 3)
        assert image.dtype == np.uint8
        assert image.std() > 5

    def test_default_size(self) -> None:
        assert draw_monument("pagoda", generator(0)).shape == (160, 192, 3)

    @pytest.mark.parametrize("landmark", LANDMARKS)
    def test_same_generator_same_image_other_generator_other_image(self, landmark: str) -> None:
        first = draw_monument(landmark, generator(1))
        assert np.array_equal(first, draw_monument(landmark, generator(1)))
        assert not np.array_equal(first, draw_monument(landmark, generator(2)))

    def test_unknown_landmark_says_which_there_are(self) -> None:
        with pytest.raises(ValueError, match=r"'big_ben'.*clock_tower.*suspension_bridge"):
            draw_monument("big_ben", generator(0))

    def test_refuses_a_size_too_small_to_draw(self) -> None:
        with pytest.raises(ValueError, match="at least 16"):
            draw_monument("pagoda", generator(0), (8, 100))

    def test_needs_no_tensorflow(self) -> None:
        code = (
            "import sys, lmedge.train.demo.command;"
            "sys.exit(any(name in sys.modules for name in ('tensorflow', 'tf_keras', 'keras')))"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestStranger:
    def test_gives_rgb_bytes_and_repeats(self) -> None:
        images = [draw_unknown(generator(seed), (96, 80)) for seed in range(6)]
        assert all(each.shape == (80, 96, 3) and each.dtype == np.uint8 for each in images)
        assert np.array_equal(images[0], draw_unknown(generator(0), (96, 80)))


class TestDifficulty:
    """Neither trivial nor hopeless: shape tells the landmarks apart, pixels and colours do not."""

    PER_LANDMARK = 20

    @pytest.fixture(scope="class")
    def images(self) -> tuple[RgbImage, RgbImage]:
        rng = generator(7)
        drawn = [
            [draw_monument(name, rng, (96, 80)) for _ in range(self.PER_LANDMARK)]
            for name in LANDMARKS
        ]
        half = self.PER_LANDMARK // 2
        every = np.array(drawn)
        return every[:, :half], every[:, half:]

    @staticmethod
    def nearest_mean(train: npt.NDArray[np.float64], test: npt.NDArray[np.float64]) -> float:
        """Accuracy of the nearest class mean; both (classes, images, features)."""
        means = train.mean(axis=1)
        distances = ((test[:, :, None] - means) ** 2).sum(axis=-1)
        return float((distances.argmin(axis=-1) == np.arange(len(means))[:, None]).mean())

    def test_tiny_grey_images_say_something_but_not_enough(
        self, images: tuple[RgbImage, RgbImage]
    ) -> None:
        def tiny(image: RgbImage) -> npt.NDArray[np.float64]:
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            small = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float64)
            return np.asarray((small - small.mean()) / small.std()).ravel()

        train, test = (np.array([[tiny(p) for p in row] for row in part]) for part in images)
        chance = 1 / len(LANDMARKS)
        assert 2 * chance < self.nearest_mean(train, test) < 0.9

    def test_colour_alone_says_little(self, images: tuple[RgbImage, RgbImage]) -> None:
        def histogram(image: RgbImage) -> npt.NDArray[np.float64]:
            counts = cv2.calcHist([image], [0, 1, 2], None, [4, 4, 4], [0, 256] * 3)
            return np.asarray(np.sqrt(counts.astype(np.float64).ravel() / counts.sum()))

        train, test = (np.array([[histogram(p) for p in row] for row in part]) for part in images)
        assert self.nearest_mean(train, test) < 0.35


class TestWriteDataSet:
    def test_layout_count_and_progress(self, tmp_path: pathlib.Path) -> None:
        calls: list[tuple[int, int]] = []
        count = write_data_set(
            tmp_path,
            2,
            seed=3,
            size=(64, 48),
            progress=lambda done, total: calls.append((done, total)),
        )
        assert count == 24
        assert calls == [(done, 24) for done in range(1, 25)]
        expected = {
            f"{category}/{landmark}/{landmark}-{index:04d}.jpg"
            for category, group in MONUMENTS.items()
            for landmark in group
            for index in (1, 2)
        }
        files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
        assert files == expected
        image = cv2.imread(str(tmp_path / "temples/pagoda/pagoda-0001.jpg"))
        assert image is not None
        assert image.shape == (48, 64, 3)

    def test_a_image_depends_on_seed_landmark_and_number_only(self, tmp_path: pathlib.Path) -> None:
        for name, count, seed in (("small", 1, 5), ("large", 2, 5), ("other", 1, 6)):
            write_data_set(tmp_path / name, count, seed=seed, size=(48, 40))
        for path in (tmp_path / "small").rglob("*.jpg"):
            inside = path.relative_to(tmp_path / "small")
            assert path.read_bytes() == (tmp_path / "large" / inside).read_bytes()
            assert path.read_bytes() != (tmp_path / "other" / inside).read_bytes()

    def test_writes_red_as_red(self, tmp_path: pathlib.Path) -> None:
        write_data_set(tmp_path, 1, seed=2, size=(96, 80))
        sheet = contact_sheet(2, 1, size=(96, 80))
        first = next(iter(MONUMENTS))
        path = tmp_path / first / LANDMARKS[0] / f"{LANDMARKS[0]}-0001.jpg"
        bgr = cv2.imread(str(path))
        assert bgr is not None
        assert np.abs(bgr[..., ::-1].astype(int) - sheet[:80]).mean() < 8

    def test_refuses_a_negative_seed(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(ValueError, match="must not be negative"):
            write_data_set(tmp_path, 1, seed=-1)


class TestClip:
    def test_length_labels_and_cuts(self) -> None:
        frames = list(clip(1, frames=100, size=(64, 48)))
        assert len(frames) == 100
        assert all(each.shape == (48, 64, 3) and each.dtype == np.uint8 for each, _ in frames)
        labels = [label for _, label in frames]
        assert set(labels) <= {*LANDMARKS, None}
        cuts = [i for i in range(1, 100) if labels[i] != labels[i - 1]]
        assert 2 <= len(cuts) <= 4
        assert labels[0] is not None

    def test_has_scenes_without_a_landmark_now_and_then(self) -> None:
        labels = [label for _, label in clip(0, frames=600, size=(32, 24))]
        assert 0 < sum(label is None for label in labels) < 300

    def test_moves_slowly_and_cuts_sharply(self) -> None:
        frames = list(clip(4, frames=60, size=(96, 72)))
        grey = [cv2.GaussianBlur(each, (0, 0), 2).astype(float) for each, _ in frames]
        steps = [np.abs(b - a).mean() for a, b in itertools.pairwise(grey)]
        cut = next(i for i in range(59) if frames[i][1] != frames[i + 1][1])
        within = [step for i, step in enumerate(steps[: cut + 20]) if i != cut]
        assert steps[cut] > 3 * max(within)
        assert min(within) > 0

    def test_repeats_and_refuses_at_once(self) -> None:
        first, again = (next(clip(9, size=(64, 48)))[0] for _ in range(2))
        assert np.array_equal(first, again)
        with pytest.raises(ValueError, match="must not be negative"):
            clip(0, frames=-1)


def test_contact_sheet_is_a_row_a_landmark() -> None:
    sheet = contact_sheet(0, 2, size=(48, 40))
    assert sheet.shape == (12 * (40 + 16), 2 * 48, 3)
    assert np.array_equal(sheet, contact_sheet(0, 2, size=(48, 40)))
