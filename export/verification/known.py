"""The file's third output: the likeness of an image to the landmark that both heads name.

Both heads may agree on a landmark whose training images have other features. The features of an
image may lie near those of a landmark that no head names. The output therefore combines the two. It
is the sum over landmarks of p(landmark) p(its category) cosine. The cosine is that of the features
and the mean features of the landmark's training images. docs/results.md compares scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lmedge.train.arrays import Images
from lmedge.train.backend import keras, tf
from lmedge.train.network import FEATURES, predict_outputs

PER_LANDMARK = 16  # training images that its mean is of, at most
ROOM = 1.25  # of the range of the products beyond what was seen
TINY = 1e-12
Values = npt.NDArray[np.floating]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """The constants of the third output.

    `directions`, (F, L) float32, are the mean features of each landmark, of length 1. `belongs`,
    (C, L) float32, is 1 if the landmark is of the category, 0 otherwise. Features times directions
    are rounded to int8 over 0..`largest`.
    """

    directions: npt.NDArray[np.float32]
    belongs: npt.NDArray[np.float32]
    largest: float

    def output(
        self, features: tf.Tensor, heads: Mapping[str, tf.Tensor], *, rounded: bool
    ) -> tf.Tensor:
        """Build the output, (1, 2): the score in 0..1, and its complement.

        features: (1, F). heads: probabilities, (1, L) and (1, C), by name. rounded: whether an int8
        operation computes the products, of features that are in int8 already.
        """
        products = tf.matmul(features, tf.constant(self.directions))
        if rounded:
            products = tf.quantization.fake_quant_with_min_max_args(products, 0.0, self.largest)
        both = heads["landmark"] * tf.matmul(heads["category"], tf.constant(self.belongs))
        length = tf.math.rsqrt(tf.reduce_sum(tf.square(features), 1, keepdims=True) + TINY)
        score = tf.reduce_sum(both * products, 1, keepdims=True) * length
        return score * tf.constant([[1.0, -1.0]]) + tf.constant([[0.0, 1.0]])


def fit_known(
    features: Values, truth: npt.NDArray[np.int64], parents: npt.NDArray[np.intp]
) -> Known:
    """Fit on features (N, F) of training images, truth by landmark (N,).

    parents: the category of each landmark, (L,).
    """
    directions = mean_directions(features, truth, len(parents))
    largest = ROOM * max(float((features @ directions).max(initial=0.0)), 1e-3)
    belongs = np.arange(parents.max() + 1)[:, None] == parents
    return Known(
        directions=directions.astype(np.float32),
        belongs=belongs.astype(np.float32),
        largest=largest,
    )


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


def with_features(network: keras.Model) -> keras.Model:
    """Return the network with another output, `features`, the pooled ones of the backbone."""
    outputs = {**network.output, FEATURES: network.get_layer(FEATURES).output}
    # A new name would be counted up and enter the file, and no two files would be the same. A
    # quantized network keeps its class, and with it its predictions in whole numbers.
    return type(network)(network.input, outputs, name=network.name)


def predict_with_features(
    network: keras.Model, images: Images
) -> dict[str, npt.NDArray[np.float32]]:
    """Run a network on (N, S, S, 3) uint8 RGB: the logits of both heads, and `features` (N, F).

    Images that are not in memory are read batch by batch.
    """
    return predict_outputs(with_features(network), images)


def spread(truth: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return the indices of PER_LANDMARK images of each landmark, or of all if there are fewer."""
    order = rng.permutation(len(truth))
    chosen = [order[truth[order] == landmark][:PER_LANDMARK] for landmark in np.unique(truth)]
    return np.sort(np.concatenate(chosen))
