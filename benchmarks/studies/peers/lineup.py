"""Runtimes to measure, each on each format of one network, as workers."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.benchmarks.workers.parent import Worker, bare, classifier
from lmedge.errors import LmedgeError
from lmedge.model_file import ModelFile

from .graph import write_graph

NETWORK, FRAME = "the network alone", "640 x 480 BGR frame to labels"
SMALL_JPEG, LARGE_JPEG = "640 x 480 JPEG file to labels", "12-megapixel JPEG file to labels"
BUILD = Path(__file__).with_name("build_onnx.py")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """One worker, the file that it runs, and its work in a step.

    `work`: NETWORK, FRAME, SMALL_JPEG or LARGE_JPEG. `target`: the least ratio of its time to that
    of the first of the same work which the project wants.
    """

    name: str
    work: str
    worker: Worker
    bytes: int
    target: float | None = None


@dataclasses.dataclass(frozen=True)
class Files:
    """The same network four times; `folder` holds float32.onnx and int8.onnx."""

    int8: ModelFile
    float32: ModelFile
    folder: Path

    def onnx(self, name: str) -> Path:
        """Return the path of float32.onnx or int8.onnx."""
        return self.folder / f"{name}.onnx"


def build_onnx(files: Files, python: Path, images: npt.NDArray[np.uint8]) -> None:
    """Write float32.onnx and int8.onnx, calibrated on images, (N, S, S, 3) uint8 RGB.

    Raises LmedgeError when the environment's onnx or onnxruntime fails.
    """
    write_graph(files.float32, files.folder)
    np.save(files.folder / "images.npy", images)
    done = subprocess.run(
        [python, BUILD, files.folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise LmedgeError(f"{files.float32.path}: cannot be built as ONNX ({last})")


def line_up(stack: contextlib.ExitStack, files: Files, pythons: Mapping[str, Path]) -> list[Place]:
    """Start every worker whose environment is there; the first of each work is ours."""
    ours, whole = files.int8, files.float32
    places: list[Place] = []

    def add(name: str, work: str, worker: Worker, file: Path, target: float | None = None) -> None:
        places.append(
            Place(
                name=name,
                work=work,
                worker=stack.enter_context(worker),
                bytes=file.stat().st_size,
                target=target,
            )
        )

    def network(
        kind: str,
        peer: str,
        name: str,
        model: ModelFile,
        file: Path | None = None,
        target: float | None = None,
        **options: str,
    ) -> None:
        if peer in pythons:
            if kind == "interpreter":
                options["runtime"] = peer
            worker = bare(kind, model, pythons[peer], name=name, file=file, **options)
            add(name, NETWORK, worker, file or model.path, target)

    network("interpreter", "litert", "LiteRT int8", ours)
    network("interpreter", "litert", "LiteRT float32", whole, target=2.0)
    if "onnxruntime" in pythons:
        float32, int8 = files.onnx("float32"), files.onnx("int8")
        network("onnxruntime", "onnxruntime", "onnxruntime float32", whole, float32)
        network("onnxruntime", "onnxruntime", "onnxruntime int8", whole, int8, target=1.4)
    network("openvino", "openvino", "OpenVINO float32", whole, target=2.0, precision="f32")
    network("openvino", "openvino", "OpenVINO float32 (its default)", whole, target=2.0)
    network("openvino", "openvino", "OpenVINO int8", ours, target=2.0)
    network("interpreter", "tflite-runtime", "tflite-runtime float32", whole)
    network("interpreter", "tflite-runtime", "tflite-runtime int8", ours, target=15.0)
    for work, suffix in ((FRAME, ""), (SMALL_JPEG, ", small JPEG"), (LARGE_JPEG, ", large JPEG")):
        jpeg = work != FRAME
        name = f"lmedge Classifier{suffix}"
        options: dict[str, bool] = {"bgr": not jpeg, "jpeg": jpeg}
        add(
            name,
            work,
            classifier(name, ours.path, "litert", pythons["litert"], **options),
            ours.path,
        )
        if "mediapipe" in pythons:
            name = f"MediaPipe ImageClassifier{suffix}"
            worker = bare("mediapipe", ours, pythons["mediapipe"], name=name, jpeg=jpeg)
            add(name, work, worker, ours.path, target=1.15)
    return places


def answers(
    places: Sequence[Place], images: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the landmark probabilities of each, (N, L); NaN for a score not reported."""
    return {
        place.name: np.stack([place.worker.answer(image)["landmark"] for image in images])
        for place in places
    }
