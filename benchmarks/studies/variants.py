"""Ways to fine-tune that other trainings use, beside the default, on the same folds.

    python -m benchmarks.studies.variants DATA --weights FILE.h5 --runs DIR

All photographs are spread over five folds, as `lmedge compare --folds 5` does. For each fold every
variant begins with the same first head in closed form and learns from all photographs of the other
folds. 0.8 of the fine-tuned weights are kept, and the landmark output is solved again on their
features, from each image and its mirror image: the mean with the fine-tuned output, or that output
alone for heads with a margin, which give no logits of their own.

| variant | changes |
|---|---|
| default | nothing: the default recipe |
| another seed | other views, in another order |
| plain targets | no label smoothing |
| trivial augment, rand augment | other changes of colour and shape (`view_changes`) |
| several sizes | batches of 192, 224 and 256 pixels in turn |
| cosine margin | the cosine with a centre of each landmark, less 0.2 for the true one, times 16 |
| two centres | the same with two centres a landmark, the nearer one of which counts |
| roots of mean squares | in place of both averages over maps, with a first head of their own |
| distilled | half of the target is the mean of the first two networks on the same view |
| longer, averaged | 24 epochs; the mean of the weights after each of the last twelve |
| two seeds, averaged | no training: the mean of the weights of the first two networks |
| two seeds, together | no training, two networks: the mean of their probabilities |

Margins: Wang et al., arXiv:1801.09414; centres: Deng et al., ECCV 2020; roots of mean squares, the
generalised mean of p = 2: Radenović et al., arXiv:1711.02512; distillation on the same view: Beyer
et al., arXiv:2106.05237; averaged weights: Izmailov et al., arXiv:1803.05407.

DIR keeps the networks, 17 MB each; a run that was stopped goes on with them. Temperatures and the
weight of the category head are fitted to the answers of all folds, for every row alike.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from lmedge.image import RgbImage
from lmedge.model_file import HEADS
from lmedge.train.arrays import Floats, Weights, normalise, read_arrays, write_arrays
from lmedge.train.backend import keras, tf
from lmedge.train.compare.plan import Trial
from lmedge.train.data.split import Split
from lmedge.train.fitting.augment import random_stream, random_view
from lmedge.train.fitting.batches import AugmentedBatches, Batch, Places
from lmedge.train.fitting.checkpoint import blended, phase_file
from lmedge.train.fitting.features import FrozenBackbone, prepared_key
from lmedge.train.fitting.heads import training_labels
from lmedge.train.fitting.optimizer import make_optimizer
from lmedge.train.fitting.steps import free_layers
from lmedge.train.network import FEATURES, build_network, get_weights, set_weights, traced
from lmedge.train.recipes.sections import AugmentSettings
from lmedge.train.run import Run

from .common import PATH, out_option, run_study
from .fitted_shares import (
    PHASES,
    Answers,
    Scored,
    Truth,
    answers,
    fold_trials,
    joined,
    network_of,
    open_run,
    phases_of,
    score,
    solved,
    write_study,
)
from .view_changes import rand_view, trivial_view

View = Callable[[RgbImage, int, AugmentSettings, np.random.Generator], RgbImage]
SCALE, MARGIN = 16.0, 0.2
SHARE = 0.8  # of the fine-tuned weights, as in the default recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to fine-tune.

    Attributes:
        seed: added to that of the run.
        smoothing: of the labels.
        view: makes a random view.
        sizes: the sides of the views of each batch in turn, as shares of the network's.
        centres: of each landmark, for a head with a margin; 0 for logits.
        roots: true for roots of mean squares as features.
        teachers: variants of whose probabilities half of the target is made.
        longer: the factor of the epochs. Above 1 weights are averaged over the last part.
    """

    seed: int = 0
    smoothing: float = 0.1
    view: View = random_view
    sizes: tuple[float, ...] = (1.0,)
    centres: int = 0
    roots: bool = False
    teachers: tuple[str, ...] = ()
    longer: int = 1


FIRST = ("default", "another seed")
VARIANTS: Mapping[str, Variant] = {
    "default": Variant(),
    "another seed": Variant(seed=1000),
    "trivial augment": Variant(view=trivial_view),
    "roots of mean squares": Variant(roots=True),
    "cosine margin": Variant(centres=1, smoothing=0.0),
    "distilled": Variant(teachers=FIRST),
    "several sizes": Variant(sizes=(6 / 7, 1.0, 8 / 7)),
    "plain targets": Variant(smoothing=0.0),
    "two centres": Variant(centres=2, smoothing=0.0),
    "rand augment": Variant(view=rand_view),
    "longer, averaged": Variant(longer=2),
}
AVERAGED, TOGETHER = "two seeds, averaged", "two seeds, together"


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariantRow:
    """All images of DATA, each by the network that has not learned it: means of the assignments.

    `closed` is the share of the closed form in the landmark output. `landmark_wrong` are mistakes
    after joint decoding; `mended` and `broken` images that are right here and wrong in the default
    with the same share, and the other way round, and `p` is that of McNemar's exact test of them.
    `log_loss` is that of the landmark head alone, for an image; `log_loss_low` and `log_loss_high`
    are the 95 % interval of its difference to that of the default, by bootstrap of the images.
    """

    variant: str
    closed: float
    images: int
    assignments: int
    landmark_f1: float
    category_f1: float
    landmark_wrong: float
    mended: float
    broken: float
    p: float
    log_loss: float
    log_loss_low: float
    log_loss_high: float


