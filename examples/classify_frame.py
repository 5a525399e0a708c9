"""Classify one image and print its labels.

    python examples/classify_frame.py landmarks.tflite image.jpg

Any (H, W, 3) uint8 array can take the place of the image file: a frame of a camera, a crop, a
screenshot. Pass `color="bgr"` if it comes from OpenCV.
"""

from __future__ import annotations

import argparse

from lmedge import Classifier, read_image


def main() -> None:
    """Read the arguments, classify, print."""
    parser = argparse.ArgumentParser(description="Classify one image and print its labels.")
    parser.add_argument("file", help="a .tflite made by `lmedge export`")
    parser.add_argument("image", help="a JPEG, PNG or other image file")
    arguments = parser.parse_args()

    classifier = Classifier(arguments.file)
    frame = read_image(arguments.image, classifier.model.size)  # no larger than needed
    prediction = classifier.classify(frame)

    if not prediction.known:
        print("not a landmark that the file knows; the nearest are:")
    for candidate in prediction.top:
        print(f"{candidate.probability:6.1%}  {candidate.landmark}  ({candidate.category})")


if __name__ == "__main__":
    main()
