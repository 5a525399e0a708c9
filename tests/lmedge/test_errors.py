"""The tree of errors: every class of every room in one module, each with a documented code."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

import pytest

from lmedge.errors import CameraLostError, LmedgeError, error_class, kinds
from tests.locations import ROOT

ROOMS = ("lmedge", "train", "export", "benchmarks")


def test_every_class_of_the_tree_lives_in_one_module() -> None:
    names = {kind.__name__ for kind in kinds()}
    assert "CameraLostError" in names  # a branch of a branch
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            if path == ROOT / "lmedge" / "errors.py":
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                bases = node.bases if isinstance(node, ast.ClassDef) else []
                inherited = {getattr(base, "id", getattr(base, "attr", "")) for base in bases}
                assert not inherited & names, f"{path}: move {node} to lmedge/errors.py"


def test_a_code_stands_for_one_kind_and_is_documented() -> None:
    text = (ROOT / "docs" / "formats.md").read_text("utf-8")
    table = text.partition("## Exit codes\n")[2].partition("\n## ")[0]
    documented: dict[int, set[str]] = {}
    for line in table.splitlines():
        code, names = line.split("|")[1:3] if line.startswith("|") else ("", "")
        if code.strip().isdigit():
            documented[int(code)] = set(re.findall(r"`(\w+)`", names))
    found: dict[int, set[str]] = defaultdict(set)
    for kind in kinds():
        found[kind.exit_code].add(kind.__name__)
    assert {code: names for code, names in documented.items() if names} == found
    # The codes of Python and click are theirs; below the root's every code has one kind.
    assert not {0, 2, 130} & set(found)
    assert all(len(names) == 1 for code, names in found.items() if code != LmedgeError.exit_code)


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
def test_the_class_of_a_code_is_found_at_any_depth(kind: type[LmedgeError]) -> None:
    found = error_class(kind.exit_code)
    assert found is (LmedgeError if kind.exit_code == LmedgeError.exit_code else kind)


def test_an_unknown_code_has_no_class() -> None:
    assert error_class(77) is None
    assert error_class(11) is CameraLostError
