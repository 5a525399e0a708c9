"""`lmedge data` and what `lmedge train` makes of it, as a person types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lmedge.errors import LmedgeError, RunError
from tests import bad_images, processes, small_run
from tests.in_process import lmedge
from tests.processes import assert_refused

BROKEN = Path("tower") / "tower"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestCheck:
    def test_good_photographs(self, photographs: Path) -> None:
        words = ["data", "check", photographs, "--strict", "--min-side", 16]
        process = processes.lmedge(*words)
        assert process.returncode == 0, process.stderr
        assert "24 images of 4 landmarks in 2 categories: nothing found" in process.stdout

    def test_from_the_finding_to_a_clean_check(self, photographs: Path, tmp_path: Path) -> None:
        bad_images.truncated_jpeg(photographs / BROKEN / "half.jpg")
        bad_images.text(photographs / BROKEN / "text.jpg")
        before = contents(photographs)
        words = ["data", "check", photographs, "--strict", "--min-side", 16]
        report, exclude = tmp_path / "report", photographs / "exclude.txt"
        process = lmedge(*words, "--report", report, "--exclude-file", exclude)
        assert process.returncode == 1, process.stderr
        for told in ("unreadable", "truncated", "tower/tower/half.jpg: its end is missing"):
            assert told in process.stdout
        about = json.loads((report / "report.json").read_text("utf-8"))
        assert about["kinds"] == {"unreadable": 1, "truncated": 1}
        assert (report / "contact-sheet.png").stat().st_size > 1000
        now = contents(photographs)
        assert now.pop(exclude)
        assert now == before
        process = lmedge(*words, "--json", "--exclude-file", exclude)
        assert process.returncode == 0, process.stderr
        assert json.loads(process.stdout)["excluded"] == 2
        assert exclude.read_text("utf-8").count("text.jpg") == 1  # written again, not forgotten

    def test_not_strict_and_ignored(self, photographs: Path) -> None:
        bad_images.text(photographs / BROKEN / "text.jpg")
        assert lmedge("data", "check", photographs, "--ignore", "tiny").returncode == 0
        words = ["--ignore", "tiny", "--ignore", "unreadable", "--strict"]
        assert lmedge("data", "check", photographs, *words).returncode == 0

    def test_mistakes(self, photographs: Path, tmp_path: Path) -> None:
        assert_refused(lmedge("data", "check", tmp_path / "no"), 3, "no such folder")
        process = lmedge("data", "check", photographs, "--exclude", tmp_path / "no.txt")
        assert_refused(process, 3, "no.txt")
        process = lmedge("data", "check", photographs, "--ignore", "everything")
        assert process.returncode == 2
        assert "Traceback" not in process.stderr


class TestSplit:
    def test_written_once_and_the_same_again(self, photographs: Path, tmp_path: Path) -> None:
        process = lmedge("data", "split", photographs, "--seed", 3)
        assert process.returncode == 0, process.stderr
        assert "16 images to train on, 4 to validate, 4 to test" in process.stdout
        written = (photographs / "split.csv").read_bytes()
        assert_refused(lmedge("data", "split", photographs), 1, "split.csv", "--overwrite")
        other = tmp_path / "again.csv"
        assert lmedge("data", "split", photographs, "--seed", 3, "--out", other).returncode == 0
        assert other.read_bytes() == written
        words = ["--overwrite", "--test-fraction", 0]
        process = lmedge("data", "split", photographs, *words)
        assert "20 images to train on, 4 to validate, 0 to test" in process.stdout
        assert (photographs / "split.csv").read_bytes() != written


class TestBeforeReading:
    """What cannot be written is known before the photographs are read."""

    @pytest.fixture(autouse=True)
    def nothing_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lmedge.train.data.inspection.read_encoded", None)
        monkeypatch.setattr("lmedge.train.data.store.read_encoded", None)

    @pytest.mark.parametrize("option", ["--report", "--exclude-file"])
    def test_by_check(self, option: str, photographs: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        process = lmedge("data", "check", photographs, option, tmp_path / "file" / "x")
        assert_refused(process, 1, "cannot write", "file/x")

    def test_by_split(self, photographs: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        process = lmedge("data", "split", photographs, "--out", tmp_path / "file" / "x")
        assert_refused(process, 1, "cannot write", "file/x")

    def test_by_training(self, photographs: Path, tmp_path: Path) -> None:
        from lmedge.train.options import TrainingOptions
        from lmedge.train.recipes import load_recipe
        from lmedge.train.training import start

        def options(out: Path) -> TrainingOptions:
            return TrainingOptions(
                data=photographs, out=out, recipe=load_recipe("default"), weights="none"
            )

        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "run.json").touch()
        with pytest.raises(RunError, match="holds a run already"):
            start(options(tmp_path / "run"))
        with pytest.raises(LmedgeError, match="run.json is no folder"):
            start(options(tmp_path / "run" / "run.json" / "x"))

    @pytest.mark.parametrize("command", ["data split", "train"])
    def test_names_that_cannot_be_split(
        self, command: str, photographs: Path, tmp_path: Path
    ) -> None:
        """One photograph of a landmark, a part of another landmark, one landmark alone."""
        words: list[object] = [*command.split(), photographs]
        if command == "train":
            words += ["--weights", "none", "--out", tmp_path / "run"]
        lone = photographs / "tower" / "lone"
        shutil.copytree(photographs / BROKEN, lone)
        for path in sorted(lone.iterdir())[1:]:
            path.unlink()
        assert_refused(lmedge("-q", *words), 3, "'lone' has 1 image", "add at least 1 more")
        shutil.rmtree(lone)
        shutil.rmtree(photographs / "bridges")
        shutil.rmtree(photographs / "tower" / "white tower")
        assert_refused(lmedge("-q", *words), 3, "at least two landmarks are needed")
        assert not (tmp_path / "run").exists()

    def test_a_split_file_that_is_none(self, photographs: Path, tmp_path: Path) -> None:
        words = ["train", photographs, "--weights", "none", "--out", tmp_path / "run"]
        done = lmedge("-q", *words, "--split", tmp_path / "gone.csv")
        assert_refused(done, 3, "gone.csv: cannot be read as a split")
        (photographs / "split.csv").write_text("nothing")
        assert_refused(lmedge("-q", *words), 3, "split.csv")


class TestTrain:
    @pytest.fixture
    def words(self, tiny_weights: Path) -> list[object]:
        return ["--weights", tiny_weights, *small_run.options("fine_tune.epochs=1")]

    def test_a_leak_is_one_line(self, in_parts: Path, words: list[object], tmp_path: Path) -> None:
        path = sorted((in_parts / "train" / BROKEN).glob("*.jpg"))[0]
        shutil.copyfile(path, in_parts / "val" / BROKEN / "leaked.jpg")
        process = lmedge("-q", "train", in_parts, *words, cwd=tmp_path)
        assert_refused(process, 3, "the split leaks", "leaked.jpg", "--allow-leak")
        assert not (tmp_path / "runs").exists()

    def test_the_split_file_and_the_exclude_file_are_honoured(
        self, photographs: Path, words: list[object], tmp_path: Path
    ) -> None:
        assert lmedge("data", "split", photographs, "--seed", 3).returncode == 0
        written = (photographs / "split.csv").read_text("utf-8").splitlines()
        gone = next(line for line in written if line.startswith("train")).split(",")[-1]
        (photographs / "exclude.txt").write_text(f"{gone}\n", "utf-8")
        run = tmp_path / "run"
        process = lmedge("train", photographs, *words, "--out", run)
        assert process.returncode == 0, process.stderr
        assert f"the split of {photographs / 'split.csv'} is used" in process.stderr
        assert "exclude.txt lists 1 images to leave out" in process.stderr
        used = (run / "split.csv").read_text("utf-8").splitlines()
        assert len(used) == len(written) - 1
        assert not [line for line in used if line.endswith(gone)]
        hashes = {line.split(",")[3]: line.split(",")[0] for line in written}
        assert all(hashes[line.split(",")[3]] == line.split(",")[0] for line in used)
