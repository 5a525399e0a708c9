"""Print what MediaPipe's ImageClassifier says of images, as JSON: head -> label -> score.

    python mediapipe_scores.py FILE.tflite IMAGE...

Run by test_clients.py in an environment of its own: MediaPipe and TensorFlow do not share one. The
images must have the file's input size already, for MediaPipe resizes in its own way.
"""

from __future__ import annotations

import json
import sys

import cv2
import mediapipe
import numpy as np
from mediapipe.tasks import python
from mediapipe.tasks.python import vision


def main(file: str, *images: str) -> None:
    """Classify each image and write a list of results to standard output."""
    options = vision.ImageClassifierOptions(
        base_options=python.BaseOptions(model_asset_path=file), max_results=-1
    )
    found = []
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for path in images:
            rgb = np.ascontiguousarray(cv2.imread(path, cv2.IMREAD_COLOR)[..., ::-1])
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)
            result = classifier.classify(image)
            found.append(
                {
                    head.head_name: {entry.category_name: entry.score for entry in head.categories}
                    for head in result.classifications
                }
            )
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
