"""A base: read with the checks of any other file, run, shown, refused where heads are needed."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lmedge import trial
from lmedge.archive import NO_CHECKSUM, content_digest, read_archive
from lmedge.base_file import BaseFile, bare_base, parse_any, parse_base, read_base
from lmedge.commands.inspect import inspect
from lmedge.errors import ModelFileError
from lmedge.golden import verify_base
from lmedge.image import Resize
from lmedge.interpreter import FeatureInterpreter
from lmedge.metadata import Card, pack
from lmedge.model_file import ModelFile, parse_model, read_model
from tests import tiny_file as tiny

PATH = Path("base.tflite")


@pytest.fixture(scope="module")
def data() -> bytes:
    return tiny.base_bytes()


@pytest.fixture
def base(data: bytes) -> BaseFile:
    return parse_base(data, PATH)


def with_info(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a base after `change` changed its lmedge.json, with a right checksum."""
    begin, files = read_archive(data)
    info = json.loads(files["lmedge.json"])
    change(info)
    info["content_sha256"] = NO_CHECKSUM
    text = json.dumps(info).encode()
    files["lmedge.json"] = text
    digest = content_digest(files)
    files["lmedge.json"] = text.replace(NO_CHECKSUM.encode(), digest.encode(), 1)
    stream = io.BytesIO(data[:begin])
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return stream.getvalue()


def test_its_facts_are_those_of_its_graph(base: BaseFile) -> None:
    assert base.size == tiny.SIZE
    assert base.features.shape == (1, 3)
    assert base.features.dtype == "int8"
    assert base.scale == pytest.approx(1 / 57)
    assert base.zero_point == 114 - 128
    assert base.resize is Resize.CROP
    assert base.info["kind"] == "base"
    assert "hierarchy" not in base.info


