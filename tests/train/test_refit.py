"""A refit trains on the test images too, and says whose figures it quotes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lmedge.errors import RunError
from tests import small_run
from tests.in_process import lmedge

if TYPE_CHECKING:
    from lmedge.train.run import Run


@pytest.fixture(scope="module")
def refitted(finished_run: Run, tiny: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    from lmedge.train import training

    run = training.start_refit(finished_run, tmp_path_factory.mktemp("refit") / "run")
    assert training.train_run(run) is None
    return run


def test_the_test_images_are_trained_on_and_the_others_stay(
    finished_run: Run, refitted: Run
) -> None:
    hashes = {part: {e.sha256 for e in refitted.entries(part)} for part in ("train", "val", "test")}
    before = {part: {e.sha256 for e in finished_run.entries(part)} for part in hashes}
    assert hashes["train"] == before["train"] | before["test"]
    assert hashes["val"] == before["val"]
    assert not hashes["test"]
    assert refitted.recipe == finished_run.recipe


def test_its_folder_quotes_the_run_that_had_not_seen_them(finished_run: Run, refitted: Run) -> None:
    from lmedge.train.run import Run

    opened = Run.open(refitted.folder)
    assert opened.refit_of is not None
    assert opened.refit_of["run"] == finished_run.folder.name
    assert opened.refit_of["test"] == finished_run.metrics()["test"]
    assert set(refitted.metrics()) == {"val"}


def test_an_unfinished_run_is_refused(
    small_photographs: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    from lmedge.train import training

    begun = small_run.start(small_photographs, tmp_path / "begun", tiny_weights)
    with pytest.raises(RunError, match="has not ended"):
        training.start_refit(begun, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_refit_is_not_refitted(refitted: Run, tmp_path: Path) -> None:
    from lmedge.train import training

    with pytest.raises(RunError, match="no test images"):
        training.start_refit(refitted, tmp_path / "run")


def test_the_command_says_what_is_known(
    finished_run: Run, small_photographs: Path, tmp_path: Path
) -> None:
    done = lmedge(
        "train", small_photographs, "--refit", finished_run.folder, "--out", tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    f1 = json.loads((finished_run.folder / "metrics.json").read_text())["test"]["landmark"]
    assert f"Of {finished_run.folder.name}, which had not seen them" in done.stdout
    assert f"landmark macro F1 {f1['macro_f1']:.3f}" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--seed", "3"], 2, "--refit takes --seed from RUN"),
        (["--set", "fine_tune.epochs=1"], 2, "--refit takes --set from RUN"),
    ],
)
def test_what_it_takes_from_the_run_cannot_be_given(
    words: list[str],
    code: int,
    told: str,
    finished_run: Run,
    small_photographs: Path,
    tmp_path: Path,
) -> None:
    done = lmedge(
        "train",
        small_photographs,
        "--refit",
        finished_run.folder,
        "--out",
        tmp_path / "run",
        *words,
    )
    assert done.returncode == code
    assert told in done.stderr
    assert not (tmp_path / "run").exists()


def test_other_photographs_are_refused(finished_run: Run, tmp_path: Path) -> None:
    done = lmedge("train", tmp_path, "--refit", finished_run.folder, "--out", tmp_path / "run")
    assert done.returncode == RunError.exit_code
    assert len(done.stderr.strip().splitlines()) == 1
    assert "was trained on" in done.stderr


def test_its_file_quotes_the_run_too(refitted: Run, finished_run: Run, tmp_path: Path) -> None:
    file = tmp_path / "refit.tflite"
    done = lmedge("export", refitted.folder, "--int8", "--force", "-o", file)
    assert done.returncode == 0, done.stderr
    shown = lmedge("inspect", file, "--json")
    assert shown.returncode == 0, shown.stderr
    info = json.loads(shown.stdout)["info"]
    assert info["provenance"]["refit_of"] == {
        "run": finished_run.folder.name,
        "test": finished_run.metrics()["test"],
    }
    assert set(info["metrics"]) == {"val"}
    assert "which had not seen the test images" in lmedge("inspect", file).stdout
