"""`lmedge benchmark --compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.in_process import lmedge
from tests.processes import assert_refused


def write(
    path: Path,
    f1: float | None = 0.9,
    p50: float = 3.0,
    noisy: tuple[str, ...] = (),
    images: str = "same",
    threads: int = 1,
    processor: str = "a processor",
    size: int = 224,
    cores: int = 4,
    runtime: str = "litert 2.3",
) -> Path:
    spread = {"p50": p50, "p90": 2 * p50}
    accuracy = {
        "landmark": {"macro_f1": f1},
        "category": {"macro_f1": 1.0},
        "images_sha256": images,
    }
    report: dict[str, Any] = {
        "file": {"bytes": 5_000_000, "input_size": size},
        "environment": {"processor": processor, "cores": cores, "runtime": runtime},
        "accuracy": None if f1 is None else accuracy,
        "latency": {
            "invoke_ms": spread,
            "end_to_end_ms": spread,
            "noisy": list(noisy),
            "threads": threads,
        },
    }
    path.write_text(json.dumps(report))
    return path


def compare(old: Path, new: Path, *words: str) -> Any:
    return lmedge("benchmark", "--compare", old, new, *words)


def test_worse_by_more_than_allowed(tmp_path: Path) -> None:
    old, slow = write(tmp_path / "old.json"), write(tmp_path / "slow.json", p50=3.3)
    assert_refused(compare(old, slow, "--fail-over", "5%"), 12, "invoke p50", "10.0%", "5%")
    assert compare(old, slow, "--fail-over", "0.11").returncode == 0
    assert compare(old, slow).returncode == 0
    wrong = write(tmp_path / "wrong.json", f1=0.8)
    assert_refused(compare(old, wrong, "--fail-over", "5%"), 12, "landmark macro F1 by 11.1%")


def test_better_is_no_failure(tmp_path: Path) -> None:
    old = write(tmp_path / "old.json")
    process = compare(old, write(tmp_path / "new.json", f1=0.99, p50=1.0), "--fail-over", "0%")
    assert process.returncode == 0, process.stderr
    assert "10.0% better" in process.stdout
    assert "66.7% better" in process.stdout


class TestUnlike:
    """What cannot be compared fails by name, unless a flag allows the difference."""

    @pytest.mark.parametrize(
        ("other", "name", "told"),
        [
            ({"images": "others"}, "images", "other images"),
            ({"threads": 2}, "threads", "threads 1 and 2"),
            ({"processor": "another"}, "processor", "processor a processor and another"),
            ({"size": 256}, "input", "input 224 and 256"),
            ({"cores": 2}, "cores", "cores 4 and 2"),
            ({"runtime": "tflite-runtime"}, "runtime", "runtime litert 2.3 and tflite-runtime"),
        ],
    )
    def test_other_conditions(
        self, other: dict[str, Any], name: str, told: str, tmp_path: Path
    ) -> None:
        old, new = write(tmp_path / "old.json"), write(tmp_path / "new.json", **other)
        done = compare(old, new, "--fail-over", "5%")
        assert_refused(done, 12, f"not the same in both: {told}", f"pass --may-differ {name}")
        allowed = compare(old, new, "--fail-over", "5%", "--may-differ", name)
        assert allowed.returncode == 0, allowed.stderr
        assert f"not the same in both: {told}" in allowed.stdout
        assert compare(old, new).returncode == 0  # no limit: nothing is judged

    def test_a_figure_that_one_lacks(self, tmp_path: Path) -> None:
        old, new = write(tmp_path / "old.json"), write(tmp_path / "new.json", f1=None)
        words = ("--fail-over", "5%", "--may-differ", "images")
        done = compare(old, new, *words)
        assert_refused(done, 12, "in one report alone: landmark macro F1 (not in ", "new.json")
        assert compare(new, new, *words).returncode == 0  # in neither

    def test_a_figure_that_was_nothing(self, tmp_path: Path) -> None:
        """0 is a figure too, and 0 of 0 is no loss."""
        old, new = write(tmp_path / "old.json", f1=0.0), write(tmp_path / "new.json", f1=0.5)
        done = compare(old, new, "--fail-over", "0%")
        assert done.returncode == 0, done.stderr
        assert "landmark macro F1" in done.stdout


def test_doubts_are_said(tmp_path: Path) -> None:
    old = write(tmp_path / "old.json", noisy=("the processor was throttled",))
    process = compare(old, write(tmp_path / "new.json"))
    assert "old.json is noisy: the processor was throttled" in process.stdout


def test_what_is_no_report(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good.json"), tmp_path / "bad.json"
    assert_refused(compare(good, bad), 1, "bad.json", "cannot be read")
    bad.write_text("[1]")
    assert_refused(compare(good, bad), 1, "bad.json", "no report")


@pytest.mark.parametrize("words", [(), ("--fail-over", "many"), ("--fail-over", "-5%")])
def test_wrong_arguments(words: tuple[str, ...], tmp_path: Path) -> None:
    good = write(tmp_path / "good.json")
    arguments = ("--compare", good, good, *words) if words else ("--fail-over", "5%")
    assert lmedge("benchmark", *arguments).returncode == 2