@pytest.mark.parametrize("trusted", [True, False])
def test_its_features_are_what_the_graph_computes(base: BaseFile, trusted: bool) -> None:
    image = np.full((tiny.SIZE, tiny.SIZE, 3), (0, 114, 255), np.uint8)
    found = FeatureInterpreter(base, trusted=trusted).run(image)
    assert found.dtype == np.int8
    values = (found.astype(np.float64) - base.zero_point) * base.scale
    assert values == pytest.approx([-2.0, 0.0, 141 / 57], abs=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_survives_its_trial(
    base: BaseFile, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_survived", set())
    monkeypatch.setattr(trial.threading, "active_count", lambda: threads)  # 2: in a new process
    trial.survive(base)
    assert (base.sha256, None) in trial._survived


def test_its_golden_answers_are_compared(data: bytes) -> None:
    assert verify_base(parse_base(data, PATH)).identical

    def one_step_more(info: dict[str, Any]) -> None:
        info["golden"]["features"][0][0] += 1

    found = verify_base(parse_base(with_info(data, one_step_more), PATH))
    assert (found.largest, found.identical, found.passed) == (1, False, True)

    def another(info: dict[str, Any]) -> None:
        info["golden"]["features"][0] = [-value for value in info["golden"]["features"][0]]

    assert not verify_base(parse_base(with_info(data, another), PATH)).passed


@pytest.mark.parametrize("golden", [None, 3, {"features": [[1]]}, {"features": [["a"] * 3] * 3}])
def test_golden_answers_that_are_damaged_are_one_line(data: bytes, golden: Any) -> None:
    changed = parse_base(with_info(data, lambda info: info.update(golden=golden)), PATH)
    with pytest.raises(ModelFileError, match=r"^base.tflite: its golden answers are damaged; copy"):
        verify_base(changed)


def test_where_heads_are_needed_one_line_says_to_teach_it(data: bytes) -> None:
    with pytest.raises(ModelFileError) as caught:
        parse_model(data, PATH)
    assert str(caught.value) == (
        "base.tflite: has no landmarks; teach it first: "
        "lmedge teach PHOTOGRAPHS --base base.tflite -o NEW.tflite"
    )


def test_a_file_with_heads_is_no_base(tiny_file: Path) -> None:
    with pytest.raises(ModelFileError, match=r"its outputs are \['category', 'landmark'\], not"):
        read_base(tiny_file)


def test_either_kind_is_read_as_what_it_is(data: bytes, tiny_file: Path) -> None:
    assert isinstance(parse_any(data, PATH), BaseFile)
    assert isinstance(parse_any(tiny_file.read_bytes(), tiny_file), ModelFile)


def test_a_graph_without_metadata_is_no_base() -> None:
    with pytest.raises(ModelFileError, match=r"^base.tflite: damaged or without lmedge's metadata"):
        parse_base(tiny.base_graph(), PATH)
    assert bare_base(tiny.base_graph(), PATH, Resize.CROP).features.shape == (1, 3)


def test_what_is_no_tflite_file_is_refused() -> None:
    with pytest.raises(ModelFileError, match=r"^base.tflite: not a TFLite file"):
        parse_base(b"PK" * 20, PATH)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda info: info.update(kind="other"), "its lmedge.json is not that of a base"),
        (lambda info: info.update(schema=2), "written by a newer lmedge"),
        (lambda info: info.update(model_sha256="0" * 64), "its checksum does not match"),
        (lambda info: info.update(model_bytes=17), "its archive does not follow its graph"),
        (lambda info: info.pop("preprocessing"), "damaged or without lmedge's metadata"),
        (lambda info: info["preprocessing"].update(resize="bend"), "damaged or without"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(
    data: bytes, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    with pytest.raises(ModelFileError, match=f"^base.tflite: {reason}"):
        parse_base(with_info(data, change), PATH)


def test_a_changed_byte_is_refused(data: bytes) -> None:
    place = data.index(b"a mean colour") if b"a mean colour" in data else len(data) // 2
    changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    with pytest.raises(ModelFileError, match=r"^base.tflite: "):
        parse_base(changed, PATH)


def test_features_of_another_shape_are_refused(tmp_path: Path) -> None:
    heads = Card(name="", description="", version="", taxonomy=None, size=tiny.SIZE, info={})
    with pytest.raises(ModelFileError, match=r"the graph's outputs are .* not \['features'\]"):
        pack(tiny.graph(), heads)
    with pytest.raises(ModelFileError, match=r"the graph's outputs are \['features'\], not"):
        pack(tiny.base_graph(), dataclasses.replace(heads, taxonomy=tiny.TAXONOMY))


class TestInspect:
    def shown(self, data: bytes, tmp_path: Path, *words: str) -> str:
        (tmp_path / "base.tflite").write_bytes(data)
        found = CliRunner().invoke(inspect, [str(tmp_path / "base.tflite"), *words])
        assert found.exit_code == 0, found.output
        return found.output

    def test_the_card_of_a_base_has_its_origin(self, data: bytes, tmp_path: Path) -> None:
        card = " ".join(self.shown(data, tmp_path, "--verify").split())
        assert "a base of 3 features, without landmarks" in card
        assert "licence Apache-2.0" in card
        assert "the answers are those of the export" in card

    def test_the_same_as_json(self, data: bytes, tmp_path: Path) -> None:
        card = json.loads(self.shown(data, tmp_path, "--json", "--verify"))
        assert card["info"]["kind"] == "base"
        assert card["verification"]["identical"] is True
        assert "golden" not in card["info"]


@pytest.mark.parametrize("command", ["predict", "camera", "app", "benchmark", "labels"])
def test_commands_say_in_one_line_that_it_has_no_landmarks(
    command: str, data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from lmedge import cli

    file = tmp_path / "base.tflite"
    file.write_bytes(data)
    words = {
        "predict": [str(file)],
        "camera": ["--headless", "--source", str(tmp_path)],
        "app": ["-o", str(tmp_path / "site")],
    }.get(command, [])
    with pytest.raises(SystemExit) as caught:
        cli.main([command, str(file), *words])
    printed = capsys.readouterr()
    assert caught.value.code == 4
    assert len(printed.err.splitlines()) == 1
    assert "has no landmarks; teach it first: lmedge teach" in printed.err
    assert read_base(file).sha256
    with pytest.raises(ModelFileError, match="has no landmarks"):
        read_model(file)
