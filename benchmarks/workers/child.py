"""The child process of a `Worker`: one file in one runtime, run on request.

It is started by its path, with the Python of the environment that holds the runtime. That
environment needs numpy and the runtime, but not lmedge. So nothing of lmedge is imported at the
top, and `classifier`, the one kind that needs it, takes the package of the parent.

Messages are bytes on a socket (`multiprocessing.connection`, never pickled). A request is a JSON
object, followed by the bytes of an image if it has a `shape`. The reply is one JSON object.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

MISSING = 8  # exit code of lmedge's MissingDependencyError

Spec = Mapping[str, Any]
Answer = dict[str, list[float]]


class Runner(Protocol):
    """One loaded file; `label` is name and version of its runtime."""

    label: str

    def load(self, image: Any) -> None:
        """Set the image, (H, W, 3) uint8 RGB, for `step`."""

    def step(self) -> None:
        """Run once; this is the part that is timed."""

    def answer(self) -> Answer:
        """Return the probabilities of the last step, a list of floats a head."""


class JpegFile:
    """A JPEG file that exists as long as the process."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self._folder.name) / "image.jpg")

    def write(self, image: Any) -> None:
        """Write (H, W, 3) uint8 RGB in the quality that cameras use."""
        import cv2

        cv2.imwrite(self.path, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])


class ClassifierRunner:
    """`lmedge.Classifier`: a frame of any size to labels, with a given runtime.

    With `bgr` the frame has OpenCV's order of colours, which the step turns. With `jpeg` it is a
    file, which the step reads.
    """

    def __init__(self, spec: Spec) -> None:
        _use_package("lmedge", Path(spec["package"]))
        from lmedge.classifier import Classifier
        from lmedge.image import read_image
        from lmedge.runtime import load_runtime, runtime_label

        runtime = spec["runtime"]
        # Discarded, since the parent warns once: the warning of a slow runtime belongs to no frame.
        self.label = runtime_label(load_runtime(runtime)[0])
        self._classifier = Classifier(spec["file"], threads=spec["threads"], runtime=runtime)
        self._color: Any = "bgr" if spec.get("bgr") else "rgb"
        self._jpeg = JpegFile() if spec.get("jpeg") else None
        self._read = read_image

    def load(self, image: Any) -> None:  # noqa: D102  (as Runner's, like all below)
        if self._jpeg is not None:
            self._jpeg.write(image)
        else:
            self._frame = image if self._color == "rgb" else image[..., ::-1].copy()

    def step(self) -> None:  # noqa: D102
        if self._jpeg is not None:
            self._frame = self._read(self._jpeg.path, self._classifier.model.size)
        self._prediction = self._classifier.classify(self._frame, color=self._color)

    def answer(self) -> Answer:  # noqa: D102
        found = self._prediction
        return {
            "landmark": found.landmark_marginal.tolist(),
            "category": found.category_marginal.tolist(),
            "joint": found.joint.tolist(),
        }


class InterpreterRunner:
    """The bare interpreter of LiteRT or tflite-runtime; `plain` keeps XNNPACK out of LiteRT's."""

    def __init__(self, spec: Spec) -> None:
        package = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}[spec["runtime"]]
        module = importlib.import_module(f"{package}.interpreter")
        self.label = _label(package.replace("_", "-"))
        options: dict[str, Any] = {}
        if spec.get("plain"):
            plain = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            options["experimental_op_resolver_type"] = plain
        self._data = Path(spec["file"]).read_bytes()  # read in place: must live as long
        self._runner = module.Interpreter(
            model_content=self._data, num_threads=spec["threads"], **options
        )
        self._runner.allocate_tensors()
        self._image = spec["image"]
        self._heads = {name: head["index"] for name, head in spec["heads"].items()}
        self.step = self._runner.invoke

    def load(self, image: Any) -> None:  # noqa: D102
        self._runner.set_tensor(self._image, image[None])

    def answer(self) -> Answer:  # noqa: D102
        return {
            name: self._runner.get_tensor(index)[0].tolist() for name, index in self._heads.items()
        }


class OnnxRunner:
    """onnxruntime on the CPU; input and outputs are bound once, so that a step copies nothing."""

    def __init__(self, spec: Spec) -> None:
        import onnxruntime

        self.label = _label("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = spec["threads"]
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            spec["file"], options, providers=["CPUExecutionProvider"]
        )
        self._value = onnxruntime.OrtValue
        self._binding = self._session.io_binding()
        self._names = [output.name for output in self._session.get_outputs()]
        for name in self._names:
            self._binding.bind_output(name)

    def load(self, image: Any) -> None:  # noqa: D102
        name = self._session.get_inputs()[0].name
        self._held = self._value.ortvalue_from_numpy(image[None])
        self._binding.bind_ortvalue_input(name, self._held)

    def step(self) -> None:  # noqa: D102
        self._session.run_with_iobinding(self._binding)

    def answer(self) -> Answer:  # noqa: D102
        values = self._binding.copy_outputs_to_cpu()
        return {name: one[0].tolist() for name, one in zip(self._names, values, strict=True)}


