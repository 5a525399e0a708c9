"""The TFLite runtime of this Python: LiteRT, or tflite-runtime if a device has only that."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from .errors import LmedgeError, MissingDependencyError
from .machine import package_version

# The name that a person gives a runtime -> its import name, in the order of preference.
RUNTIMES = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
# Import name -> distribution.
RUNTIME_PACKAGES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}


def load_runtime(wanted: str | None = None) -> tuple[str, Any]:
    """Return the import name and the `Interpreter` class of a runtime.

    Args:
        wanted: One of RUNTIMES; None takes the first one installed.

    Raises:
        MissingDependencyError: The runtime is not installed, or none is.
        LmedgeError: No runtime has this name.
    """
    if wanted is not None and wanted not in RUNTIMES:
        raise LmedgeError(f"no runtime is called {wanted}; choose {' or '.join(RUNTIMES)}")
    for name in RUNTIMES.values() if wanted is None else [RUNTIMES[wanted]]:
        try:
            module = __import__(f"{name}.interpreter", fromlist=["Interpreter"])
        except ImportError:
            continue
        return name, module.Interpreter
    if wanted is not None:
        package = RUNTIME_PACKAGES[RUNTIMES[wanted]]
        raise MissingDependencyError(f"{wanted} is not installed; run `pip install {package}`")
    raise MissingDependencyError(
        "no TFLite runtime is installed; run `pip install ai-edge-litert` (or tflite-runtime)"
    )


def load_delegate(runtime: str, path: str | os.PathLike[str]) -> Any:
    """Load a delegate, a shared library with TFLite's plug-in interface.

    Args:
        runtime: Import name of the runtime that will use it.
        path: The shared library.

    Raises:
        LmedgeError: The library cannot be loaded, or is no delegate.
    """
    try:
        library = ctypes.CDLL(os.fspath(path))
    except OSError as error:
        raise LmedgeError(f"{path}: cannot be loaded as a delegate ({error})") from error
    if not hasattr(library, "tflite_plugin_create_delegate"):
        raise LmedgeError(f"{path}: a library, but no TFLite delegate; check the path")
    module = __import__(f"{runtime}.interpreter", fromlist=["load_delegate"])
    try:
        return module.load_delegate(os.fspath(path))
    except (ValueError, RuntimeError, OSError) as error:
        raise LmedgeError(
            f"{path}: the delegate does not start ({error}); is its device connected?"
        ) from error


def runtime_label(runtime: str) -> str:
    """Return name and version of a runtime, given by its import name."""
    package = RUNTIME_PACKAGES.get(runtime, runtime)
    return f"{package} {package_version(package) or '(version unknown)'}"


def installed_runtime() -> str:
    """Return name and version of the runtime that will be used, without importing it."""
    for runtime, package in RUNTIME_PACKAGES.items():
        if package_version(package):
            return runtime_label(runtime)
    return "no runtime"
