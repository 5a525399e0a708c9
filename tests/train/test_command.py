"""`lmedge train` in real processes: what a person types, what they are told, what stays behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from lmedge.train.arrays import read_arrays
from lmedge.train.run import Run
from tests import bad_images, processes, small_run
from tests.in_process import lmedge
from tests.locations import ROOT
from tests.processes import assert_refused


class TestRefused:
    """One line, an exit code of its own, and nothing left behind."""

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (["--set", "head.epoch=3"], 10, ["head.epoch", "did you mean head.epochs?"]),
            (["--recipe", "defualt"], 10, ["defualt", "did you mean default?"]),
            (["--image-size", "7"], 10, ["data.image_size", "32 to 1024"]),
        ],
    )
    def test_a_wrong_recipe_at_once(
        self, words: list[str], code: int, told: list[str], tmp_path: Path
    ) -> None:
        """Before TensorFlow is imported, which takes seconds."""
        here, blocked = tmp_path / "here", processes.without(tmp_path / "blocked", "tensorflow")
        here.mkdir()
        process = processes.lmedge("train", here / "nothing", *words, cwd=here, **blocked)
        assert_refused(process, code, *told)
        assert not list(here.iterdir())

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        process = lmedge("train", tmp_path / "nothing", "--weights", "none", cwd=tmp_path)
        assert_refused(process, 3, "nothing", "no such folder")
        assert not list(tmp_path.iterdir())

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        process = lmedge("train", tmp_path / "empty", "--weights", "none", cwd=tmp_path)
        assert_refused(process, 3, "an empty folder", "<category>/<landmark>/")
        assert not (tmp_path / "runs").exists()

    def test_missing_weights_before_the_images_are_read(
        self, small_photographs: Path, tmp_path: Path
    ) -> None:
        process = lmedge("train", small_photographs, "--weights", "no.h5", cwd=tmp_path)
        assert_refused(process, 9, "no.h5", "--weights PATH")
        assert not list(tmp_path.iterdir())

    def test_a_class_with_one_image(self, tmp_path: Path) -> None:
        photographs = small_run.write_photographs(tmp_path / "photographs", 2)
        lonely = photographs / "bridges" / "lonely bridge"
        small_run.save(lonely / "1.jpg", small_run.draw((9, 90, 90), 5))
        bad_images.truncated_jpeg(lonely / "2.jpg")
        process = lmedge("-q", "train", photographs, "--weights", "none", cwd=tmp_path)
        assert_refused(process, 3, "'lonely bridge' has 1 image", str(lonely))
        assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def killed_and_resumed(
    tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[subprocess.CompletedProcess[str]]]:
    """A folder with a space whose training was killed by the system and resumed elsewhere."""
    folder = tmp_path_factory.mktemp("real") / "a folder"
    photographs = small_run.write_photographs(folder / "Fotos é")
    bad_images.truncated_jpeg(photographs / "tower" / "tower" / "truncated.jpg")
    bad_images.text(photographs / "tower" / "tower" / "text.jpg")
    weights = os.path.relpath(shutil.copy(tiny_weights, folder / "tiny.h5"), folder)
    words = ["train", photographs.name, "--out", "a run", "--weights", weights, "--seed", 3]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        small_run.command(*words, *small_run.options()),
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        history = folder / "a run" / "history.csv"
        deadline = time.monotonic() + 100
        while not (history.exists() and "fine-tuning" in history.read_text("utf-8")):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        said = process.communicate()[1]
    first = subprocess.CompletedProcess(process.args, process.returncode, "", said)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    second = small_run.lmedge(
        "train", folder / photographs.name, "--out", folder / "a run", "--resume", cwd=elsewhere
    )
    return folder, [first, second]


class TestRealRun:
    def test_it_was_killed_and_went_on(
        self, killed_and_resumed: tuple[Path, list[subprocess.CompletedProcess[str]]]
    ) -> None:
        folder, (first, second) = killed_and_resumed
        assert first.returncode == -signal.SIGKILL
        assert second.returncode == 0, second.stderr
        assert "Traceback" not in first.stderr + second.stderr
        assert "landmark-head was done" in second.stderr
        assert not (folder / "a run" / "checkpoints").exists()
        assert not list((folder / "a run").rglob(".*"))

    def test_the_end_says_how_good_and_what_next(
        self, killed_and_resumed: tuple[Path, list[subprocess.CompletedProcess[str]]]
    ) -> None:
        folder, (_, second) = killed_and_resumed
        assert "landmark macro F1" in second.stdout
        assert f"next: lmedge export '{folder / 'a run'}' --int8" in second.stdout

    def test_bad_images_are_named_and_counted(
        self, killed_and_resumed: tuple[Path, list[subprocess.CompletedProcess[str]]]
    ) -> None:
        folder, (first, _) = killed_and_resumed
        for name in ("truncated.jpg", "text.jpg"):
            assert len([line for line in first.stderr.splitlines() if name in line]) == 1
        assert "2 images were skipped" in first.stderr
        skipped = json.loads((folder / "a run" / "run.json").read_text("utf-8"))["skipped"]
        assert len(skipped) == 2

    def test_names_are_kept(
        self, killed_and_resumed: tuple[Path, list[subprocess.CompletedProcess[str]]]
    ) -> None:
        """Spaces, other alphabets, a landmark named like its category."""
        folder, _ = killed_and_resumed
        taxonomy = Run.open(folder / "a run").taxonomy
        assert taxonomy.hierarchy() == {
            name: category for name, (category, _) in small_run.LANDMARKS.items()
        }

    def test_it_is_the_run_of_one_undisturbed_process(
        self,
        killed_and_resumed: tuple[Path, list[subprocess.CompletedProcess[str]]],
        tmp_path: Path,
    ) -> None:
        folder, _ = killed_and_resumed
        whole = small_run.lmedge(
            "train",
            folder / "Fotos é",
            "--out",
            tmp_path / "run",
            "--weights",
            folder / "tiny.h5",
            "--seed",
            3,
            *small_run.options(),
        )
        assert whole.returncode == 0, whole.stderr
        arrays = [
            read_arrays(run / "weights.safetensors") for run in (folder / "a run", tmp_path / "run")
        ]
        assert arrays[0].keys() == arrays[1].keys()
        for name in arrays[0]:
            assert np.array_equal(arrays[0][name], arrays[1][name]), name
        log = (tmp_path / "run" / "train.log").read_text("utf-8")
        for phase in ("landmark-head", "landmark-fine-tuning", "landmark-refit", "category-head"):
            assert phase in log

    def test_a_finished_run_is_left_alone(
        self, killed_and_resumed: tuple[Path, list[subprocess.CompletedProcess[str]]]
    ) -> None:
        folder, _ = killed_and_resumed
        words = ["train", folder / "Fotos é", "--out", folder / "a run", "--weights", "none"]
        assert_refused(small_run.lmedge(*words, "--resume"), 5, "is finished")
