"""A camera, a video or images, classified frame by frame.

>>> with open_source(0) as source:  # doctest: +SKIP
...     run_camera(Classifier("x.tflite"), source, [Recorder("labelled.mp4")])
"""

from .choice import Choice
from .frames import Absence, BgrImage, Frame, Source, View
from .loop import End, Summary, run_camera, stopping_on_signals
from .overlay import annotate
from .recorder import Recorder
from .sinks import JsonLines, LabelLines, Result, Sink
from .smoothing import UNSMOOTHED, Smoother, Steadiness, Steady
from .sources import ImageSource, LiveSource, VideoSource, open_source
from .window import Window

__all__ = [
    "UNSMOOTHED",
    "Absence",
    "BgrImage",
    "Choice",
    "End",
    "Frame",
    "ImageSource",
    "JsonLines",
    "LabelLines",
    "LiveSource",
    "Recorder",
    "Result",
    "Sink",
    "Smoother",
    "Source",
    "Steadiness",
    "Steady",
    "Summary",
    "VideoSource",
    "View",
    "Window",
    "annotate",
    "open_source",
    "run_camera",
    "stopping_on_signals",
]