class RootMeanSquare(keras.layers.Layer):  # type: ignore[misc]
    """(N, h, w, C) -> (N, C), roots of the means of squares over a map."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the roots; their gradient is finite where a map is zero."""
        return tf.sqrt(tf.reduce_mean(tf.square(inputs), axis=(1, 2)) + 1e-6)


class CosineHead(keras.layers.Layer):  # type: ignore[misc]
    """(N, F) features -> (N, L) largest cosines with the centres of each landmark."""

    def __init__(self, centres: npt.NDArray[np.float32], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._start = centres  # (L, K, F)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the centres."""
        self.centres = self.add_weight(
            "centres", self._start.shape, initializer=keras.initializers.Constant(self._start)
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the cosines."""
        unit = tf.math.l2_normalize(inputs, axis=-1)
        centres = tf.math.l2_normalize(self.centres, axis=-1)
        return tf.reduce_max(tf.einsum("nf,lkf->nlk", unit, centres), axis=-1)


def margin_loss(targets: tf.Tensor, cosines: tf.Tensor) -> tf.Tensor:
    """Return the cross-entropy of SCALE (cosine - MARGIN of the true landmark), (N,)."""
    logits = SCALE * (cosines - MARGIN * targets)
    return keras.losses.categorical_crossentropy(targets, logits, from_logits=True)


class Views(AugmentedBatches):
    """Augmented batches with another view, of sides that change from batch to batch."""

    def __init__(self, run: Run, labels: Any, variant: Variant, epoch: int) -> None:
        super().__init__(
            run.store,
            run.entries("train"),
            labels,
            run.recipe.augment,
            batch=run.recipe.fine_tune.batch,
            seed=run.seed + variant.seed,
            epoch=epoch,
        )
        self._run, self._variant = run, variant

    def inputs(self, index: int, places: Places | None = None) -> Floats:
        """Return the network inputs of some places of a batch."""
        sizes, run = self._variant.sizes, self._run
        side = round(run.store.size * sizes[(self._epoch * len(self) + index) % len(sizes)])

        def view(number: int) -> RgbImage:
            rng = random_stream(self._seed, self._epoch, number)
            image = run.store.working(run.entries("train")[number])
            return self._variant.view(image, side, run.recipe.augment, rng)

        return normalise(np.stack([view(number) for number in self._chosen(index, places)]))


class Taught(keras.utils.Sequence):  # type: ignore[misc]
    """Batches of which half of the landmark target is the mean of teachers on the same view."""

    def __init__(self, batches: Views, teachers: Sequence[keras.Model]) -> None:
        self._batches, self._teachers = batches, [traced(teacher) for teacher in teachers]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:
        inputs, targets, *_ = self._batches[index]
        answers = [tf.nn.softmax(one(tf.constant(inputs))["landmark"]) for one in self._teachers]
        mean = np.mean([answer.numpy() for answer in answers], axis=0)
        half = (targets["landmark"] + mean) / 2
        return inputs, {"landmark": np.asarray(half, np.float32)}


def whole_trial(trial: Trial) -> Trial:
    """Return a trial that learns from its validation part too."""
    parts = trial.split.parts
    learned = {**parts, "train": (*parts["train"], *parts["val"]), "val": ()}
    return dataclasses.replace(trial, split=Split(learned))


def with_roots(network: keras.Model) -> keras.Model:
    """Return a network with this one's backbone, roots of mean squares and new heads."""
    averages = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.GlobalAveragePooling2D) and not layer.keepdims
    ]
    roots = [RootMeanSquare(name=f"{layer.name}_root")(layer.input) for layer in averages]
    features = keras.layers.Concatenate(name=FEATURES)(roots)
    heads = {
        head: keras.layers.Dense(network.get_layer(head).units, name=head)(features)
        for head in HEADS
    }
    return keras.Model(network.input, heads, name=f"{network.name}_roots")


