"""The errors that lmedge raises on purpose: one tree, each class with an exit code.

A message is one line: the file, the problem, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator


class LmedgeError(Exception):
    """The root of the tree: something failed that the user can act on."""

    exit_code = 1


class DeviceError(LmedgeError):
    """The device or the cluster to train on is not there; the exit code is the root's."""


class TrialError(LmedgeError):
    """A command of one trial of a comparison failed; the exit code is the root's."""


class DataError(LmedgeError):
    """Photographs or their folders cannot be used as they are."""

    exit_code = 3


class ModelFileError(LmedgeError):
    """A .tflite file is damaged, not one of ours, or does not fit this runtime."""

    exit_code = 4


class RunError(LmedgeError):
    """A run folder is incomplete, damaged, or from a newer version."""

    exit_code = 5


class GateError(LmedgeError):
    """The exported or taught file is worse than is allowed."""

    exit_code = 6


class SourceError(LmedgeError):
    """A camera, video or image source does not open or ended in an error."""

    exit_code = 7


class MissingDependencyError(LmedgeError):
    """A package of an optional extra is not installed."""

    exit_code = 8


class WeightsError(LmedgeError):
    """Pretrained weights cannot be reached or do not fit the network."""

    exit_code = 9


class RecipeError(LmedgeError):
    """A recipe names an unknown key or an impossible value."""

    exit_code = 10


class CameraLostError(SourceError):
    """A camera or stream went away and did not come back within the time given."""

    exit_code = 11


class RegressionError(LmedgeError):
    """A benchmark got worse than another by more than was allowed."""

    exit_code = 12


class DivergedError(LmedgeError):
    """A training came to a value that is not finite."""

    exit_code = 15


class HostError(LmedgeError):
    """Another machine cannot be reached, refuses, or was lost on the way."""

    exit_code = 13


class WorkersDifferError(LmedgeError):
    """The workers of one training have other photographs, settings or versions."""

    exit_code = 16


class WorkerLostError(LmedgeError):
    """Another worker of a training did not come, ended, or is not heard of any more."""

    exit_code = 17


class DeployError(LmedgeError):
    """A board refused a release, or went back to the one before; `reason` is one of a fixed list.

    `lmedge.deploy.state.Reason` is the list; None means that something else went wrong.
    """

    exit_code = 14

    def __init__(self, message: str, reason: str | None = None) -> None:
        """Take the line and the reason."""
        super().__init__(message)
        self.reason = reason


def kinds(root: type[LmedgeError] = LmedgeError) -> Iterator[type[LmedgeError]]:
    """Yield every class of the tree, the root of each branch before its leaves."""
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def error_class(exit_code: int) -> type[LmedgeError] | None:
    """Return the class of an exit code, None when no class has it."""
    return next((kind for kind in kinds() if kind.exit_code == exit_code), None)
