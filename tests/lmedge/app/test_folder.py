"""The folder that `lmedge app` writes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmedge.app import folder as module
from lmedge.app.folder import write_app
from lmedge.app.icons import icon
from lmedge.errors import LmedgeError, MissingDependencyError
from lmedge.model_file import read_model
from tests.in_process import lmedge


def content(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {name.as_posix(): path.read_bytes() for name, path in found.items()}


def test_the_folder_holds_the_file_and_lists_every_other(tiny_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    result = lmedge("app", tiny_file, "-o", out, "--name", "Towers", "--title", "Towers & <domes>")
    assert result.returncode == 0, result.stderr
    found = content(out)
    about = json.loads(found.pop("app.json"))
    listed = {one["path"]: (one["bytes"], one["sha256"]) for one in about["files"]}
    assert listed == {
        name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in found.items()
    }
    assert found[about["model"]["file"]] == tiny_file.read_bytes()
    assert about["model"]["name"] == "tiny.tflite"
    assert b"<title>Towers &amp; &lt;domes&gt;</title>" in found["index.html"]
    manifest = json.loads(found["manifest.webmanifest"])
    assert (manifest["name"], manifest["short_name"]) == ("Towers & <domes>", "Towers")
    assert manifest["display"] == "standalone"
    for one in manifest["icons"]:
        image = cv2.imdecode(np.frombuffer(found[one["src"]], np.uint8), cv2.IMREAD_UNCHANGED)
        assert image is not None and f"{image.shape[1]}x{image.shape[0]}" == one["sizes"]
    assert {"icons/icon-32.png", "icons/icon-180.png"} <= set(found)  # named in index.html
    assert b"Apache License" in found["LICENSE.txt"]
    assert b"Google LLC" in found["litert/NOTICE.txt"]


def test_the_same_file_gives_the_same_folder_and_another_a_new_version(
    tiny_file: Path, tmp_path: Path
) -> None:
    model = read_model(tiny_file)
    for name in ("first", "second"):
        write_app(model, tmp_path / name, name="a", title="a")
    assert content(tmp_path / "first") == content(tmp_path / "second")
    write_app(model, tmp_path / "second", name="a", title="another")
    versions = [
        json.loads((tmp_path / name / "app.json").read_text("utf-8"))["version"]
        for name in ("first", "second")
    ]
    assert versions[0] != versions[1]


def test_an_older_page_is_replaced_and_nothing_else(tiny_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    model = read_model(tiny_file)
    write_app(model, out, name="a", title="a")
    (out / "model-0123456789ab.tflite").write_bytes(b"older")
    (out / "CNAME").write_text("example.org")
    write_app(model, out, name="a", title="a")
    found = content(out)
    assert [name for name in found if name.endswith(".tflite")] == [module.model_name(model)]
    assert found["CNAME"] == b"example.org"


def test_a_folder_of_something_else_is_refused(tiny_file: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = lmedge("app", tiny_file, "-o", tmp_path)
    assert result.returncode == 1
    assert "holds other files" in result.stderr
    assert content(tmp_path) == {"notes.txt": b"mine"}
    result = lmedge("app", tiny_file, "-o", tmp_path / "notes.txt")
    assert result.returncode == 1 and "is a file" in result.stderr


def test_a_damaged_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "bad.tflite").write_bytes(b"nothing")
    result = lmedge("app", tmp_path / "bad.tflite", "-o", tmp_path / "site")
    assert result.returncode == 4
    assert not (tmp_path / "site").exists()


def test_without_the_built_page_one_line_names_the_remedy(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUILT", tmp_path / "nothing")
    with pytest.raises(MissingDependencyError, match="make app"):
        write_app(read_model(tiny_file), tmp_path / "site", name="a", title="a")
    assert not (tmp_path / "site").exists()


def test_a_file_for_integer_accelerators_is_refused(tiny_file: Path, tmp_path: Path) -> None:
    import dataclasses

    model = read_model(tiny_file)
    int8 = dataclasses.replace(model, image=dataclasses.replace(model.image, dtype="int8"))
    with pytest.raises(LmedgeError, match="--io int8"):
        write_app(int8, tmp_path / "site", name="a", title="a")


def test_a_maskable_icon_fills_its_corners() -> None:
    corners = [
        cv2.imdecode(np.frombuffer(icon(64, maskable=one), np.uint8), cv2.IMREAD_UNCHANGED)[0, 0, 3]
        for one in (False, True)
    ]
    assert corners == [0, 255]
