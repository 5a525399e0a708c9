"""`lmedge compare` from end to end, with the tiny backbone."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lmedge.errors import LmedgeError, TrialError
from lmedge.train.compare import trial
from lmedge.train.compare.command import compare
from tests import in_process, small_run, tiny_backbone
from tests.locations import ROOT
from tests.processes import assert_refused, lmedge

# Nothing here depends on how well a network learned.
SHORT = [
    word
    for phase in ("head", "second_head", "fine_tune")
    for word in ("--set", f"{phase}.epochs=1")
]
CHILD = (
    "-c",
    "import sys\n"
    "from tests import tiny_backbone\n"
    "from lmedge.train.compare.child import run_command\n"
    "with tiny_backbone.installed(): run_command(sys.argv[1:])",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.write_photographs(tmp_path_factory.mktemp("compared") / "data", 8)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(trial, "CHILD", CHILD)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path_factory.getbasetemp() / "compare-cache"))


def in_this_process(folder: Path, step: str, *arguments: object) -> None:
    """Do as `trial._lmedge` without the seconds in which each process loads TensorFlow.

    The test of a setting that fails trains in processes of their own.
    """
    began = time.monotonic()
    with tiny_backbone.installed():
        done = in_process.lmedge(*arguments)
    assert done.returncode == 0, done.stderr
    (folder / f"{step}.log").write_text(done.stdout + done.stderr, "utf-8")
    (folder / f"{step}.seconds").write_text(f"{time.monotonic() - began:.1f}\n")


def call(data: Path, out: Path, *words: str) -> Result:
    given = [str(data), "--out", str(out), "--weights", "none", *small_run.options(), *words]
    return CliRunner().invoke(compare, given)


def rows(path: Path) -> list[dict[str, str]]:
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def test_a_table_from_which_one_decides(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(trial, "_lmedge", in_this_process)
    words = ("--strategies", "landmarks-first,parallel", "--folds", "2", *SHORT)
    result = call(data, out, *words)
    assert result.exit_code == 0, result.output
    assert "landmarks-first" in result.output
    assert "±" in result.output
    summary = {row["strategy"]: row for row in rows(out / "summary.csv")}
    runs = rows(out / "results.csv")
    assert len(runs) == 4
    for strategy, row in summary.items():
        own = [float(run["landmark_f1"]) for run in runs if run["strategy"] == strategy]
        assert float(row["landmark_f1"]) == pytest.approx(sum(own) / 2, abs=1e-4)
        assert float(row["train_seconds"]) > 0
    report = json.loads((out / "compare.json").read_text("utf-8"))
    assert {test["head"] for test in report["tests"]} == {"landmark", "category"}
    assert all(0 <= test["p"] <= test["adjusted"] <= 1 for test in report["tests"])
    assert (out / "compare.png").stat().st_size > 5000
    assert not list(out.rglob("weights.safetensors"))

    # asked again, with one more: what is there is not run again, and a plot that fails is no end
    before = {path: path.stat().st_mtime_ns for path in out.rglob("result.json")}
    monkeypatch.setattr(trial, "run_trial", lambda *_, **__: pytest.fail("a trial was run again"))

    def fail(*_: object) -> None:
        raise ValueError("no figure")

    monkeypatch.setattr("lmedge.train.compare.plot.plot_comparison", fail)
    (out / "results.csv").unlink()
    result = call(data, out, *words, "--seeds", "1")
    assert result.exit_code == 0, result.output
    assert len(rows(out / "results.csv")) == 4
    assert "compare.json" in result.output and "compare.png" not in result.output.splitlines()[-1]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("result.json")} == before


def test_int8_files_are_scored_too(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_lmedge", in_this_process)
    result = call(data, tmp_path / "out", "--int8", "--keep-runs", *SHORT)
    assert result.exit_code == 0, result.output
    assert "one run a setting" in result.output
    (run,) = rows(tmp_path / "out" / "results.csv")
    (file,) = (tmp_path / "out").rglob("model.tflite")
    assert int(run["int8_bytes"]) == file.stat().st_size
    exported = json.loads(file.with_name("model.export.json").read_text("utf-8"))
    (test,) = (part for part in exported["parts"] if part["part"] == "test")
    for head in ("landmark", "category"):
        score, agreement = test["file"][head]["macro_f1"], test["agreement"][head]
        assert float(run[f"int8_{head}_f1"]) == pytest.approx(score, abs=1e-5)
        assert float(run[f"int8_agreement_{head}"]) == pytest.approx(agreement, abs=1e-5)
    assert run["int8_gate_passed"] == str(exported["gate"]["passed"])
    assert float(run["int8_export_seconds"]) > 0
    (row,) = rows(tmp_path / "out" / "summary.csv")
    assert row["int8_agreement_landmark"] == run["int8_agreement_landmark"]
    assert row["test_pictures"] == run["test_pictures"]
    assert "same %" in result.output and "files passed the gate" in result.output


def test_a_setting_that_fails_does_not_take_the_others_along(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(data, out, "--vary", "fine_tune.start=block2,block77", *SHORT)
    assert isinstance(result.exception, TrialError)
    assert "1 of 2 runs did not end" in str(result.exception)
    assert "block77" in str(result.exception)
    assert [row["fine_tune.start"] for row in rows(out / "summary.csv")] == ["block2"]


@pytest.mark.slow
def test_goes_on_after_a_kill(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import sys\n"
        "from lmedge.train.compare import trial\n"
        "from lmedge.train.compare.command import compare\n"
        f"trial.CHILD = {CHILD!r}\n"
        "compare(sys.argv[1:])"
    )
    words = [
        sys.executable,
        "-c",
        code,
        str(data),
        "--out",
        str(out),
        "--weights",
        "none",
        *small_run.options("fine_tune.epochs=40"),
        "--seeds",
        "2",
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if list(out.rglob("landmark-fine-tuning.safetensors")):
                break
            time.sleep(0.1)
        else:
            pytest.fail("no checkpoint was written")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(words, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert "landmark" in done.stdout
    logs = "".join(path.read_text("utf-8") for path in out.rglob("train.log"))
    assert "epochs were done" in logs  # the killed run went on, it did not begin anew


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--strategies", "landmark-first"), 10, "did you mean landmarks-first"),
        (("--vary", "head.epochz=1,2"), 10, "head.epochs"),
        (("--folds", "1"), 2, ""),
        ((), 3, "no such folder"),
    ],
)
def test_mistakes_are_said_before_any_work(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    process = lmedge("compare", tmp_path / "none", "--out", tmp_path / "out", *words)
    assert process.returncode == code, process.stderr
    assert said in process.stderr
    if code != 2:
        assert_refused(process, code)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--weights", "gone.h5@imagenet"), 9, "gone.h5@imagenet: no such file or folder"),
        (("--weights", 300 * "g"), 9, "g: no such file or folder"),
        (("--set", "data.test_fraction=0"), 3, "leaves no test part to compare by; pass --folds"),
        (("--out", "/proc/nothing"), 1, "cannot write /proc/nothing"),
    ],
)
def test_what_a_comparison_needs_is_known_before_its_first_run(
    words: tuple[str, ...], code: int, said: str, data: Path, tmp_path: Path
) -> None:
    out, settings = tmp_path / "out", small_run.options()
    done = in_process.lmedge("-q", "compare", data, "--out", out, *settings, *words)
    assert_refused(done, code, said)
    assert not out.exists()


def test_two_comparisons_do_not_share_a_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr("lmedge.writers.LOCK_SECONDS", 0.1)
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        result = call(data, tmp_path / "out")
    assert isinstance(result.exception, LmedgeError)
    assert "at work" in str(result.exception)
