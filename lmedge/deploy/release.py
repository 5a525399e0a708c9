"""A release: a file with the settings that it runs with, as release.json holds them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from ..errors import DeployError
from ..harmless import json_text
from .state import GRACE

RELEASE_FILE = "release.json"
ENVIRONMENT = re.compile(r"[0-9a-f]{16}")
RELEASE_ID = re.compile(r"[0-9a-f]{64}-[0-9a-f]{8}")
_SCHEMA = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Release:
    """A file with the settings that it runs with.

    Attributes:
        file: Name of the .tflite file.
        sha256: Of its bytes.
        environment: Name of the environment that runs it.
        lmedge: Version of lmedge in that environment.
        source: The source of frames.
        capture: Words of `lmedge camera` about the source, after the file.
        arguments: Its other words.
        budget_ms: Milliseconds that a classification may take at the 90th percentile; None has no
            limit.
        least_rate: Frames a second below which the release is not well.
        watch: Seconds for which a release on trial must classify frames.
        grace: Seconds that its trial has besides those of the watch, for starts on a slow board.
        stall: Seconds without a classified frame after which the camera is started again.
        memory_mb: Megabytes beyond which a release on trial is not well; None has no limit.
    """

    file: str
    sha256: str
    environment: str
    lmedge: str = ""
    source: str = "0"
    capture: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    budget_ms: float | None = None
    least_rate: float = 0.5
    watch: float = 30.0
    grace: float = GRACE
    stall: float = 60.0
    memory_mb: int | None = None

    @property
    def name(self) -> str:
        """The name of its folder: the SHA-256 of the file, and eight digits of the rest."""
        rest = json.dumps(dataclasses.asdict(self), sort_keys=True).encode()
        return f"{self.sha256}-{hashlib.sha256(rest).hexdigest()[:8]}"

    def text(self) -> str:
        """Return the text of release.json."""
        return json_text({"schema": _SCHEMA, **dataclasses.asdict(self)}, indent=2) + "\n"


def release_of(found: Any, place: object) -> Release:
    """Return the release in a value of JSON. Raises DeployError if it holds none."""
    try:
        values = dict(found)
        if values.pop("schema") != _SCHEMA:
            raise ValueError("written by a newer lmedge")
        for words in ("capture", "arguments"):
            values[words] = tuple(map(str, values[words]))
        release = Release(**values)
        if not ENVIRONMENT.fullmatch(release.environment):
            raise ValueError("environment")
        if not RELEASE_ID.fullmatch(release.name) or Path(release.file).name != release.file:
            raise ValueError("name")
        numbers = (release.least_rate, release.watch, release.grace, release.stall)
        if not all(isinstance(number, int | float) for number in numbers):
            raise ValueError("numbers")
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise DeployError(f"{place}: no release ({error}); deploy it again") from error
    return release
