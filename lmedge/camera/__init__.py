"""Classification of a camera, a video or images, frame by frame.

>>> with open_source(0) as source:  # doctest: +SKIP
...     run_camera(Classifier("x.tflite"), source, [Recorder("labelled.mp4")])
"""

from .capture import CaptureOptions
from .choice import Choice
from .frames import Absence, BgrImage, Frame, FrameSource, FrameView
from .live import LiveSource
from .loop import CameraSummary, End, run_camera, stopping_on_signals
from .overlay import annotate
from .recorder import Recorder
from .sinks import FrameResult, JsonLines, LabelLines, Sink
from .smoothing import UNSMOOTHED, Smoother, Steadiness, Steady
from .sources import ImageSource, VideoSource, open_source
from .window import Window

__all__ = [
    "UNSMOOTHED",
    "Absence",
    "BgrImage",
    "CameraSummary",
    "CaptureOptions",
    "Choice",
    "End",
    "Frame",
    "FrameResult",
    "FrameSource",
    "FrameView",
    "ImageSource",
    "JsonLines",
    "LabelLines",
    "LiveSource",
    "Recorder",
    "Sink",
    "Smoother",
    "Steadiness",
    "Steady",
    "VideoSource",
    "Window",
    "annotate",
    "open_source",
    "run_camera",
    "stopping_on_signals",
]
