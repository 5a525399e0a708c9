"""The runtime behind one small class: a file that it has tried, ready for images."""

from __future__ import annotations

import functools
import logging
import os

from .base_file import BaseFile
from .model_file import ModelFile
from .runner import FeatureRunner, GraphRunner
from .runtime import load_runtime
from .trial import survive

_log = logging.getLogger(__name__)


class Interpreter(GraphRunner):
    """A GraphRunner of a file that was run in a child process first."""

    def __init__(
        self,
        model: ModelFile,
        threads: int = 1,
        *,
        delegate: str | os.PathLike[str] | None = None,
        trusted: bool = False,
        runtime: str | None = None,
    ) -> None:
        """Load the graph.

        Args:
            model: The checked file.
            threads: Threads of the runtime, at least 1.
            delegate: Path of a TFLite delegate, a shared library for an accelerator.
            trusted: False runs the file in a child process first, see trial.py.
            runtime: One of RUNTIMES; None takes the first one installed.

        Raises:
            ModelFileError: This runtime cannot run the file, or it takes too much.
            LmedgeError: The delegate cannot be loaded, or `threads` is below 1.
            MissingDependencyError: The runtime is not installed.
        """
        _prepare(model, runtime, trusted=trusted)
        super().__init__(model, threads, delegate=delegate, runtime=runtime)


class FeatureInterpreter(FeatureRunner):
    """A FeatureRunner of a base that was run in a child process first."""

    def __init__(
        self,
        base: BaseFile,
        threads: int = 1,
        *,
        trusted: bool = False,
        runtime: str | None = None,
    ) -> None:
        """Load the graph; arguments and errors are those of an Interpreter."""
        _prepare(base, runtime, trusted=trusted)
        super().__init__(base, threads, runtime=runtime)


def _prepare(model: ModelFile | BaseFile, runtime: str | None, *, trusted: bool) -> None:
    if load_runtime(runtime)[0] == "tflite_runtime":
        _warn_once()
    if not trusted:
        survive(model, runtime)


@functools.cache
def _warn_once() -> None:
    _log.warning(
        "tflite-runtime runs int8 files many times slower than LiteRT; if there is a wheel for "
        "this machine, run `pip install ai-edge-litert`"
    )
