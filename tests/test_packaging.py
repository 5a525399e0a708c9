"""Installing lmedge: what its extras bring, and what an editable install prints."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.locations import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# As pip does it: in an environment of its own, with the newest setuptools.
BUILD_EDITABLE = """
import build, build.env
with build.env.DefaultIsolatedEnv() as environment:
    builder = build.ProjectBuilder.from_isolated_env(environment, ".")
    environment.install(builder.build_system_requires)
    environment.install(builder.get_requires_for_build("editable"))
    builder.build("editable", "dist")
"""
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def brought_by(extra: str) -> set[str]:
    """Return the distributions of an extra and of the extras that it names."""
    found: set[str] = set()
    for requirement in EXTRAS[extra]:
        own = re.fullmatch(r"lmedge\[([\w,]+)\]", requirement)
        if own is None:
            found.add(re.split(r"[<>=\[;]", requirement)[0])
        else:
            found |= set().union(*map(brought_by, own[1].split(",")))
    return found


@pytest.mark.parametrize("extra", ["report", "camera", "train", "gpu", "dev"])
def test_whoever_the_readme_sends_to_benchmark_gets_its_page(extra: str) -> None:
    assert brought_by(extra) >= {"jinja2", "matplotlib"}


@pytest.mark.parametrize("extra", ["camera", "train"])
def test_recording_and_preview_come_with_the_extra(extra: str) -> None:
    assert brought_by(extra) >= {"av", "waitress", "pillow"}


def test_an_editable_install_prints_no_warning(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for folder in ("lmedge", "train", "export", "benchmarks"):
        shutil.copytree(
            ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("results", "__pycache__")
        )
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, clone)
    process = subprocess.run(
        [sys.executable, "-W", "default", "-c", BUILD_EDITABLE],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert list((clone / "dist").glob("lmedge-*.whl"))
    assert "Editable installation" not in process.stdout + process.stderr


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    found = (re.match(r"([\w.-]+)==([^\s;]+)", line) for line in lines)
    return {re.sub(r"[._-]+", "-", one[1]).lower(): one[2] for one in found if one}


class TestHashes:
    def test_every_version_of_the_constraints_has_hashes(self) -> None:
        hashed, pinned = _pins("hashes.txt"), _pins("constraints.txt")
        assert pinned.items() <= hashed.items()
        text = (ROOT / "hashes.txt").read_text("utf-8")
        for entry in re.split(r"\n(?=[A-Za-z])", text)[1:]:
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry

    def test_what_builds_is_pinned_and_hashed(self) -> None:
        toml = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        (requirement,) = toml["build-system"]["requires"]
        name, version = requirement.split("==")
        assert _pins("hashes.txt")[name] == version

    @pytest.mark.parametrize(
        ("name", "floor"), [("waitress", (3, 0, 1)), ("jinja2", (3, 1, 6)), ("pillow", (11, 3))]
    )
    def test_least_versions_lie_above_known_advisories(
        self, name: str, floor: tuple[int, ...]
    ) -> None:
        wanted = [one for extra in EXTRAS.values() for one in extra if one.startswith(f"{name}>=")]
        assert wanted
        for requirement in wanted:
            version = re.split(r"[,;]", requirement.split(">=")[1])[0]
            assert tuple(map(int, version.split("."))) >= floor

    def test_make_installs_with_hashes(self) -> None:
        text = (ROOT / "Makefile").read_text("utf-8")
        assert "--require-hashes -r hashes.txt" in text
