"""Batches and augmentation: what is trained on is a function of (seed, epoch, image) alone."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from typing import Any

import numpy as np
import pytest

from lmedge.image import PIXEL_MEAN, PIXEL_SCALE
from lmedge.train.data.store import ImageEntry, ImageStore
from lmedge.train.fitting import augment as augment_module
from lmedge.train.fitting.augment import fixed_copy, random_view
from lmedge.train.fitting.batches import (
    AugmentedBatches,
    FeatureBatches,
    Labels,
    balanced,
    soft_targets,
)
from lmedge.train.recipes import load_recipe
from lmedge.train.recipes.sections import COPIES, AugmentSettings
from tests import small_run

AUGMENT = load_recipe("default").augment
STILL = AugmentSettings((1.0, 1.0), 1.0, False, False, 0.0, 0.0, 0.0, 0.0, 0.0, ())


def view(image: np.ndarray, settings: AugmentSettings, seed: int = 0, size: int = 32) -> np.ndarray:
    return random_view(image, size, settings, np.random.default_rng(seed))


@pytest.fixture
def image() -> np.ndarray:
    return small_run.draw((90, 120, 60), 3, (40, 40))


class TestView:
    @pytest.mark.parametrize("shape", [(40, 40), (37, 80), (90, 33), (1, 1), (700, 500)])
    @pytest.mark.parametrize("size", [32, 33])
    def test_shape_and_kind(self, shape: tuple[int, int], size: int) -> None:
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        for seed in range(5):
            found = view(image, AUGMENT, seed, size)
            assert found.shape == (size, size, 3)
            assert found.dtype == np.uint8

    def test_it_depends_on_its_generator_alone(self, image: np.ndarray) -> None:
        before = image.copy()
        assert np.array_equal(view(image, AUGMENT, 1), view(image, AUGMENT, 1))
        assert not np.array_equal(view(image, AUGMENT, 1), view(image, AUGMENT, 2))
        assert np.array_equal(image, before)

    def test_nothing_asked_for_is_the_image_itself(self, image: np.ndarray) -> None:
        assert np.array_equal(view(image, STILL, size=40), image)

    def test_flips_are_mirror_images_half_of_the_time(self, image: np.ndarray) -> None:
        for name, mirror in (
            ("flip_left_right", image[:, ::-1]),
            ("flip_up_down", image[::-1]),
        ):
            settings = dataclasses.replace(STILL, **{name: True})
            flipped = 0
            for seed in range(60):
                found = view(image, settings, seed, size=40)
                assert np.array_equal(found, image) or np.array_equal(found, mirror)
                flipped += np.array_equal(found, mirror)
            assert 15 < flipped < 45

    def test_no_flip_unless_asked_for(self) -> None:
        """An image that is dark on the left, or above, stays so."""
        settings = dataclasses.replace(AUGMENT, flip_left_right=False, flip_up_down=False)
        ramp = np.broadcast_to(np.linspace(0, 255, 40)[None, :, None], (40, 40, 3))
        across = np.ascontiguousarray(ramp).astype(np.uint8)
        down = np.ascontiguousarray(across.transpose(1, 0, 2))
        for seed in range(40):
            found = view(across, settings, seed).astype(float)
            assert found[:, :16].mean() < found[:, 16:].mean()
            found = view(down, settings, seed).astype(float)
            assert found[:16].mean() < found[16:].mean()

    def test_brightness_stays_within_its_bounds(self) -> None:
        grey = np.full((40, 40, 3), 100, np.uint8)
        settings = dataclasses.replace(STILL, brightness=0.25)
        means = [view(grey, settings, seed).mean() for seed in range(60)]
        assert 75 <= min(means) < 85
        assert 115 < max(means) <= 125

    def test_a_crop_is_inside_the_image(self, image: np.ndarray) -> None:
        """No border comes into an upright crop: no pixel is seen that is not in the image."""
        settings = dataclasses.replace(STILL, crop_scale=(0.3, 1.0), crop_aspect=1.5)
        inside = np.zeros((60, 60, 3), np.uint8)
        inside[1:-1, 1:-1] = 200
        for seed in range(40):
            found = view(inside, settings, seed, size=60)
            # At most the frame itself is seen, and never twice as a reflection.
            assert (found[2:-2, 2:-2] == 200).mean() > 0.9
        crops = [view(image, settings, seed) for seed in range(10)]
        assert len({crop.tobytes() for crop in crops}) == 10


class TestFixedCopy:
    def copy(self, image: np.ndarray, kind: str, **changes: Any) -> np.ndarray:
        settings = dataclasses.replace(AUGMENT, **changes)
        return fixed_copy(image, kind, settings, np.random.default_rng(0))

    def test_mirrors(self, image: np.ndarray) -> None:
        assert np.array_equal(self.copy(image, "flip_left_right"), image[:, ::-1])
        assert np.array_equal(self.copy(image, "flip_up_down"), image[::-1])

    def test_a_rotation_is_by_the_whole_angle(self) -> None:
        """A quarter turn of a square shows every pixel again."""
        image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
        found = self.copy(image, "rotation", rotation_degrees=90.0)
        assert np.abs(found.astype(int) - np.rot90(image).astype(int)).max() <= 1

    def test_a_rotation_repeats_the_edge(self) -> None:
        white = np.full((40, 40, 3), 255, np.uint8)
        assert (self.copy(white, "rotation", rotation_degrees=30.0) == 255).all()

    def test_noise_has_its_variance(self) -> None:
        """On mid grey little of it is clipped: 0.2 before, somewhat less after."""
        grey = np.full((200, 200, 3), 128, np.uint8)
        found = self.copy(grey, "noise").astype(float) / 255
        clipped = np.clip(0.5 + np.random.default_rng(1).normal(0, 0.2**0.5, 10**6), 0, 1)
        assert found.var() == pytest.approx(clipped.var(), rel=0.03)

    def test_every_kind_a_recipe_may_name(self, image: np.ndarray) -> None:
        for kind in COPIES:
            found = self.copy(image, kind)
            assert found.shape == image.shape
            assert found.dtype == np.uint8
            assert not np.array_equal(found, image)


@pytest.fixture(scope="module")
def store_and_entries(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[ImageStore, list[ImageEntry]]:
    from lmedge.evaluation.folders import scan
    from lmedge.image import Resize

    folder = small_run.write_photographs(tmp_path_factory.mktemp("data"), 3)
    store = ImageStore(32, Resize.SQUASH, tmp_path_factory.mktemp("cache"))
    return store, store.admit(scan(folder))[0]


@pytest.fixture
def make(store_and_entries: tuple[ImageStore, list[ImageEntry]]) -> Any:
    store, entries = store_and_entries
    truth = np.arange(len(entries), dtype=np.int64) % 4

    def make(**changes: Any) -> AugmentedBatches:
        values = {"batch": 5, "seed": 0, "epoch": 0, "augment": AUGMENT, **changes}
        labels = values.pop("labels", Labels({"landmark": soft_targets(truth, 4)}))
        return AugmentedBatches(store, entries, labels, values.pop("augment"), **values)

    return make


def in_order(batches: AugmentedBatches) -> np.ndarray:
    """Return the images in the order of the entries."""
    images = np.concatenate([batches[number][0] for number in range(len(batches))])
    ordered = np.empty_like(images)
    ordered[batches.order] = images
    return ordered


class TestAugmentedBatches:
    def test_shapes_and_kinds(self, make: Any) -> None:
        batches = make()
        assert len(batches) == 3
        for number, count in enumerate((5, 5, 2)):
            images, found = batches[number]
            targets = found["landmark"]
            assert images.shape == (count, 32, 32, 3)
            assert targets.shape == (count, 4)
            assert images.dtype == targets.dtype == np.float32
            assert (targets.sum(axis=1) == 1).all()
            assert images.min() >= (0 - PIXEL_MEAN) / PIXEL_SCALE
            assert images.max() <= (255 - PIXEL_MEAN) / PIXEL_SCALE

    def test_an_epoch_shows_every_image_once_with_its_label(self, make: Any) -> None:
        batches = make()
        assert sorted(batches.order) == list(range(12))
        targets = np.concatenate([batches[number][1]["landmark"] for number in range(3)])
        assert (targets.argmax(axis=1) == batches.order % 4).all()

    def test_a_view_depends_on_seed_epoch_and_image_alone(self, make: Any) -> None:
        views = in_order(make())
        assert np.array_equal(views, in_order(make()))
        assert np.array_equal(views, in_order(make(batch=3)))
        later = make()
        assert np.array_equal(later[2][0], make()[2][0])  # the first two were never asked for

    def test_epochs_and_seeds_differ(self, make: Any) -> None:
        views = in_order(make())
        for other in (make(epoch=1), make(seed=1), make(epoch=-1), make(epoch=-2)):
            changed = in_order(other)
            assert all(not np.array_equal(a, b) for a, b in zip(views, changed, strict=True))
        assert list(make().order) != list(make(epoch=1).order)

    @pytest.mark.parametrize("threads", [1, 7])
    def test_the_number_of_threads_does_not_matter(
        self, make: Any, threads: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = in_order(make())
        monkeypatch.setattr(augment_module, "WORKERS", threads)
        assert np.array_equal(in_order(make()), expected)
        with concurrent.futures.ThreadPoolExecutor(3) as pool:  # nor who asks, and when
            batches = make()
            found = list(pool.map(batches.__getitem__, [2, 0, 1, 0]))
        assert np.array_equal(found[1][0], found[3][0])
        assert np.array_equal(found[0][0], make()[2][0])

    def test_inputs_alone_are_those_of_the_batch(self, make: Any) -> None:
        batches = make()
        assert np.array_equal(batches.inputs(1), batches[1][0])


class TestMixup:
    def test_inputs_and_targets_are_mixed_alike(self, make: Any) -> None:
        """Each is the larger share of itself and the rest of another of its batch."""
        augment = dataclasses.replace(AUGMENT, mixup=1.0)
        plain, mixed = make()[0], make(augment=augment)[0]
        changed = 0
        for row in range(5):
            share = mixed[1]["landmark"][row]
            own = plain[1]["landmark"][row].argmax()
            assert share.sum() == pytest.approx(1)
            assert share[own] >= 0.5
            candidates = [
                (1 - a) * plain[0][row] + a * plain[0][other]
                for other in range(5)
                for a in [1 - share[own]]
            ]
            if share[own] < 0.999:
                assert any(np.allclose(mixed[0][row], each, atol=1e-4) for each in candidates)
                changed += 1
        assert changed >= 1
        again = make(augment=augment)[0]
        assert np.array_equal(mixed[0], again[0])


class TestBalance:
    truth = np.array([0] * 9 + [1] * 3)

    def test_every_class_weighs_the_same(self) -> None:
        weights = balanced(self.truth, 2)
        assert weights.mean() == pytest.approx(1)
        assert weights[:9].sum() == pytest.approx(weights[9:].sum())

    def test_weights_come_with_the_batch(self, make: Any) -> None:
        weights = balanced(self.truth, 2)
        labels = Labels({"landmark": soft_targets(self.truth, 2)}, weights=weights)
        batches = make(labels=labels)
        _, targets, given = batches[0]
        rare = targets["landmark"].argmax(axis=1) == 1
        assert np.allclose(given["landmark"], np.where(rare, weights[-1], weights[0]))

    def test_sampling_draws_the_rare_as_often(self, make: Any) -> None:
        chances = balanced(self.truth, 2)
        labels = Labels({"landmark": soft_targets(self.truth, 2)}, chances=chances)
        drawn = np.concatenate([make(labels=labels, epoch=n).order for n in range(100)])
        assert 0.45 < (self.truth[drawn] == 1).mean() < 0.55
        batches = make(labels=labels)
        counts = np.bincount(batches.order)
        twice = int(counts.argmax())
        assert counts[twice] > 1
        views = np.concatenate([batches.inputs(n) for n in range(3)])[batches.order == twice]
        assert not np.array_equal(views[0], views[1])


class TestFeatureBatches:
    def test_each_row_once_with_its_target_in_a_seeded_order(self) -> None:
        features = np.arange(20, dtype=np.float32).reshape(10, 2)
        labels = Labels({"landmark": soft_targets(np.arange(10), 10)})

        def order(**numbers: int) -> list[int]:
            batches = FeatureBatches(features, labels, batch=4, **numbers)
            rows = [batches[number] for number in range(len(batches))]
            assert [len(row) for row, _ in rows] == [4, 4, 2]
            found = np.concatenate([row for row, _ in rows])
            chosen = np.concatenate([target["landmark"] for _, target in rows]).argmax(axis=1)
            assert np.array_equal(found, features[chosen])
            return list(chosen)

        first = order(seed=0, epoch=0)
        assert sorted(first) == list(range(10))
        assert first == order(seed=0, epoch=0)
        assert first != order(seed=0, epoch=1)
        assert first != order(seed=1, epoch=0)
