"""Recognise landmarks and their categories from photographs, offline, with one int8 file.

The names in `__all__` are the public surface. Each is imported when it is first used, so that the
command line starts fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classifier import Candidate, Classifier, Prediction
    from .errors import LmedgeError
    from .image import Resize, read_image
    from .model_file import ModelFile, read_model
    from .taxonomy import Taxonomy

__version__ = "0.1.0"

__all__ = [
    "Candidate",
    "Classifier",
    "LmedgeError",
    "ModelFile",
    "Prediction",
    "Resize",
    "Taxonomy",
    "__version__",
    "read_image",
    "read_model",
]

_ALIASES = {"read_picture": "read_image"}
_HOME = {
    "Candidate": "classifier",
    "Classifier": "classifier",
    "LmedgeError": "errors",
    "ModelFile": "model_file",
    "Prediction": "classifier",
    "Resize": "image",
    "Taxonomy": "taxonomy",
    "read_model": "model_file",
    "read_image": "image",
}


def __getattr__(name: str) -> Any:
    name = _ALIASES.get(name, name)
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
