"""A burst of a camera, taught in a child process: a file and photographs in, another file out.

The child has a low priority and none of the camera's locks, so that no frame waits for it. All
bytes go through pipes: a child whose parent was killed leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import LmedgeError, ModelFileError, error_class
from ..harmless import harmless
from ..image import decode_image
from ..machine import cores
from ..model_file import ModelFile, parse_model, teach_command
from ..processes import child_environment, python_command

LONGEST = 900.0  # seconds of a lesson, after which its process is ended
_NICE = 10  # added to the priority: a camera beside it comes first
_FIRST_TO_END = "1000"  # of oom_score_adj: if memory lacks, the system ends the lesson


@dataclasses.dataclass(frozen=True, kw_only=True)
class BurstPhotographs:
    """The photographs of a burst, and their labels.

    Attributes:
        landmark: What they show; new, or one that the file knows.
        category: Its category.
        images: Encoded images of one scene, JPEG for instance.
    """

    landmark: str
    category: str
    images: Sequence[bytes] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BurstLesson:
    """The end of a lesson.

    Attributes:
        data: The bytes of the taught file.
        problems: Why the gate refuses it; empty if it passes.
        photographs: Number of photographs of the landmark that the file now knows.
        bursts: Groups of like photographs among all.
        judged: False if the landmark has no other burst, so that nothing judges it yet.
        macro_f1: Of the landmarks, from answers without each photograph and its burst.
        seconds: Time that the lesson took.
    """

    data: bytes = dataclasses.field(repr=False)
    problems: tuple[str, ...]
    photographs: int
    bursts: int
    judged: bool
    macro_f1: float
    seconds: float


def check_teachable(model: ModelFile) -> None:
    """Raise ModelFileError with the next step if nothing can be added to a file."""
    from .memory import recall

    if recall(model) is None:
        raise ModelFileError(
            f"{model.path}: holds no features of its photographs, so that no landmark can be added "
            f"to it; make one that does: {teach_command(model.path)}"
        )


def teach_burst(model: ModelFile, burst: BurstPhotographs) -> BurstLesson:
    """Add a burst to what a file remembers, and teach it. Nothing is written.

    Raises:
        DataError: A photograph cannot be used, or its labels do not fit those of the file.
        ModelFileError: The file remembers nothing, or cannot be used as a base.
    """
    import numpy as np

    from ..trial import survive
    from .backbone import FeatureReader
    from .base import Base
    from .features import feature_set
    from .photographs import ReadPhotographs
    from .teaching import Lesson, teach_file

    began = time.monotonic()
    base = Base.of(model)
    before = base.recalled().landmarks.get(burst.landmark)
    reader, name = FeatureReader(base.backbone), burst.landmark
    names = [f"photograph {number} of the burst" for number in range(1, len(burst.images) + 1)]
    rows = [
        reader.read(decode_image(encoded, called, base.backbone.size))
        for encoded, called in zip(burst.images, names, strict=True)
    ]
    found = feature_set(
        {name: burst.category},
        {name: rows},
        [],
        zero=base.backbone.zero,
        width=base.backbone.width,
        bursts={name: [range(len(rows))]},
    )
    called_by = {(name, row.tobytes()): text for row, text in zip(rows, names, strict=True)}
    read = ReadPhotographs(found=found, names=called_by, skipped=0)
    taught = teach_file(base, read, Lesson(add=True), model.path)
    survive(taught.file)  # here, so that the camera finds the verdict
    problems = list(dict.fromkeys(taught.problems))
    own = taught.features.landmarks[name]
    if before is not None and np.array_equal(own, before):
        problems.append("the file knows these photographs already; move the camera")
    teaching = taught.teaching
    place = teaching.taxonomy.landmarks.index(name)
    return BurstLesson(
        data=taught.file.data,
        problems=tuple(problems),
        photographs=len(own),
        bursts=teaching.bursts,
        judged=bool(teaching.measured[teaching.truth["landmark"] == place].any()),
        macro_f1=float(teaching.scores["landmark"].macro_f1),
        seconds=time.monotonic() - began,
    )


class ChildTeacher:
    """Teach in a child process, one lesson at a time; `stop` ends it from another thread."""

    def __init__(self) -> None:
        """Begin without a child."""
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def __call__(self, model: ModelFile, burst: BurstPhotographs) -> BurstLesson:
        """Return what `teach_burst` does there.

        Raises:
            LmedgeError: As there, or the child was ended.
        """
        command = python_command("-m", "lmedge.teach.burst_lesson", os.fspath(model.path))
        with subprocess.Popen(
            command,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # the keyboard's signals are for the camera
        ) as child:
            self._child = child
            if self._stopped:
                child.kill()
            try:
                output, errors = child.communicate(_packed(model, burst), LONGEST)
            except subprocess.TimeoutExpired:
                child.kill()
                raise LmedgeError(
                    f"{model.path}: the lesson took longer than {LONGEST:.0f} s and was ended"
                ) from None
            finally:
                self._child = None
                if child.poll() is None:
                    child.kill()
        return _unpacked(output, model.path, child.returncode, errors)

    def stop(self) -> None:
        """End the child, and every later one."""
        self._stopped = True
        child = self._child
        if child is not None:
            with contextlib.suppress(OSError):
                child.kill()


def _environment() -> dict[str, str]:
    """Return the environment of a child that leaves a core to the camera if there are several."""
    threads = str(max(1, cores() - 1))
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {**child_environment(), **dict.fromkeys(names, threads)}


def _packed(model: ModelFile, burst: BurstPhotographs) -> bytes:
    """Return the bytes that a child reads: a line of JSON, the file, the images."""
    head = {
        "landmark": burst.landmark,
        "category": burst.category,
        "lengths": [len(model.data), *map(len, burst.images)],
    }
    return b"".join([json.dumps(head).encode(), b"\n", model.data, *burst.images])


def _unpacked(output: bytes, path: Path, code: int, errors: bytes) -> BurstLesson:
    line, _, data = output.partition(b"\n")
    try:
        head: Mapping[str, Any] = json.loads(line)
        if "error" in head:
            raise (error_class(int(head["code"])) or LmedgeError)(str(head["error"]))
        return BurstLesson(**{**head, "problems": tuple(head["problems"]), "data": data})
    except (ValueError, TypeError, KeyError):
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        why = "the system ended it, memory may lack" if code == -9 else harmless(last)
        raise LmedgeError(
            f"{path}: the lesson failed with code {code} ({why or 'no reason given'}); the file in "
            "use goes on"
        ) from None


def step_aside() -> None:
    """Lower the priority of this process, and let the system end it first if memory lacks.

    A session of its own is a group of its own for Linux, which shares the processor between such
    groups first: sched(7), "The autogroup feature". The priority of a process counts within its
    group alone, so that the group gets the same one.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICE)
    for name, value in (("autogroup", str(_NICE)), ("oom_score_adj", _FIRST_TO_END)):
        with contextlib.suppress(OSError):
            Path("/proc/self", name).write_text(value)


def _main() -> int:
    """Teach what comes in on standard input; print a line of JSON and the bytes of the file."""
    step_aside()
    head = json.loads(sys.stdin.buffer.readline())
    parts = [sys.stdin.buffer.read(length) for length in head["lengths"]]
    data = b""
    try:
        model = parse_model(parts[0], Path(sys.argv[1]))
        burst = BurstPhotographs(
            landmark=head["landmark"], category=head["category"], images=parts[1:]
        )
        lesson = teach_burst(model, burst)
        fields = dataclasses.fields(lesson)
        answer = {one.name: getattr(lesson, one.name) for one in fields if one.name != "data"}
        data = lesson.data
    except LmedgeError as error:
        answer = {"error": str(error), "code": error.exit_code}
    except MemoryError:
        answer = {"error": f"{sys.argv[1]}: too little memory for a lesson", "code": 1}
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + data)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
