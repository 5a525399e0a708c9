"""Run the camera loop with a sink of your own: count how long each landmark was in view.

    python examples/camera_sink.py landmarks.tflite 0
    python examples/camera_sink.py landmarks.tflite walk.mp4

A sink has three methods: `take` gets each result, `absent` is called while a live camera gives no
frames, and `close` is called once at the end. `take` and `absent` return False to end the loop.
"""

from __future__ import annotations

import argparse
from collections import Counter

from lmedge import Classifier
from lmedge.camera import Absence, FrameResult, open_source, run_camera, stopping_on_signals


class CountFrames:
    """Count the frames that show each landmark."""

    def __init__(self) -> None:
        self.frames: Counter[str] = Counter()

    def take(self, result: FrameResult) -> bool:
        """Count one frame."""
        self.frames[result.prediction.landmark if result.known else "(unknown)"] += 1
        return True

    def absent(self, absence: Absence) -> bool:
        """Print that the camera is away, and go on."""
        print(absence.message)
        return True

    def close(self) -> None:
        """Print the counts, the most frequent landmark first."""
        for landmark, frames in self.frames.most_common():
            print(f"{frames:6d}  {landmark}")


parser = argparse.ArgumentParser(description="Count the frames that show each landmark.")
parser.add_argument("file", help="a .tflite made by `lmedge export`")
parser.add_argument("source", help="a camera's number, an address, a video or a folder")
arguments = parser.parse_args()
with open_source(arguments.source) as source, stopping_on_signals(source):
    summary = run_camera(Classifier(arguments.file), source, [CountFrames()])
print(f"{summary.frames} frames; {summary.end}")
