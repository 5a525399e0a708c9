"""The rooms of docs/architecture.md: who may import what, and what a start costs."""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.locations import ROOT

DEVICE = {
    *("numpy", "cv2", "simplejpeg", "ai_edge_litert", "tflite_runtime", "flatbuffers"),
    *("click", "rich"),
}
# What a part of the device package may import beyond DEVICE: the extra that it names.
EXTRAS = {
    "lmedge/app": {"segno"},
    "lmedge/camera": {"av", "waitress", "PIL", "picamera2", "paho", "prometheus_client"},
    "lmedge/deploy/signing.py": {"cryptography"},
    "lmedge/report": {"jinja2", "matplotlib"},
    "lmedge/pixels.py": {"PIL", "pi_heif"},
}
# A part of the device package that is narrower than its room: numpy and click alone.
NARROW = {"lmedge/evaluation": {"numpy", "click"}}
# Modules that run in the environment of a peer, where that package is; none imports it at its top.
PEERS = {"benchmarks/workers/child.py": {"onnxruntime", "openvino", "mediapipe"}}
DOORS = {
    # folder: (packages from outside, or None for any; rooms of ours)
    "lmedge": (DEVICE, {"lmedge"}),
    "benchmarks": (DEVICE, {"lmedge", "lmedge.benchmarks"}),
    "train": (None, {"lmedge", "lmedge.train"}),
    "export": (None, {"lmedge", "lmedge.export", "lmedge.train"}),
}
ROOMS = {"lmedge.train", "lmedge.export", "lmedge.benchmarks"}
STUDIES = ROOT / "benchmarks" / "studies"


def modules(folder: str) -> list[Path]:
    """Return the modules of a room. The studies stand in one and belong to none."""
    found = sorted((ROOT / folder).rglob("*.py"))
    return [path for path in found if not path.is_relative_to(STUDIES)]


def package_of(path: Path) -> tuple[str, ...]:
    """Return the import name of the package that a module lies in."""
    parts = path.relative_to(ROOT).parent.parts
    return parts if parts[0] == "lmedge" else ("lmedge", *parts)


def module_name(path: Path) -> str:
    """Return the import name of a module or package."""
    return ".".join(package_of(path) + (() if path.stem == "__init__" else (path.stem,)))


def statements(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[str, str, bool]]:
    """Yield (module, name taken from it or "", whether when it is loaded) of each import."""
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        or (isinstance(function, ast.If) and "TYPE_CHECKING" in ast.dump(function.test))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", id(node) not in inner) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            yield from ((name, alias.name, id(node) not in inner) for alias in node.names)


def imports(path: Path) -> Iterator[str]:
    """Yield the absolute name of everything a module imports, at its top or inside a function."""
    for name, taken, _ in statements(ast.parse(path.read_text("utf-8")), package_of(path)):
        # `from lmedge import train` names a room as well
        yield f"{name}.{taken}" if taken else name


def allowed_outside(path: Path, outside: set[str]) -> set[str]:
    """Return the packages from outside that one module may import."""
    relative = path.relative_to(ROOT)
    for part, only in NARROW.items():
        if relative.is_relative_to(part):
            return only
    extra = set().union(*(more for part, more in EXTRAS.items() if relative.is_relative_to(part)))
    return outside | extra | PEERS.get(relative.as_posix(), set())


@pytest.mark.parametrize("folder", DOORS)
def test_a_room_imports_only_through_its_doors(folder: str) -> None:
    outside, ours = DOORS[folder]
    assert modules(folder)
    for path in modules(folder):
        for name in imports(path):
            top = name.split(".")[0]
            if top == "lmedge":
                room = next((room for room in ROOMS if f"{name}.".startswith(f"{room}.")), "lmedge")
                assert room in ours, f"{path}: {name}"
            elif outside is not None and top != "_typeshed":
                known = allowed_outside(path, outside) | set(sys.stdlib_module_names)
                assert top in known, f"{path}: {name}"


def test_export_knows_the_run_and_the_network_of_train_only() -> None:
    allowed = {
        "run",
        "description",
        "arrays",
        "network",
        "calibration",
        "backbones",
        "backend",
        "out_of_fold",
    }
    for path in modules("export"):
        for name in imports(path):
            if name.startswith("lmedge.train."):
                assert name.split(".")[2] in allowed, f"{path}: {name}"


def graph(*, loaded: bool) -> Mapping[str, set[str]]:
    """Return which of our modules each imports; `loaded`: without imports inside functions."""
    paths = {module_name(path): path for folder in DOORS for path in modules(folder)}
    arrows: dict[str, set[str]] = {name: set() for name in paths}
    for name, path in paths.items():
        for base, taken, top in statements(ast.parse(path.read_text("utf-8")), package_of(path)):
            whole = f"{base}.{taken}"
            target = whole if whole in paths else base
            if target in paths and target != name and (top or not loaded):
                arrows[name].add(target)
    return arrows


def circles(arrows: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the sets of modules that reach each other (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []
    count = itertools.count()

    def visit(name: str) -> None:
        index[name] = low[name] = next(count)
        stack.append(name)
        for other in arrows[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            start = stack.index(name)
            found.append(set(stack[start:]))
            del stack[start:]

    for name in arrows:
        if name not in index:
            visit(name)
    return [members for members in found if len(members) > 1]


def test_the_wheel_names_every_package() -> None:
    """A package that is not named works from a clone and is missing where it is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    named = set(project["tool"]["setuptools"]["packages"])
    own = {".".join(package_of(path)) for folder in DOORS for path in modules(folder)}
    assert own - named == set()
    data = set(project["tool"]["setuptools"]["package-data"])
    assert named - own <= data, "the others hold data"


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]


@pytest.mark.parametrize("loaded", [True, False], ids=["when loaded", "inside functions too"])
def test_no_modules_import_each_other_in_a_circle(loaded: bool) -> None:
    assert not circles(graph(loaded=loaded))


def test_a_public_name_stands_for_one_thing() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for folder in DOORS:
        for path in modules(folder):
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_":
                    places[node.name].append(module_name(path))
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert not twice


def test_device_and_benchmarks_import_without_tensorflow() -> None:
    code = """
import importlib, pkgutil, sys
import lmedge, lmedge.benchmarks
names = [m.name for m in pkgutil.walk_packages(lmedge.__path__, "lmedge.")]
names += [m.name for m in pkgutil.walk_packages(lmedge.benchmarks.__path__, "lmedge.benchmarks.")]
apart = ("lmedge.train", "lmedge.export", "lmedge.benchmarks.studies", "lmedge.__main__")
names = [name for name in names if not name.startswith(apart)]
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
    """The modules that it loads are counted: a clock would measure the machine's other work."""
    words = [sys.executable, "-X", "importtime", "-m", "lmedge", "--help"]
    process = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "doctor" in process.stdout
    loaded = [line.rpartition("|")[2].strip() for line in process.stderr.splitlines()]
    ours = {name for name in loaded if name.startswith("lmedge.")}
    assert ours == {
        f"lmedge.{name}"
        for name in ("cli", "errors", "harmless", "processes", "progress", "streams")
    }
    outside = {name.split(".")[0] for name in loaded}
    assert not outside & (DEVICE - {"click"} | {"tensorflow", "tf_keras", "matplotlib"})
    assert 50 < len(loaded) < 200
