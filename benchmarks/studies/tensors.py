"""What every operator of a file computes on this machine, for the comparison with another one.

    python -m benchmarks.studies.tensors FILE.tflite IMAGES.npz --out tensors.npz

IMAGES.npz holds `images`, (N, S, S, 3) uint8. The outputs of all operators are made outputs of the
graph: the runtime keeps those of delegated parts to itself otherwise.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from lmedge import files
from lmedge.model_file import ModelFile, read_model
from lmedge.operators import NAMES
from lmedge.runtime import load_runtime
from lmedge.teach.backbone import packed

from .common import PATH, run_study


def opened(model: ModelFile) -> tuple[bytes, list[tuple[str, int]]]:
    """Return the file with all outputs, and the name and output tensor of each operator."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(model.data, 0)
    (part,) = graph.subgraphs
    codes = [max(one.builtinCode, one.deprecatedBuiltinCode) for one in graph.operatorCodes]
    found = [(NAMES[codes[one.opcodeIndex]], int(one.outputs[0])) for one in part.operators]
    part.outputs = np.array([tensor for _, tensor in found], np.int32)
    graph.signatureDefs, graph.metadata = [], []
    return packed(graph), found


def tensors(model: ModelFile, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.generic]]:
    """Return the output of each operator, (N, ...), in the order of the file."""
    data, operators = opened(model)
    runner = load_runtime()[1](model_content=data, num_threads=1)
    runner.allocate_tensors()
    rows: list[list[npt.NDArray[np.generic]]] = [[] for _ in operators]
    for image in images:
        runner.set_tensor(runner.get_input_details()[0]["index"], image[None])
        runner.invoke()
        for row, (_, tensor) in zip(rows, operators, strict=True):
            row.append(runner.get_tensor(tensor)[0].copy())
    return [np.stack(row) for row in rows]


@click.command()
@click.argument("file", type=PATH, metavar="FILE.tflite")
@click.argument("images", type=PATH, metavar="IMAGES.npz")
@click.option("--out", type=PATH, required=True)
def main(file: Path, images: Path, out: Path) -> None:
    """Write the outputs of all operators for the images."""
    with np.load(images) as found:
        values = tensors(read_model(file), found["images"])
    with files.replacing(out) as temporary, temporary.open("wb") as stream:
        np.savez(stream, *values)


if __name__ == "__main__":
    run_study(main)
