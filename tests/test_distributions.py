"""The sdist and the wheel: each installs in a fresh environment and works there."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.locations import ROOT

pytestmark = pytest.mark.slow

# What commands read beside the modules.
DATA = [
    "lmedge/py.typed",
    "lmedge/camera/preview.html",
    "lmedge/field/label.html",
    "lmedge/field/templates/drift.html.jinja",
    "lmedge/teach/base.tflite",
    "lmedge/train/recipes/default.toml",
    "lmedge/train/recipes/study.toml",
    "lmedge/benchmarks/templates/report.html.jinja",
    "lmedge/report/style.css",
]


def run(*command: object, cwd: Path) -> str:
    """Run a command away from the clone and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build the sdist from the clone, and the wheel from the sdist alone."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--quiet", "--outdir", folder, ROOT, cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def test_the_sdist_holds_its_license_and_readme(built: dict[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "LICENSE",
        "NOTICE",
        "README.md",
        "pyproject.toml",
        "train/recipes/default.toml",
    } <= names


def test_the_wheel_holds_the_data_and_the_license(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        names = set(archive.namelist())
    assert set(DATA) <= names
    for text in ("LICENSE", "NOTICE"):
        assert any(name.endswith(f".dist-info/licenses/{text}") for name in names)


def product_files() -> set[str]:
    """Return what an installation needs, as it is named in the wheel, from the clone."""
    found = set()
    for room in ("lmedge", "train", "export", "benchmarks"):
        for path in (ROOT / room).rglob("*"):
            inside = path.relative_to(ROOT)
            left_out = inside.parts[:2] in {("benchmarks", "studies"), ("benchmarks", "results")}
            if path.is_file() and "__pycache__" not in inside.parts and not left_out:
                found.add(("" if room == "lmedge" else "lmedge/") + inside.as_posix())
    return found


def test_the_wheel_holds_the_product_alone(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == product_files()
    assert not any("studies" in name or "tests" in name for name in names)
    suffixes = {name.rpartition(".")[2] for name in names}
    assert suffixes >= {"py", "toml", "html", "jinja", "css", "typed"}


@pytest.mark.parametrize("kind", ["sdist", "wheel"])
def test_it_installs_and_works(
    built: dict[str, Path], kind: str, tiny_file: Path, tmp_path: Path
) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python, lmedge = home / "bin" / "python", home / "bin" / "lmedge"
    # The packages of this environment, without its own lmedge: .pth files there are not read.
    (site,) = home.glob("lib/python*/site-packages")
    folders = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    (site / "packages.pth").write_text("\n".join(folders) + "\n")
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "install", "--no-deps", "--ignore-installed", built[kind], cwd=tmp_path)

    where = run(python, "-c", "import lmedge; print(lmedge.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(site)
    assert all((site / name).is_file() for name in DATA)
    assert "benchmark" in run(lmedge, "--help", cwd=tmp_path)
    assert "int8" in run(lmedge, "inspect", tiny_file, cwd=tmp_path)
    run(lmedge, "doctor", cwd=tmp_path)
    run(lmedge, "train", "--help", cwd=tmp_path)
