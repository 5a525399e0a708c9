"""The file's third output: the likeness of an image to the landmark that both heads name.

Both heads may agree on a landmark whose training images have other features. The features of an
image may lie near those of a landmark that no head names. The output therefore combines the two. It
is the sum over landmarks of p(landmark)^2 p(its category) likeness. The square asks for one sure
landmark: two that share the probability are what a landmark of neither looks like. The likeness is
linear in the pooled features, divided by their length: the cosine with the mean features of the
landmark's training images. Of the features only the averages over the last map count: what other
landmarks look like lies far from a landmark there, and near in those of the map before it. If the
run has unknown images, it is the mean of that cosine and of a ridge regression, which is 1 on
images of the landmark and 0 on all others, the unknown ones among them. docs/results.md compares
scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lmedge.train.backend import tf

PER_LANDMARK = 16  # training images that its mean is of, at most
ROOM = 1.25  # of the range of the products beyond what was seen
TINY = 1e-12
RIDGE = 0.3  # times the mean squared length of the centred features
Values = npt.NDArray[np.floating]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """The constants of the third output.

    The likeness to a landmark is the product of features of length 1 and `directions`, (K, L)
    float32, plus `offsets`, (L,) float32. The features are the last K of the network's. `belongs`,
    (C, L) float32, is 1 if the landmark is of the category, 0 otherwise. Features times directions
    are rounded to int8 over `lowest`..`largest`.
    """

    directions: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.float32]
    belongs: npt.NDArray[np.float32]
    lowest: float
    largest: float

    def output(
        self, features: tf.Tensor, heads: Mapping[str, tf.Tensor], *, rounded: bool
    ) -> tf.Tensor:
        """Build the output, (1, 2): the score in 0..1, and its complement.

        features: (1, F) of the network. heads: probabilities, (1, L) and (1, C), by name. rounded:
        whether an int8 operation computes the products, of features that are in int8 already.
        """
        unread = features.shape[1] - len(self.directions)
        if unread:
            features = tf.slice(features, (0, unread), (1, len(self.directions)))
        products = tf.matmul(features, tf.constant(self.directions))
        if rounded:
            products = tf.quantization.fake_quant_with_min_max_args(
                products, self.lowest, self.largest
            )
        length = tf.math.rsqrt(tf.reduce_sum(tf.square(features), 1, keepdims=True) + TINY)
        belongs, sure = tf.constant(self.belongs), tf.square(heads["landmark"])
        if not self.offsets.any():  # a sum of cosines: 0..1 without limits
            both = sure * tf.matmul(heads["category"], belongs)
            score = tf.reduce_sum(both * products, 1, keepdims=True) * length
            return score * tf.constant([[1.0, -1.0]]) + tf.constant([[0.0, 1.0]])
        # times 6, because RELU6 is the one operation of every runtime that has an upper limit
        both = sure * tf.matmul(heads["category"], 6 * belongs)
        likeness = products * length + tf.constant(self.offsets)
        score = tf.nn.relu6(tf.reduce_sum(both * likeness, 1, keepdims=True))
        return score * tf.constant([[1 / 6, -1 / 6]]) + tf.constant([[0.0, 1.0]])

    def score(self, features: Values, heads: Mapping[str, Values]) -> Values:
        """Return what `output` computes, (N,), of (N, F) features and probabilities by head."""
        return known_score(heads, heads["category"] @ self.belongs, self.likeness(features))

    def likeness(self, features: Values) -> Values:
        """Return the likeness of (N, F) features to each landmark, (N, L)."""
        own = features[:, features.shape[1] - len(self.directions) :]
        return np.asarray(cosines(own, self.directions) + self.offsets)


def known_score(heads: Mapping[str, Values], parents: Values, likeness: Values) -> Values:
    """Return the score of images, (N,), 0..1.

    Args:
        heads: probabilities by head, (N, L) of the landmarks.
        parents: (N, L) the probability of each landmark's category.
        likeness: (N, L) of each image to each landmark.
    """
    score = np.square(heads["landmark"]) * parents * likeness
    return np.asarray(np.clip(score.sum(axis=1), 0, 1))


def fit_known(
    features: Values,
    truth: npt.NDArray[np.int64],
    parents: npt.NDArray[np.intp],
    unknown: Values | None = None,
    *,
    read: int,
) -> Known:
    """Fit on features (N, F) of training images, truth by landmark (N,).

    Args:
        features: (N, F).
        truth: The landmark of each image, (N,).
        parents: The category of each landmark, (L,).
        unknown: (M, F) features of unknown images, or None.
        read: The number of the features that count, the last ones; at most F.
    """
    features = features[:, -read:]
    unknown = None if unknown is None else unknown[:, -read:]
    directions = mean_directions(features, truth, len(parents))
    offsets = np.zeros(len(parents))
    if unknown is not None and len(unknown):
        kernel, bias = flat_regression(features, truth, len(parents), unknown)
        directions, offsets = (directions + kernel) / 2, bias / 2
    seen = features if unknown is None else np.concatenate([features, unknown])
    products = seen @ directions
    belongs = np.arange(parents.max() + 1)[:, None] == parents
    return Known(
        directions=directions.astype(np.float32),
        offsets=offsets.astype(np.float32),
        belongs=belongs.astype(np.float32),
        lowest=ROOM * min(float(products.min(initial=0.0)), 0.0),
        largest=ROOM * max(float(products.max(initial=0.0)), 1e-3),
    )


def flat_regression(
    features: Values, truth: npt.NDArray[np.int64], landmarks: int, unknown: Values
) -> tuple[Values, Values]:
    """Return kernel (F, L) and bias (L,) of a ridge regression on features of length 1.

    The target is 1 for a landmark on its own images, and 0 on those of the others and on unknown
    images: its prediction is flat where the network is not to name a landmark.
    """
    x = np.concatenate([features, unknown]).astype(np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), TINY)
    targets = np.zeros((len(x), landmarks))
    targets[np.arange(len(truth)), truth] = 1
    centre, mean = x.mean(axis=0), targets.mean(axis=0)
    x -= centre
    ridge = RIDGE * np.square(x).sum() / len(x)
    if len(x) < x.shape[1]:
        gram = x @ x.T + ridge * np.eye(len(x))
        kernel = x.T @ np.linalg.solve(gram, targets - mean)
    else:
        gram = x.T @ x + ridge * np.eye(x.shape[1])
        kernel = np.linalg.solve(gram, x.T @ (targets - mean))
    return kernel, mean - centre @ kernel


def mean_directions(features: Values, truth: npt.NDArray[np.int64], landmarks: int) -> Values:
    """Return the mean of the features of each landmark, of length 1, (F, L); 0 without images."""
    sums = np.zeros((landmarks, features.shape[1]))
    np.add.at(sums, truth, features)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray((sums / np.maximum(lengths, TINY)).T)


def cosines(features: Values, directions: Values) -> Values:
    """Return (N, L) cosines of features (N, F) and directions (F, L) of length 1."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features @ directions / np.maximum(lengths, TINY))


def spread(truth: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return the indices of PER_LANDMARK images of each landmark, or of all if there are fewer."""
    order = rng.permutation(len(truth))
    chosen = [order[truth[order] == landmark][:PER_LANDMARK] for landmark in np.unique(truth)]
    return np.sort(np.concatenate(chosen))