class OpenvinoRunner:
    """OpenVINO on the CPU, hinted to latency; the heads are bound by their tensors' names.

    Its default is bfloat16 if the processor has it; `precision` names another. The label contains
    the precision in use.
    """

    def __init__(self, spec: Spec) -> None:
        import openvino

        core = openvino.Core()
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": spec["threads"]}
        if spec.get("precision"):
            options["INFERENCE_PRECISION_HINT"] = spec["precision"]
        compiled = core.compile_model(core.read_model(spec["file"]), "CPU", options)
        used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.label = f"{_label('openvino')} ({used})"
        self._request = compiled.create_infer_request()
        self._tensor = openvino.Tensor
        self._heads = {
            name: next(
                place
                for place, output in enumerate(compiled.outputs)
                if head["tensor"] in output.get_names()
            )
            for name, head in spec["heads"].items()
        }

    def load(self, image: Any) -> None:  # noqa: D102
        self._held = image[None].copy()
        self._request.set_input_tensor(self._tensor(self._held, shared_memory=True))

    def step(self) -> None:  # noqa: D102
        self._request.infer()

    def answer(self) -> Answer:  # noqa: D102
        return {
            name: self._request.get_output_tensor(place).data[0].tolist()
            for name, place in self._heads.items()
        }


class MediapipeRunner:
    """MediaPipe's ImageClassifier: a frame of any size to labels; unreported scores are NaN.

    The frame has OpenCV's order of colours, which the step turns. With `jpeg` it is a file, which
    MediaPipe reads.
    """

    def __init__(self, spec: Spec) -> None:
        import cv2
        import mediapipe
        from mediapipe.tasks import python
        from mediapipe.tasks.python import vision

        self.label = _label("mediapipe")
        self._opencv, self._mediapipe = cv2, mediapipe
        base = python.BaseOptions(model_asset_path=spec["file"])
        options = vision.ImageClassifierOptions(base_options=base, max_results=-1)
        self._classifier = vision.ImageClassifier.create_from_options(options)
        self._labels = {name: head["labels"] for name, head in spec["heads"].items()}
        self._jpeg = JpegFile() if spec.get("jpeg") else None

    def load(self, image: Any) -> None:  # noqa: D102
        if self._jpeg is not None:
            self._jpeg.write(image)
        else:
            self._frame = image[..., ::-1].copy()

    def step(self) -> None:  # noqa: D102
        if self._jpeg is not None:
            image = self._mediapipe.Image.create_from_file(self._jpeg.path)
        else:
            rgb = self._opencv.cvtColor(self._frame, self._opencv.COLOR_BGR2RGB)
            image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=rgb)
        self._found = self._classifier.classify(image)

    def answer(self) -> Answer:  # noqa: D102
        found = {head.head_name: head.categories for head in self._found.classifications}
        if not set(self._labels) <= set(found):
            raise ValueError(f"its heads are {sorted(found)}, not {sorted(self._labels)}")
        answer: Answer = {}
        for name, labels in self._labels.items():
            scores = {entry.category_name: entry.score for entry in found[name]}
            if not set(scores) <= set(labels):
                raise ValueError(f"its {name} labels are others than those of the file")
            answer[name] = [scores.get(label, float("nan")) for label in labels]
        return answer


KINDS: dict[str, Callable[[Spec], Runner]] = {
    "classifier": ClassifierRunner,
    "interpreter": InterpreterRunner,
    "onnxruntime": OnnxRunner,
    "openvino": OpenvinoRunner,
    "mediapipe": MediapipeRunner,
}


def serve(connection: Connection) -> None:
    """Answer requests until the other end is closed; the first is `open`, which comes once."""
    runner: Runner | None = None
    while True:
        try:
            request = json.loads(connection.recv_bytes())
            shape = request.get("shape")
            image = None if shape is None else _image(connection.recv_bytes(), shape)
        except EOFError:
            return
        try:
            if request["do"] == "open":
                runner = KINDS[request["kind"]](request)
                reply: dict[str, Any] = {"label": runner.label}
            else:
                assert runner is not None, "open comes first"
                reply = _do(runner, request, image)
        except ImportError as error:
            reply = {"error": str(error), "missing": error.name, "code": MISSING}
        except Exception as error:  # sent to the other end, which ends both
            message = f"{error}" or type(error).__name__
            reply = {"error": message, "code": getattr(error, "exit_code", 1)}
        connection.send_bytes(json.dumps(reply).encode())


def _do(runner: Runner, request: Mapping[str, Any], image: Any) -> dict[str, Any]:
    if image is not None:
        runner.load(image)
    for _ in range(request.get("warm", 0)):
        runner.step()
    start = time.perf_counter_ns()
    runner.step()
    taken = time.perf_counter_ns() - start
    return {
        "ns": taken,
        "processor_s": time.process_time(),
        "answer": runner.answer() if request["do"] == "answer" else None,
    }


def _image(data: bytes, shape: list[int]) -> Any:
    import numpy as np

    return np.frombuffer(data, np.uint8).reshape(shape)


def _label(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"


def _use_package(name: str, folder: Path) -> None:
    """Import a package from `folder`, and from nowhere else, whatever is installed here."""
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    # No neighbour of this file may pass for a package of the same name.
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).parent)]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and that ends this
    serve(Connection(int(sys.argv[1])))
