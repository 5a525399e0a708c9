"""A file of another input size, and what an export may not change: the reference stays the run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lmedge.errors import GateError, RecipeError, RunError
from lmedge.export import exporting, selection
from lmedge.export.verification.gate import Limits
from lmedge.image import Resize, RgbImage, prepare, read_image
from lmedge.interpreter import Interpreter
from lmedge.model_file import HEADS, read_model
from lmedge.train.data.store import ImageEntry, ImageStore
from lmedge.train.network import load_network
from lmedge.train.run import Run
from tests import small_run

if TYPE_CHECKING:
    from tests.export.conftest import Exported

SIZE = 48
LOOSE = exporting.Options(limits=Limits(tolerance=1.0, class_tolerance=1.0))


@pytest.fixture(scope="module")
def larger(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict]]:
    """An int8 file of SIZE pixels of a run of fewer, and its report by part."""
    path = tmp_path_factory.mktemp("larger") / "larger.tflite"
    run = trained.for_export([f"data.test_size={SIZE}", "quantize.epochs=0"])
    exporting.export_format(run, path, "int8", LOOSE)
    report = json.loads(exporting.report_path(path).read_text("utf-8"))
    return path, {part["part"]: part for part in report["parts"]}


class TestFile:
    def test_its_input_has_that_size(self, larger: tuple[Path, dict[str, dict]]) -> None:
        model = read_model(larger[0])
        assert model.size == model.info["preprocessing"]["size"] == SIZE
        assert model.info["provenance"]["recipe"]["data"]["image_size"] == small_run.SIZE
        assert model.info["provenance"]["recipe"]["data"]["test_size"] == SIZE

    def test_its_figures_are_of_images_of_that_size(
        self, larger: tuple[Path, dict[str, dict]], trained: Run
    ) -> None:
        model = read_model(larger[0])
        interpreter, truth = Interpreter(model), trained.labels("test")
        found = []
        for entry in trained.entries("test"):
            image = read_image(entry.image.path)
            found.append(interpreter.run(prepare(image, SIZE, Resize.SQUASH)))
        for head in HEADS:
            top = np.array([getattr(one, head).argmax() for one in found])
            alone = larger[1]["test"]["file"][f"{head}_marginal"]["accuracy"]
            assert alone == pytest.approx((top == truth[head]).mean())

    def test_the_reference_is_the_run_as_it_was_trained(
        self, larger: tuple[Path, dict[str, dict]], trained: Run
    ) -> None:
        metrics = trained.metrics()
        for part in ("val", "test"):
            for head in HEADS:
                assert larger[1][part]["float"][head] == metrics[part][head]


class TestKeys:
    @pytest.mark.parametrize(
        "setting",
        [
            "data.image_size=48",
            "data.resize=crop",
            "data.normalisation=unit",
            "data.val_fraction=0.5",
            "network.dropout=0.5",
            "strategy.phase2=distil",
            "augment.crop_scale=[0.1, 1.0]",
            "fine_tune.epochs=2",
        ],
    )
    def test_what_training_decided_is_refused(
        self,
        trained: Run,
        setting: str,
        tmp_path: Path,
        main: Callable[..., tuple[int, str, str]],
    ) -> None:
        path = tmp_path / "x.tflite"
        words = ["-q", "export", trained.folder, "--int8", "--set", setting, "-o", path]
        code, _, told = main(*words)
        assert code == RecipeError.exit_code
        assert setting.partition("=")[0] in told
        assert "an export cannot change it" in told
        assert "quantize.*, camera.* or data.test_size" in told
        assert not list(tmp_path.iterdir())

    def test_no_other_key_of_a_recipe_is_taken(self, trained: Run) -> None:
        keys = {
            f"{section}.{key}"
            for section, values in trained.recipe.as_dict().items()
            for key in values
        }
        taken = {key for key in keys if key.startswith(("quantize.", "camera."))}
        assert len(taken) > 5 and len(keys - taken) > 30
        for key in sorted(keys - taken - {"data.test_size"}):
            section, _, name = key.partition(".")
            value = trained.recipe.as_dict()[section][name]
            setting = f"{key}={json.dumps(value)}"
            with pytest.raises(RecipeError, match=rf"{re.escape(key)}: an export cannot change it"):
                trained.for_export([setting])

    def test_what_export_uses_is_taken(self, trained: Run) -> None:
        settings = ["quantize.epochs=7", "camera.dwell=2", "data.test_size=64"]
        run = trained.for_export(settings)
        assert (run.recipe.quantize.epochs, run.recipe.camera.dwell) == (7, 2.0)
        assert run.recipe.data.input_size == 64
        assert run.as_trained == run.for_export(["camera.dwell=3"]).as_trained == trained

    def test_a_mistake_is_named_as_in_training(self, trained: Run) -> None:
        with pytest.raises(RecipeError, match=r"did you mean quantize\.epochs"):
            trained.for_export(["quantize.epoch=3"])


class TestReference:
    @pytest.fixture
    def copy(self, trained: Run, tmp_path: Path) -> Path:
        return Path(shutil.copytree(trained.folder, tmp_path / "run"))

    @pytest.fixture
    def blank(self, monkeypatch: pytest.MonkeyPatch) -> int:
        """A size at which every image is black, so that no network can be right."""
        size, prepared = 64, ImageStore.prepared

        def black(store: ImageStore, entry: ImageEntry) -> RgbImage:
            image = prepared(store, entry)
            return np.zeros_like(image) if store.size == size else image

        monkeypatch.setattr(ImageStore, "prepared", black)
        return size

    def test_a_recipe_changed_by_hand_is_refused(
        self, copy: Path, tmp_path: Path, blank: int
    ) -> None:
        """The gate would compare the file with a network that nobody has measured."""
        recipe = copy / "recipe.toml"
        text = recipe.read_text("utf-8")
        before = f"image_size = {small_run.SIZE}\n"
        assert before in text
        recipe.write_text(text.replace(before, f"image_size = {blank}\n"), "utf-8")
        with pytest.raises(RunError, match=r"validation images, and metrics\.json has 1\d; put"):
            exporting.export_format(Run.open(copy), tmp_path / "x.tflite", "float32", LOOSE)
        assert not (tmp_path / "x.tflite").exists()

    def test_other_weights_are_refused(self, copy: Path, tmp_path: Path) -> None:
        from lmedge.train.arrays import read_arrays, write_arrays

        weights = copy / "weights.safetensors"
        arrays = read_arrays(weights)
        arrays["landmark/0"] = -arrays["landmark/0"]
        write_arrays(weights, arrays)
        with pytest.raises(RunError, match="train anew"):
            exporting.export_format(Run.open(copy), tmp_path / "x.tflite", "float32", LOOSE)

    @pytest.mark.parametrize("text", ['{"val": {"landmark_marginal": 3}}', '{"val": [1]}'])
    def test_damaged_metrics_are_one_line(self, copy: Path, text: str, tmp_path: Path) -> None:
        (copy / "metrics.json").write_text(text)
        with pytest.raises(RunError, match=r"metrics\.json is damaged"):
            exporting.export_format(Run.open(copy), tmp_path / "x.tflite", "float32", LOOSE)

    def test_a_size_that_costs_too_much_is_refused(
        self, trained: Run, tmp_path: Path, blank: int
    ) -> None:
        """Against the float network of that same size nothing would have been lost."""
        run = trained.for_export([f"data.test_size={blank}"])
        path = tmp_path / "x.tflite"
        with pytest.raises(GateError, match="macro F1 fell by"):
            exporting.export_format(run, path, "float32", exporting.Options())
        part = json.loads(exporting.report_path(path).read_text("utf-8"))["parts"][0]
        assert part["float"]["landmark"]["accuracy"] > part["file"]["landmark"]["accuracy"]


class TestSizes:
    def test_auto_takes_the_size_within_the_budget(
        self, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(selection, "time_files", lambda models: [float(m.size) for m in models])
        path, sizes = tmp_path / "best.tflite", (small_run.SIZE, SIZE)
        candidates, chosen = selection.export_fastest(
            trained, path, ("float32",), LOOSE, selection.Budget(milliseconds=40.0), sizes
        )
        assert [one.size for one in candidates] == list(sizes)
        assert read_model(path).size == chosen.size == small_run.SIZE
        report = json.loads(exporting.report_path(path).read_text("utf-8"))
        assert [one["size"] for one in report["tried"]] == list(sizes)
        assert report["provenance"]["recipe"]["data"]["test_size"] == 0

    def test_a_size_needs_auto(
        self, trained: Run, main: Callable[..., tuple[int, str, str]]
    ) -> None:
        code, _, told = main("export", trained.folder, "--int8", "--size", "64")
        assert code == 2
        assert "--set data.test_size=PIXELS" in told
        code, _, told = main("export", trained.folder, "--auto", "--size", "7")
        assert code == RecipeError.exit_code
        assert "data.test_size" in told


class TestChoice:
    """`selection.choose` among sizes, by the log losses of the same images."""

    @pytest.fixture
    def of(self, exported: Exported) -> Callable[..., selection.CandidateFormat]:
        import dataclasses

        def make(size: int, losses: list[float]) -> selection.CandidateFormat:
            outcome = exported.outcome
            first = dataclasses.replace(
                outcome.findings.comparisons[0], losses=np.array(losses, np.float64)
            )
            findings = dataclasses.replace(outcome.findings, comparisons=(first,))
            model = dataclasses.replace(
                outcome.file,
                image=dataclasses.replace(outcome.file.image, shape=(1, size, size, 3)),
            )
            return selection.CandidateFormat(
                format="int8",
                outcome=dataclasses.replace(outcome, findings=findings, file=model),
                milliseconds=size / 10,
            )

        return make

    def test_a_larger_size_must_be_better_beyond_noise(
        self, of: Callable[..., selection.CandidateFormat]
    ) -> None:
        small = of(32, [0.5, 0.5, 0.5, 0.5])
        noisy, better = of(48, [0.0, 1.0, 0.0, 0.9]), of(64, [0.3, 0.4, 0.3, 0.4])
        anything = selection.Budget()
        assert selection.choose([small, noisy], anything) is small
        assert selection.choose([small, better], anything) is better
        assert selection.choose([better, small], anything) is better
        assert selection.choose([better, small], selection.Budget(milliseconds=5.0)) is small
        worse = of(64, [0.6, 0.7, 0.6, 0.7])
        assert selection.choose([worse, small], anything) is small


def test_the_network_of_another_size_has_the_same_weights(trained: Run) -> None:
    first = load_network(trained)
    second = load_network(trained.for_export([f"data.test_size={SIZE}"]))
    assert (first.input_shape[1], second.input_shape[1]) == (small_run.SIZE, SIZE)
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        assert np.array_equal(one, other)