def variant_network(run: Run, variant: Variant, weights: Weights) -> keras.Model:
    """Return the network of a variant with weights of it."""
    network = build_network(run.spec)
    if variant.roots:
        network = with_roots(network)
    set_weights(network, weights, run.folder)
    return network


def first_head(run: Run, variant: Variant) -> Weights:
    """Return the weights before fine-tuning, solved once."""
    path = phase_file(run, PHASES[0], "-best")
    if not path.exists():
        phases_of(run)[0].fit()
    weights = read_arrays(path)
    if not variant.roots:
        return weights
    path = run.folder / "roots.safetensors"
    if not path.exists():
        network = with_roots(network_of(run, weights))
        for head, *values in solved(run, FrozenBackbone(network), run.recipe.head.views):
            network.get_layer(head).set_weights(values)
        write_arrays(path, get_weights(network))
    return read_arrays(path)


def fine_tuned(run: Run, name: str) -> Weights:
    """Return the weights after fine-tuning by a variant, trained once."""
    path = run.folder / f"{name.replace(' ', '-').replace(',', '')}.safetensors"
    if not path.exists():
        write_arrays(path, _fit(run, VARIANTS[name]))
    return read_arrays(path)


def kept_network(run: Run, name: str, weights: Weights | None = None) -> keras.Model:
    """Return the network of a variant with the share of the fine-tuned weights that is kept.

    `weights` are others in place of the fine-tuned ones.
    """
    variant = VARIANTS[name]
    start = first_head(run, variant)
    ends = fine_tuned(run, name) if weights is None else weights
    return variant_network(run, variant, blended(start, ends, SHARE))


def _fit(run: Run, variant: Variant) -> Weights:
    keras.utils.set_random_seed(run.seed + variant.seed)
    settings = run.recipe.fine_tune
    network = variant_network(run, variant, first_head(run, variant))
    free_layers(network, run.recipe.network.backbone, ("landmark",), start=settings.start[0])
    labels = training_labels(run, network, ("landmark",), variant.smoothing)
    output, loss = network.output["landmark"], keras.losses.CategoricalCrossentropy(True)
    if variant.centres:
        features = network.get_layer(FEATURES).output
        head = CosineHead(_centres(run, network, variant.centres), name="landmark")
        output, loss = head(features), margin_loss
    model = keras.Model(network.input, output)
    model.input_spec = keras.layers.InputSpec(shape=(None, None, None, 3))  # of several sizes
    teachers = [kept_network(run, name) for name in variant.teachers]
    epochs = settings.epochs[0] * variant.longer
    steps = len(Views(run, labels, variant, 0))
    optimizer = make_optimizer(settings, epochs=epochs, steps=steps, warm_up=True)
    step = _step(model, loss, optimizer)
    kept: list[Weights] = []
    for epoch in range(epochs):
        views: keras.utils.Sequence = Views(run, labels, variant, epoch)
        batches = Taught(views, teachers) if teachers else views
        for index in range(steps):
            inputs, targets, *_ = batches[index]
            step(tf.constant(inputs), tf.constant(targets["landmark"]))
        if variant.longer > 1 and epoch >= epochs - settings.epochs[0]:
            kept.append(get_weights(network))
    return mean_weights(kept) if kept else get_weights(network)


def _step(
    model: keras.Model, loss: Any, optimizer: keras.optimizers.Optimizer
) -> Callable[[tf.Tensor, tf.Tensor], None]:
    """Return a step of fitting, traced for each size: `fit` takes no batches of several sizes."""
    optimizer.build(model.trainable_variables)  # a step that creates variables is traced twice

    def step(inputs: tf.Tensor, targets: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            mean = tf.reduce_mean(loss(targets, model(inputs, training=True)))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(mean, variables), variables, strict=True))

    return tf.function(step, autograph=False)  # type: ignore[no-any-return]


def mean_weights(weights: Sequence[Weights]) -> Weights:
    """Return the mean of weights; what is the same in all stays so to the last bit."""
    first, *others = weights
    return {
        name: value
        if all(np.array_equal(value, other[name]) for other in others)
        else np.asarray(np.mean([one[name] for one in weights], axis=0), np.float32)
        for name, value in first.items()
    }


def _centres(run: Run, network: keras.Model, count: int) -> npt.NDArray[np.float32]:
    """Return unit centres (L, K, F) to begin with: means of every `count`-th image's features."""
    entries, truth = run.entries("train"), run.labels("train")["landmark"]
    key = prepared_key(run.recipe, entries)
    features = FrozenBackbone(network).features(
        lambda i: run.store.prepared(entries[i]), len(entries), key
    )
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    classes = int(truth.max()) + 1
    found = [
        [unit[np.flatnonzero(truth == label)[part::count]].mean(0) for part in range(count)]
        for label in range(classes)
    ]
    return np.asarray(found, np.float32)


