"""Outputs of a file on this machine, to the last bit, for the comparison with another machine.

    python -m benchmarks.studies.answers FILE.tflite IMAGES.txt --out answers.npz

Every image is read and prepared as `lmedge predict` does it. With `--input OTHER.npz` the network
runs on the bytes that the other machine prepared. Preparation and network are so compared apart.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from lmedge import files
from lmedge.errors import DataError
from lmedge.image import prepare, read_image
from lmedge.interpreter import Interpreter
from lmedge.model_file import HEADS, ModelFile, read_model
from lmedge.runner import Output
from lmedge.runtime import load_runtime
from lmedge.teach.backbone import packed

from .common import PATH, run_study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """`prepared`: (N, S, S, 3) uint8; `landmark` (N, L) and `category` (N, C) probabilities.

    `logits`: (N, L + C) int8, the last integers of both heads, before temperature and softmax in
    float32; no columns for a file that has none. `seconds` is the mean time of one image in the
    network.
    """

    prepared: npt.NDArray[np.uint8]
    logits: npt.NDArray[np.int8]
    landmark: Output
    category: Output
    seconds: float


def answer(file: Path, paths: list[Path], given: npt.NDArray[np.uint8] | None) -> Answers:
    """Prepare the images and run the file on them, or on `given`, with one thread.

    Raises DataError for an image that cannot be read, ModelFileError for a file that cannot run.
    """
    model = read_model(file)
    prepared = np.stack(
        [prepare(read_image(path, model.size), model.size, model.resize) for path in paths]
    )
    images = prepared if given is None else given
    logits = _logits(model, images)
    # The first run in a child process has a limit of seconds, which an emulated one may exceed.
    interpreter = Interpreter(model, 1, trusted=True)
    start = time.perf_counter()
    found = [interpreter.run(image)[:2] for image in images]
    seconds = (time.perf_counter() - start) / len(found)
    landmark, category = (np.stack(head) for head in zip(*found, strict=True))
    return Answers(
        prepared=prepared, logits=logits, landmark=landmark, category=category, seconds=seconds
    )


def integer_part(model: ModelFile) -> bytes | None:
    """Return the graph up to the last int8 tensor of each head, landmark first; None without one.

    The runtime delegates whole parts of a graph, so that the values of an inner tensor are only
    available when the graph ends there.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(model.data, 0)
    (part,) = graph.subgraphs
    maker = {output: one for one in part.operators for output in one.outputs.tolist()}
    ends: list[int] = []
    for head in HEADS:
        tensor = model.heads[head].index
        while part.tensors[tensor].type != schema.TensorType.INT8:
            if tensor not in maker:
                return None
            tensor = int(maker[tensor].inputs[0])
        ends.append(tensor)
    needed, open_ends = set(), list(ends)
    while open_ends:
        one = maker.get(open_ends.pop())
        if one is not None and id(one) not in needed:
            needed.add(id(one))
            open_ends += one.inputs.tolist()
    part.operators = [one for one in part.operators if id(one) in needed]
    part.outputs = np.array(ends, np.int32)
    graph.signatureDefs, graph.metadata = [], []
    return packed(graph)


def _logits(model: ModelFile, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    data = integer_part(model)
    if data is None:
        return np.zeros((len(images), 0), np.int8)
    runner = load_runtime()[1](model_content=data, num_threads=1)
    runner.allocate_tensors()
    rows = []
    for image in images:
        runner.set_tensor(runner.get_input_details()[0]["index"], image[None])
        runner.invoke()
        ends = [runner.get_tensor(one["index"])[0] for one in runner.get_output_details()]
        rows.append(np.concatenate(ends))
    return np.stack(rows)


def load(path: Path) -> Answers:
    """Read the file of an earlier call. Raises DataError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Answers(
                prepared=stored["prepared"],
                logits=stored["logits"],
                landmark=stored["landmark"],
                category=stored["category"],
                seconds=float(stored["seconds"]),
            )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: holds no answers ({error})") from error


@click.command()
@click.argument("file", type=PATH, metavar="FILE.tflite")
@click.argument("images", type=PATH, metavar="IMAGES.txt")
@click.option("--input", "other", type=PATH, metavar="OTHER.npz")
@click.option("--out", type=PATH, required=True, metavar="ANSWERS.npz")
def main(file: Path, images: Path, other: Path | None, out: Path) -> None:
    """Write prepared images and probabilities of both heads; IMAGES.txt has a path a line."""
    try:
        paths = [Path(line) for line in images.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{images}: cannot be read ({error})") from error
    found = answer(file, paths, None if other is None else load(other).prepared)
    with files.replacing(out) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            prepared=found.prepared,
            logits=found.logits,
            landmark=found.landmark,
            category=found.category,
            seconds=found.seconds,
        )


if __name__ == "__main__":
    run_study(main)
