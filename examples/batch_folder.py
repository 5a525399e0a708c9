"""Classify every image below a folder and write a CSV file.

    python examples/batch_folder.py landmarks.tflite photographs labels.csv

`lmedge predict FILE FOLDER --csv` does the same on all cores; start from here to add columns.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from lmedge import Classifier, LmedgeError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".heic"}


def main() -> None:
    """Read the arguments, classify the images in the order of their paths, write the table."""
    parser = argparse.ArgumentParser(description="Classify the images below a folder.")
    parser.add_argument("file", help="a .tflite made by `lmedge export`")
    parser.add_argument("folder", type=Path, help="a folder of images")
    parser.add_argument("table", type=Path, help="the CSV file to write")
    arguments = parser.parse_args()

    classifier = Classifier(arguments.file)
    images = sorted(p for p in arguments.folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    written = 0
    with arguments.table.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "landmark", "category", "probability", "known"])
        for path in images:
            try:
                answer = classifier.classify_file(path)
            except LmedgeError as error:  # a damaged file: name it and go on
                print(error, file=sys.stderr)
                continue
            probability = f"{answer.landmark_probability:.6f}"
            table.writerow([path, answer.landmark, answer.category, probability, answer.known])
            written += 1
    print(f"{written} of {len(images)} images -> {arguments.table}")


if __name__ == "__main__":
    main()