def of_fold(run: Run, names: Sequence[str]) -> Iterator[tuple[str, float, Answers]]:
    """Yield the variant, the share and the answers of a fold, trained where that is not done."""
    found = {}
    for name in names:
        shares = (1.0,) if VARIANTS[name].centres else (0.5, 1.0)
        found[name] = dict(answers(run, kept_network(run, name), shares, views=0))
        for share, logits in found[name].items():
            yield name, share, logits
        click.echo(f"{run.folder.name}: {name} is done")
    if not set(FIRST) <= set(names):
        return
    mean = mean_weights([fine_tuned(run, name) for name in FIRST])
    network = kept_network(run, FIRST[0], mean)
    for share, logits in answers(run, network, (0.5, 1.0), views=0):
        yield AVERAGED, share, logits
        both = [found[name][share] for name in FIRST]
        yield TOGETHER, share, {head: _together([one[head] for one in both]) for head in logits}


def _together(logits: Sequence[Floats]) -> Floats:
    """Return the logarithm of the mean of probabilities, (N, C)."""
    mean = np.mean([tf.nn.softmax(one).numpy() for one in logits], axis=0)
    return np.asarray(np.log(np.maximum(mean, 1e-12)), np.float32)


def rows(
    found: Mapping[tuple[str, float], Mapping[int, list[Answers]]],
    truths: Mapping[int, list[Truth]],
    taxonomy: Any,
) -> Iterator[VariantRow]:
    """Yield a row for each variant and share: answers of the folds by assignment."""
    truth = {seed: joined(parts) for seed, parts in truths.items()}
    scored = {
        key: {seed: score(joined(own[seed]), truth[seed], taxonomy) for seed in truths}
        for key, own in found.items()
    }
    for (name, share), own in scored.items():
        base = scored["default", share]
        pairs = [(own[seed].right, base[seed].right) for seed in truths]
        mended = [int((after & ~before).sum()) for after, before in pairs]
        broken = [int((before & ~after).sum()) for after, before in pairs]
        low, high = difference(own, base)
        each = list(own.values())
        yield VariantRow(
            variant=name,
            closed=share,
            images=len(each[0].right),
            assignments=len(each),
            landmark_f1=_mean([one.scores["landmark"].macro_f1 for one in each]),
            category_f1=_mean([one.scores["category"].macro_f1 for one in each]),
            landmark_wrong=_mean([int((~one.right).sum()) for one in each]),
            mended=_mean(mended),
            broken=_mean(broken),
            p=round(mcnemar(sum(mended), sum(broken)), 3),
            log_loss=_mean([one.log_loss for one in each]),
            log_loss_low=low,
            log_loss_high=high,
        )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def mcnemar(mended: int, broken: int) -> float:
    """Return the two-sided probability of so unequal counts if both were equally likely."""
    count, less = mended + broken, min(mended, broken)
    tail = sum(math.comb(count, k) for k in range(less + 1))
    return float(min(1.0, 2 * tail / 2**count))


def difference(own: Mapping[int, Scored], base: Mapping[int, Scored]) -> tuple[float, float]:
    """Return the 95 % interval of the difference of log losses, by bootstrap of the images.

    The answers of all assignments to an image are drawn together.
    """
    parts = [own[seed].losses - base[seed].losses for seed in own]
    each = np.mean(parts, axis=0)
    rng = np.random.default_rng(0)
    drawn = each[rng.integers(0, len(each), (2000, len(each)))].mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


@click.command()
@click.argument("data", type=PATH)
@click.option("--weights", required=True, help="As for `lmedge train`.")
@click.option("--assignments", type=click.IntRange(1), default=1, show_default=True)
@click.option("--runs", type=PATH, required=True, help="The folder of the networks.")
@click.option("--only", multiple=True, type=click.Choice(list(VARIANTS)), help="Some variants.")
@out_option("variants.csv")
def main(
    data: Path, weights: str, assignments: int, runs: Path, only: tuple[str, ...], out: Path
) -> None:
    """Train a network by each variant for each fold of DATA, and score it on that fold."""
    names = [name for name in VARIANTS if not only or name in ("default", *only)]
    found: dict[tuple[str, float], dict[int, list[Answers]]] = {}
    truths: dict[int, list[Truth]] = {}
    for trial in map(whole_trial, fold_trials(weights, data, assignments, [])):
        seed = trial.repeat.seed
        run = open_run(trial, data, runs)
        truths.setdefault(seed, []).append(run.labels("test"))
        for name, share, logits in of_fold(run, names):
            found.setdefault((name, share), {}).setdefault(seed, []).append(logits)
    write_study(out, list(rows(found, truths, run.taxonomy)), data, weights, runs)


if __name__ == "__main__":
    run_study(main)
