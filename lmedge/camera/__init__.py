"""A camera, a video or pictures, classified frame by frame.

>>> with open_source(0) as source:  # doctest: +SKIP
...     run_camera(Classifier("x.tflite"), source, [Recorder("labelled.mp4", source.rate)])
"""

from .frames import BgrPicture, Frame, Source
from .loop import End, Summary, run_camera, stopping_on_signals
from .overlay import annotate
from .recorder import Recorder
from .sinks import JsonLines, LabelLines, Result, Sink
from .smoothing import Smoother
from .sources import LiveSource, PictureSource, VideoSource, open_source
from .window import Window

__all__ = [
    "BgrPicture",
    "End",
    "Frame",
    "JsonLines",
    "LabelLines",
    "LiveSource",
    "PictureSource",
    "Recorder",
    "Result",
    "Sink",
    "Smoother",
    "Source",
    "Summary",
    "VideoSource",
    "Window",
    "annotate",
    "open_source",
    "run_camera",
    "stopping_on_signals",
]
