"""A whole export: what is written, what is refused, and that nothing half-made stays behind."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lmedge.errors import GateError, LmedgeError, ModelFileError, RunError
from lmedge.export import convert, exporting, features, formats
from lmedge.export.exporting import report_path
from lmedge.export.verification import verify as verify_module
from lmedge.export.verification.gate import Limits
from lmedge.golden import verify
from lmedge.model_file import HEADS, read_model
from lmedge.teach.base import Base
from lmedge.teach.photographs import ReadPhotographs, read_photographs
from lmedge.teach.teaching import Lesson, teach_file
from lmedge.train.network import load_network
from lmedge.train.run import Run
from tests import small_run
from tests.locations import ROOT

if TYPE_CHECKING:
    from tests.export.conftest import Exported


def destroy(_: Run, __: Any, quantized: Any) -> None:
    """Stand in for a fine-tuning that ruins the network."""
    rng = np.random.default_rng(0)
    quantized.set_weights(
        [rng.permutation(value.ravel()).reshape(value.shape) for value in quantized.get_weights()]
    )


class TestWritten:
    def test_the_file_and_its_report_and_nothing_else(self, exported: Exported) -> None:
        names = sorted(path.name for path in exported.path.parent.iterdir())
        assert names == ["a file.export.json", "a file.tflite"]
        assert exported.path.read_bytes() == exported.outcome.file.data
        assert read_model(exported.path).taxonomy == exported.run.taxonomy

    def test_the_report(self, exported: Exported) -> None:
        report = json.loads(report_path(exported.path).read_text("utf-8"))
        assert report["schema"] == 1
        assert report["file"] == "a file.tflite"
        assert report["bytes"] == exported.path.stat().st_size
        judged = report["gate"]
        assert (judged["tolerance"], judged["problems"], judged["passed"]) == (0.01, [], True)
        assert [change["head"] for change in judged["changes"]] == list(HEADS)
        for change in judged["changes"]:
            assert change["low"] <= change["difference"] <= change["high"]
        assert [part["part"] for part in report["parts"]] == ["val", "test"]
        for part in report["parts"]:
            for side in ("float", "file"):
                assert set(part[side]["landmark"]["classes"]) == set(small_run.LANDMARKS)
        stages = {"load", "calibration", "quantization", "fine-tuning", "conversion"}
        assert stages <= set(report["seconds"])
        assert report["provenance"]["split_sha256"] == exported.run.split.digest()

    def test_it_answers_here_as_it_did(self, exported: Exported) -> None:
        assert verify(read_model(exported.path)).identical

    def test_it_remembers_what_was_learned(self, exported: Exported, tmp_path: Path) -> None:
        """As a file that is taught the same photographs, so that lessons add up exactly."""
        base, run = Base.open(exported.path), exported.run
        learned = [entry.image for part in ("train", "val") for entry in run.entries(part)]
        for image in learned:
            place = tmp_path / image.category / image.landmark / image.path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image.path, place)
        again = read_photographs(tmp_path, base.backbone).found
        found = base.recalled()
        assert found.hierarchy == again.hierarchy
        for name, rows in again.landmarks.items():
            assert np.array_equal(found.landmarks[name], rows)
        assert (
            base.trained_f1
            == read_model(exported.path).info["metrics"]["test"]["file"]["landmark"]["macro_f1"]
        )
        path, renamed = tmp_path / "new.tflite", again.renamed("old bridge", "new bridge")
        one = teach_file(base, None, Lesson(rename=[("old bridge", "new bridge")]), path)
        read = ReadPhotographs(found=renamed, names={}, skipped=0)
        two = teach_file(base, read, Lesson(), path)
        assert two.file.info["model_sha256"] == one.file.info["model_sha256"]
        assert two.file.info["taught"] == one.file.info["taught"]

    def test_it_forgets_if_asked(self, exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
        entry, files = features.learned_features(exported.run, exported.graph, forget=True)
        assert (entry["taught"]["features"], files) == (None, {})

        def nothing(_: bytes) -> bytes:
            raise ModelFileError("has no pooled features")

        monkeypatch.setattr(features, "cut", nothing)
        assert features.learned_features(exported.run, b"", forget=False) == ({}, {})

    def test_nothing_is_done_twice(self, exported: Exported) -> None:
        epochs = exported.run.recipe.quantize.epochs
        assert exported.calls == {
            "pack": 1,
            "parse_model": 1,
            "float network on val": 1,
            "float network on test": 1,
            "int8 network on val": 1 + epochs,  # once for the weights of each epoch
        }

    def test_the_same_run_gives_the_same_bytes(self, exported: Exported, tmp_path: Path) -> None:
        again = exporting.export_format(
            exported.run,
            tmp_path / exported.path.name,
            "int8",
            exporting.Options(limits=Limits(tolerance=0.01)),
        )
        assert again.file.data == exported.outcome.file.data

    def test_the_run_folder_is_not_touched(self, exported: Exported) -> None:
        assert not list(exported.run.folder.rglob("*.tflite"))
        assert Run.open(exported.run.folder) == exported.run


@pytest.fixture(scope="module")
def ruined_graph(exported: Exported) -> bytes:
    """The bare graph of a network that fine-tuning destroyed."""
    from lmedge.export.quantization import lower
    from lmedge.export.quantization import scheme as quantize

    lowered = lower.lower(load_network(exported.run))
    ruined = quantize.quantize(lowered, {layer.name: (-6.0, 6.0) for layer in lowered.layers[1:]})
    destroy(exported.run, None, ruined)
    return convert.to_int8(ruined, {"landmark": 1.0, "category": 1.0})


class TestGate:
    @pytest.fixture
    def ruined(
        self, exported: Exported, ruined_graph: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> Run:
        """Let every export come to the ruined graph, without the minutes in between."""
        monkeypatch.setattr(formats.RunNetworks, "quantized", lambda _: exported.quantized)
        monkeypatch.setattr(convert, "to_int8", lambda *_: ruined_graph)
        return exported.run

    def test_a_ruined_network_is_refused(
        self, ruined: Run, tmp_path: Path, main: Callable[..., tuple[int, str, str]]
    ) -> None:
        path = tmp_path / "made" / "x.tflite"
        code, _, said = main("-q", "export", ruined.folder, "--int8", "-o", path)
        assert code == GateError.exit_code == 6
        (line,) = said.splitlines()
        assert "was not written: " in line
        assert "macro F1 fell by" in line
        assert str(report_path(path)) in line
        assert "--force" in line
        assert [found.name for found in path.parent.iterdir()] == ["x.export.json"]
        report = json.loads(report_path(path).read_text("utf-8"))
        assert not report["gate"]["passed"]
        assert report["gate"]["problems"]

    def test_an_earlier_file_is_left_alone(self, ruined: Run, tmp_path: Path) -> None:
        path = tmp_path / "x.tflite"
        path.write_bytes(b"an earlier export")
        report_path(path).write_text("of the earlier export")
        with pytest.raises(GateError, match=r"See .*x\.refused\.json"):
            exporting.export_format(
                ruined, path, "int8", exporting.Options(limits=Limits(tolerance=0.01))
            )
        assert path.read_bytes() == b"an earlier export"
        assert report_path(path).read_text() == "of the earlier export"
        assert not json.loads(report_path(path, written=False).read_text("utf-8"))["written"]
        exporting.place_file(path, b"a better one", {"written": True})
        assert path.read_bytes() == b"a better one"
        assert sorted(found.name for found in tmp_path.iterdir()) == ["x.export.json", "x.tflite"]

    def test_force_writes_it_with_its_failure_inside(
        self, ruined: Run, tmp_path: Path, main: Callable[..., tuple[int, str, str]]
    ) -> None:
        path = tmp_path / "x.tflite"
        code, out, said = main("-q", "export", ruined.folder, "--int8", "-o", path, "--force")
        assert code == 0
        assert "forced: " in said
        assert "macro F1 fell" in said
        assert str(path) in out.replace("\n", "")
        gate = read_model(path).info["gate"]
        assert "macro F1 fell by" in " ".join(gate["problems"])

    def test_a_wide_tolerance_lets_it_pass(self, ruined: Run, tmp_path: Path) -> None:
        outcome = exporting.export_format(
            ruined,
            tmp_path / "x.tflite",
            "int8",
            exporting.Options(limits=Limits(tolerance=1.0, class_tolerance=1.0)),
        )
        assert outcome.findings.verdict.passed
        assert (tmp_path / "x.tflite").exists()

    def test_a_file_that_packing_changed_is_not_written(
        self, ruined: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The graph gives other outputs for the golden images than the file does."""
        exact = verify_module.golden_answers

        def moved(*words: Any, **more: Any) -> dict[str, list[list[float]]]:
            answers = exact(*words, **more)
            answers["landmark"][0][0] += 0.01
            return answers

        monkeypatch.setattr(verify_module, "golden_answers", moved)
        options = exporting.Options(limits=Limits(tolerance=1.0, class_tolerance=1.0))
        with pytest.raises(LmedgeError, match="outputs changed as it was packed"):
            exporting.export_format(ruined, tmp_path / "x.tflite", "int8", options)
        assert not list(tmp_path.iterdir())

    def test_an_interrupt_leaves_nothing(
        self, ruined: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(verify_module, "run_file", stop)
        with pytest.raises(KeyboardInterrupt):
            exporting.export_format(
                ruined,
                tmp_path / "x.tflite",
                "int8",
                exporting.Options(limits=Limits(tolerance=0.01)),
            )
        assert not list(tmp_path.iterdir())


class TestRefused:
    def test_a_run_that_has_not_ended(
        self, exported: Exported, tmp_path: Path, main: Callable[..., tuple[int, str, str]]
    ) -> None:
        for name in ("run.json", "recipe.toml", "split.csv"):
            (tmp_path / name).write_bytes((exported.run.folder / name).read_bytes())
        code, _, said = main("-q", "export", tmp_path, "--int8", "-o", tmp_path / "x.tflite")
        assert code == RunError.exit_code == 5
        assert "training has not ended" in said
        assert len(said.splitlines()) == 1

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (["-o", "x.bin"], 2, "must end in .tflite"),
            (["--tolerance", "-1"], 2, "--tolerance"),
            (["-o", "folder.tflite"], 1, "is a folder"),
        ],
    )
    def test_a_mistake_before_the_work(
        self,
        exported: Exported,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        main: Callable[..., tuple[int, str, str]],
        words: list[str],
        code: int,
        told: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(exporting, "export_format", None)
        (tmp_path / "folder.tflite").mkdir()
        found, _, said = main("export", exported.run.folder, "--int8", *words)
        assert found == code
        assert told in said

    def test_mistakes_are_found_before_tensorflow_is_loaded(
        self, exported: Exported, tmp_path: Path
    ) -> None:
        run, out = str(exported.run.folder), ["-o", str(tmp_path / "x.tflite")]
        unfinished = tmp_path / "unfinished"
        unfinished.mkdir()
        for name in ("run.json", "recipe.toml", "split.csv"):
            (unfinished / name).write_bytes((exported.run.folder / name).read_bytes())
        mistakes = [
            [run, "--int8", "--auto", *out],
            [run, "--format", "float32", "--explain", *out],
            [run, "--int8", "-o", "x.bin"],
            [run, "--int8", "--unknown", str(tmp_path), *out],
            [run, "--int8", "--set", "quantize.epochs=many", *out],
            [str(tmp_path), "--int8", *out],
            [str(unfinished), "--int8", *out],
        ]
        code = f"""
import sys
from lmedge import cli
for words in {mistakes!r}:
    try:
        cli.main(["export", *words])
    except SystemExit as stop:
        print(stop.code)
    assert "tensorflow" not in sys.modules, words
"""
        process = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, process.stderr
        assert process.stdout.split() == ["2", "2", "2", "3", "10", "5", "5"]

    def test_int8_has_to_be_asked_for(
        self, exported: Exported, main: Callable[..., tuple[int, str, str]]
    ) -> None:
        code, _, said = main("export", exported.run.folder)
        assert code == 2
        assert "--int8" in said


class TestWithoutValidation:
    @pytest.fixture(scope="class")
    def run(self, exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Run:
        """The finished run as if all of its validation part had been trained on."""
        folder = tmp_path_factory.mktemp("without") / "run"
        old = exported.run
        parts = dict(old.split.parts)
        parts["train"], parts["val"] = (*parts["train"], *parts["val"]), ()
        run = dataclasses.replace(old, folder=folder, split=type(old.split)(parts))
        run.create()
        weights = (old.folder / "weights.safetensors").read_bytes()
        (folder / "weights.safetensors").write_bytes(weights)
        return run

    def test_it_is_refused_before_the_minutes_of_work(
        self,
        run: Run,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        main: Callable[..., tuple[int, str, str]],
    ) -> None:
        monkeypatch.setattr(exporting, "export_format", None)
        code, _, said = main("export", run.folder, "--int8", "-o", tmp_path / "x.tflite")
        assert code == 6
        assert "neither a validation part nor out-of-fold predictions to judge a file by" in said
        assert "quantize.epochs" not in said  # which cannot help

    def test_it_is_refused_for_that_reason(
        self, run: Run, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(convert, "to_int8", lambda *_: exported.graph)
        with pytest.raises(GateError, match="no validation part to judge the file by"):
            exporting.export_format(
                run, tmp_path / "x.tflite", "int8", exporting.Options(limits=Limits(tolerance=0.01))
            )
        assert not (tmp_path / "x.tflite").exists()
        monkeypatch.setattr(formats.RunNetworks, "quantized", lambda _: exported.quantized)
        exporting.export_format(
            run,
            tmp_path / "x.tflite",
            "int8",
            exporting.Options(limits=Limits(tolerance=0.01), force=True),
        )
        assert "no validation part" in read_model(tmp_path / "x.tflite").info["gate"]["problems"][0]


class TestFullDisk:
    @pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
    def test_nothing_half_written_is_left(
        self, exported: Exported, ruined_graph: bytes, tmp_path: Path
    ) -> None:
        """The disk does not take the file. Only the quantization is left out."""
        graph = tmp_path / "graph.tflite"
        graph.write_bytes(exported.graph)
        code = f"""
from pathlib import Path
from tests import tiny_backbone
from lmedge import cli
from lmedge.export import convert, formats
formats.RunNetworks.quantized = lambda source: source.network
convert.to_int8 = lambda *_: Path({str(graph)!r}).read_bytes()
with tiny_backbone.installed():
    cli.main({["-q", "export", str(exported.run.folder), "--int8", "-o", "out/x.tflite"]!r})
"""
        limit = len(exported.graph) - 1000
        process = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            timeout=120,
            check=False,
        )
        assert process.returncode == 1, process.stderr
        (line,) = process.stderr.splitlines()
        assert "cannot write out/x.tflite: File too large" in line
        assert not list((tmp_path / "out").iterdir())
