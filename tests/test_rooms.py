"""The rooms of docs/architecture.md: who may import what, and what a start costs."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import lmedge

ROOT = Path(__file__).parents[1]
DEVICE = {"numpy", "cv2", "ai_edge_litert", "tflite_runtime", "flatbuffers", "click", "rich"}
CAMERA = {"av", "bottle", "waitress", "PIL", "picamera2"}  # optional, in lmedge/camera/ alone
# Modules that run in the environment of a peer, where that package is; none imports it at its top.
PEERS = {
    "benchmarks/workers/child.py": {"onnxruntime", "openvino", "mediapipe"},
    "benchmarks/peers/draw_onnx.py": {"onnx", "onnxruntime"},
}
DOORS = {
    # folder: (packages from outside, or None for any; prefixes of ours, or exact with no dot)
    "lmedge": (DEVICE, {"lmedge"}),
    "benchmarks": (DEVICE | {"jinja2", "matplotlib"}, {"lmedge", "lmedge.benchmarks"}),
    "train": (None, {"lmedge", "lmedge.train"}),
    "export": (None, {"lmedge", "lmedge.export", "lmedge.train"}),
}
ROOMS = {"lmedge.train", "lmedge.export", "lmedge.benchmarks"}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path, folder: str) -> Iterator[str]:
    """Yield the absolute name of everything a module imports, at its top or inside a function."""
    inside = path.relative_to(ROOT / folder).parent.parts
    package = ("lmedge", *(() if folder == "lmedge" else (folder,)), *inside)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            # `from lmedge import train` names a room as well
            yield from (f"{name}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", DOORS)
def test_a_room_imports_only_through_its_doors(folder: str) -> None:
    outside, ours = DOORS[folder]
    assert modules(folder)
    for path in modules(folder):
        for name in imports(path, folder):
            top = name.split(".")[0]
            if top == "lmedge":
                room = next((room for room in ROOMS if f"{name}.".startswith(f"{room}.")), "lmedge")
                assert room in ours, f"{path}: {name}"
            elif outside is not None and top != "_typeshed":
                optional = CAMERA if path.parent == ROOT / "lmedge" / "camera" else set()
                optional = optional | PEERS.get(path.relative_to(ROOT).as_posix(), set())
                assert top in outside | optional | set(sys.stdlib_module_names), f"{path}: {name}"


def test_export_knows_the_run_and_the_network_of_train_only() -> None:
    allowed = {"run", "network", "calibration", "backbones", "backend"}
    for path in modules("export"):
        for name in imports(path, "export"):
            if name.startswith("lmedge.train."):
                assert name.split(".")[2] in allowed, f"{path}: {name}"


def test_device_and_benchmarks_import_without_tensorflow() -> None:
    code = """
import importlib, pkgutil, sys
import lmedge, lmedge.benchmarks
names = [m.name for m in pkgutil.walk_packages(lmedge.__path__, "lmedge.")]
names += [m.name for m in pkgutil.walk_packages(lmedge.benchmarks.__path__, "lmedge.benchmarks.")]
names = [name for name in names if not name.startswith(("lmedge.train", "lmedge.export"))]
for name in names:
    importlib.import_module(name)
heavy = {"tensorflow", "tf_keras", "sklearn", "scipy", "matplotlib", "jinja2", "onnx",
         "onnxruntime", "openvino", "mediapipe"} & set(sys.modules)
assert not heavy, heavy
print(len(set(names)))
"""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) > 20


def test_help_is_shown_at_once() -> None:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        process = lmedge("--help")
        seconds.append(time.perf_counter() - start)
        assert process.returncode == 0
    assert "doctor" in process.stdout
    assert statistics.median(seconds) < 0.3
