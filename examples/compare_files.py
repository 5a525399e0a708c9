"""Compare two files on the same images: how often they agree, and the time of each.

    python examples/compare_files.py before.tflite after.tflite photographs

The files take turns image by image, so that what else the machine does falls on both alike.
`lmedge benchmark A B --data DIR` adds F1, intervals and a page.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from lmedge import Classifier


def main() -> None:
    """Read the arguments, classify each image with both files, print the differences."""
    parser = argparse.ArgumentParser(description="Compare two files on the same images.")
    parser.add_argument("first", help="a .tflite made by `lmedge export`")
    parser.add_argument("second", help="another")
    parser.add_argument("folder", type=Path, help="a folder of JPEG images")
    arguments = parser.parse_args()

    classifiers = [Classifier(arguments.first), Classifier(arguments.second)]
    times: list[list[float]] = [[], []]
    images = sorted(arguments.folder.rglob("*.jpg"))
    if not images:
        parser.error(f"no .jpg file in {arguments.folder}")
    same = 0
    for path in images:
        first, second = (classifier.classify_file(path) for classifier in classifiers)
        times[0].append(first.milliseconds)
        times[1].append(second.milliseconds)
        same += first.landmark == second.landmark
        if first.landmark != second.landmark:
            print(f"{path}: {first.landmark} -> {second.landmark}")
    print(f"same landmark for {same} of {len(images)} images")
    print("median ms: " + ", ".join(f"{statistics.median(each):.2f}" for each in times))


if __name__ == "__main__":
    main()
