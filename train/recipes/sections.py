"""The sections of a recipe: frozen values that check themselves."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Collection, Sequence

from lmedge.errors import RecipeError
from lmedge.image import Resize

BACKBONE_NAMES = ("efficientnetb0", "efficientnet-lite0", "vgg16")
OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "constant")
KEEPS = ("f1", "loss", "last")
BALANCES = ("none", "weights", "sampling")
NORMALISATIONS = ("stock", "unit")
FEATURES = ("last", "widest")
COPIES = ("flip_left_right", "flip_up_down", "rotation", "noise")


def check_known(kind: str, name: str, known: Collection[str]) -> None:
    """Raise RecipeError, with the nearest name, unless `name` is a known `kind`."""
    if name in known:
        return
    near = difflib.get_close_matches(name.lower(), known, 1, 0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise RecipeError(f"unknown {kind} {name!r} (known: {', '.join(known)}){hint}")


def fail(key: str, problem: str) -> typing.NoReturn:
    """Raise RecipeError with the name of the value."""
    raise RecipeError(f"recipe value {key}: {problem}")


def require(condition: bool, key: str, problem: str) -> None:
    """Raise RecipeError with the name of the value unless `condition` holds."""
    if not condition:
        fail(key, problem)


def one_of(value: str, key: str, allowed: Sequence[str]) -> None:
    """Raise RecipeError, with the nearest allowed value, unless `value` is allowed."""
    near = difflib.get_close_matches(value, allowed, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    require(value in allowed, key, f"{value!r} is not allowed; allowed: {', '.join(allowed)}{hint}")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """The size of the input, the split, and the balance of the landmarks.

    Attributes:
        image_size: the side of the images that the network learns from, in pixels.
        test_size: the side of the images that it is measured on and shipped for; 0 for image_size.
        resize: how an image becomes a square: "squash", "crop" or "pad".
        normalisation: the input of the backbone's weights: "stock" pixels as the stock model
            normalises them, or "unit" pixels divided by 255 before that.
        val_fraction, test_fraction: of each landmark's images.
        val_count, test_count: images of each landmark; above zero they replace the fraction.
        folds: the folds of cross-fitting; 0 holds images back instead.
        cross_fit_up_to: with more images only one of the folds is measured.
        measure_up_to: with more images the parts of the fractions are held back.
        balance: makes rare landmarks count as much as others, by "weights" of their loss or by
            "sampling" them more often; "none" does not.
    """

    image_size: int
    test_size: int
    resize: str
    normalisation: str
    val_fraction: float
    test_fraction: float
    val_count: int
    test_count: int
    folds: int
    cross_fit_up_to: int
    measure_up_to: int
    balance: str

    def __post_init__(self) -> None:
        require(32 <= self.image_size <= 1024, "data.image_size", "allowed are 32 to 1024 pixels")
        require(
            self.test_size == 0 or 32 <= self.test_size <= 1024,
            "data.test_size",
            "allowed are 32 to 1024 pixels, or 0 for data.image_size",
        )
        one_of(self.resize, "data.resize", [policy.value for policy in Resize])
        one_of(self.normalisation, "data.normalisation", NORMALISATIONS)
        one_of(self.balance, "data.balance", BALANCES)
        for name in ("val", "test"):
            value, count = getattr(self, f"{name}_fraction"), getattr(self, f"{name}_count")
            require(0 <= value <= 0.5, f"data.{name}_fraction", "allowed are 0 to 0.5")
            require(count >= 0, f"data.{name}_count", "allowed are 0 and above")
        require(self.folds == 0 or 2 <= self.folds <= 20, "data.folds", "allowed are 0 and 2 to 20")
        for name in ("cross_fit_up_to", "measure_up_to"):
            require(getattr(self, name) >= 0, f"data.{name}", "allowed are 0 and above")

    @property
    def input_size(self) -> int:
        """The side of the images that are measured and that a file takes, in pixels."""
        return self.test_size or self.image_size


@dataclasses.dataclass(frozen=True)
class AugmentSettings:
    """Random changes of each training image in each epoch, and fixed copies; see `augment`."""

    crop_scale: tuple[float, float]
    crop_aspect: float
    flip_left_right: bool
    flip_up_down: bool
    rotation_degrees: float
    brightness: float
    contrast: float
    saturation: float
    mixup: float
    copies: tuple[str, ...]

    def __post_init__(self) -> None:
        low, high = self.crop_scale
        require(0 < low <= high <= 1, "augment.crop_scale", "allowed is [low, high] within 0..1")
        require(1 <= self.crop_aspect <= 2, "augment.crop_aspect", "allowed are 1 to 2")
        require(0 <= self.rotation_degrees <= 180, "augment.rotation_degrees", "allowed: 0 to 180")
        for name in ("brightness", "contrast", "saturation"):
            require(0 <= getattr(self, name) < 1, f"augment.{name}", "allowed are 0 to below 1")
        require(0 <= self.mixup <= 10, "augment.mixup", "allowed are 0 to 10")
        for copy in self.copies:
            one_of(copy, "augment.copies", COPIES)


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    """The backbone and the layers between its features and the two outputs.

    `features` are the averages over the "last" layer, or over the "widest" before it too.
    `dropout` is one share behind all head layers, or one a layer.
    """

    backbone: str
    features: str
    head_layers: tuple[int, ...]
    dropout: tuple[float, ...]

    def __post_init__(self) -> None:
        one_of(self.features, "network.features", FEATURES)
        require(all(n > 0 for n in self.head_layers), "network.head_layers", "units are above 0")
        require(
            all(0 <= share < 1 for share in self.dropout),
            "network.dropout",
            "allowed are 0 to below 1",
        )
        require(
            len(self.dropout) in (1, len(self.head_layers)),
            "network.dropout",
            f"give one share, or one for each of the {len(self.head_layers)} head layers",
        )


@dataclasses.dataclass(frozen=True)
class StrategySettings:
    """Values that all strategies share.

    Attributes:
        phase2: the backbone while the second head is trained: "frozen", or "distil" to fine-tune
            it while distillation holds the first head.
        distil_weight: of the distillation against the second head's own loss.
        landmark_weight, category_weight: of the two losses, for "parallel".
    """

    phase2: str
    distil_weight: float
    landmark_weight: float
    category_weight: float

    def __post_init__(self) -> None:
        one_of(self.phase2, "strategy.phase2", ("frozen", "distil"))
        for name in ("distil_weight", "landmark_weight", "category_weight"):
            value = getattr(self, name)
            require(0 <= value < math.inf, f"strategy.{name}", "allowed are 0 and above")


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """Optimizer, schedule and loss of any phase, and the rule of the epoch that is kept."""

    optimizer: str
    batch: int
    learning_rate: float
    schedule: str
    weight_decay: float
    label_smoothing: float
    keep: str

    def _check_fit(self, section: str, optimizers: Sequence[str]) -> None:
        one_of(self.optimizer, f"{section}.optimizer", optimizers)
        one_of(self.schedule, f"{section}.schedule", SCHEDULES)
        one_of(self.keep, f"{section}.keep", KEEPS)
        _check_fitting(section, self.batch, self.learning_rate, self.label_smoothing)
        require(
            0 <= self.weight_decay < math.inf, f"{section}.weight_decay", "allowed are 0 and above"
        )


@dataclasses.dataclass(frozen=True)
class HeadSettings(FitSettings):
    """A phase on a frozen backbone.

    The optimizer "discriminant" is no descent but the closed form of `discriminant`.

    Attributes:
        epochs: the number of epochs.
        views: random views of each image, beside the image and its copies.
        cached: if true, features are computed once; otherwise in every epoch.
        shrinkage: of the discriminant's covariance.
    """

    epochs: int
    views: int
    cached: bool
    shrinkage: float

    def check_in(self, section: str) -> None:
        """Raise RecipeError, with the name of the section, for an impossible value."""
        self._check_fit(section, (*OPTIMIZERS, "discriminant"))
        require(self.epochs >= 0, f"{section}.epochs", "allowed are 0 and above")
        require(self.views >= 0, f"{section}.views", "allowed are 0 and above")
        require(0 < self.shrinkage <= 1, f"{section}.shrinkage", "allowed are above 0 to 1")


@dataclasses.dataclass(frozen=True)
class FineTuneSettings(FitSettings):
    """Phases through the network: the backbone's group `start` and all above it are trained.

    Several starts and epochs are as many phases, one after the other: ["block6", "block3"] with
    [4, 8] unfreezes the rest from block3 on after four epochs.

    Attributes:
        start: a group of layers for each phase.
        epochs: the number of epochs of each phase.
        batch_norm: "frozen" keeps the statistics of the pretrained weights, "train" does not.
        blend: the share of the fine-tuned weights in what is kept.
        refit: the share of closed-form outputs, solved on the fine-tuned features, in what is
            kept of the outputs.
        blend_spread: the standard deviation by which the validation part may move both shares.
    """

    start: tuple[str, ...]
    epochs: tuple[int, ...]
    batch_norm: str
    blend: float
    refit: float
    blend_spread: float

    def __post_init__(self) -> None:
        self._check_fit("fine_tune", OPTIMIZERS)
        require(
            len(self.start) == len(self.epochs) > 0,
            "fine_tune.epochs",
            f"give as many as there are starts ({len(self.start)})",
        )
        require(min(self.epochs) >= 0, "fine_tune.epochs", "allowed are 0 and above")
        one_of(self.batch_norm, "fine_tune.batch_norm", ("frozen", "train"))
        require(0 < self.blend <= 1, "fine_tune.blend", "allowed are above 0 to 1")
        require(0 <= self.refit <= 1, "fine_tune.refit", "allowed are 0 to 1")
        require(0 <= self.blend_spread <= 1, "fine_tune.blend_spread", "allowed are 0 to 1")


def _check_fitting(section: str, batch: int, learning_rate: float, smoothing: float) -> None:
    require(batch >= 1, f"{section}.batch", "allowed are 1 and above")
    require(0 < learning_rate <= 1, f"{section}.learning_rate", "allowed are above 0 to 1")
    require(0 <= smoothing < 1, f"{section}.label_smoothing", "allowed are 0 to below 1")


@dataclasses.dataclass(frozen=True)
class QuantizeSettings:
    """Calibration, and fine-tuning under quantization by distillation from float."""

    calibration_pictures: int
    epochs: int
    batch: int
    learning_rate: float

    def __post_init__(self) -> None:
        _check_fitting("quantize", self.batch, self.learning_rate, 0.0)
        require(self.epochs >= 0, "quantize.epochs", "allowed are 0 and above")
        require(self.calibration_pictures >= 1, "quantize.calibration_pictures", "at least 1")


@dataclasses.dataclass(frozen=True)
class CameraSettings:
    """The steadiness of the label that `lmedge camera` shows for the exported file.

    Attributes:
        smoothing: a time constant in seconds, 0 for none.
        margin: another label must be more probable by so much, 0..1.
        dwell: the least number of seconds that a label stays.
    """

    smoothing: float
    margin: float
    dwell: float

    def __post_init__(self) -> None:
        for key in ("smoothing", "dwell"):
            require(
                0 <= getattr(self, key) <= 3600, f"camera.{key}", "allowed are 0 to 3600 seconds"
            )
        require(0 <= self.margin < 1, "camera.margin", "allowed are 0 to below 1")
