"""The studies of training write what they measured."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.studies import feature_speed, throughput, training_step
from lmedge.train.history import HistoryRow
from lmedge.train.run import Run


def row(path: Path) -> dict[str, str]:
    lines = path.read_text("utf-8").splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["# command", "# machine", "# data"]
    (found,) = csv.DictReader(lines[3:])
    return found


def test_pipeline_and_step_of_a_run(finished_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "throughput.csv"
    words = [str(finished_run.folder), "--seconds", "1", "--out", str(out)]
    result = CliRunner().invoke(throughput.main, words)
    assert result.exit_code == 0, result.output
    found = row(out)
    assert int(found["pictures"]) == len(finished_run.entries("train"))
    assert float(found["pipeline_per_second"]) > 0
    assert float(found["step_per_second"]) > 0
    assert result.output.splitlines() == out.read_text().splitlines()


def test_images_a_second_without_the_first_two_calls() -> None:
    seconds, calls = [0.0], []

    def work(number: int) -> int:
        calls.append(number)
        seconds[0] += 100.0 if number < 2 else 2.0
        return 8

    assert throughput.images_per_second(work, 10.0, lambda: seconds[0]) == 4.0
    assert calls == list(range(2 + 5))


def history(seconds: float, loss: float) -> list[HistoryRow]:
    return [
        HistoryRow(
            phase=phase,
            epoch=epoch,
            loss=1.0,
            accuracy=0.5,
            val_loss=loss,
            val_accuracy=0.5,
            val_macro_f1=0.5,
            learning_rate=0.1,
            seconds=9.0 if epoch == 1 else seconds,
        )
        for phase in ("landmark-head", "category-head")
        for epoch in (1, 2, 3)
    ]


def test_the_plain_way_is_multiplied_up_without_its_first_epochs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def train(
        _data: Path, _weights: str, _recipe: str, folder: Path, name: str, *settings: str
    ) -> tuple[float, list[HistoryRow]]:
        (folder / "cache" / "features").mkdir(parents=True, exist_ok=True)
        plain = "head.cached=false" in settings
        assert plain == (name == "plain")
        return 10.0, history(4.0 if plain else 0.1, 0.51 if plain else 0.5)

    monkeypatch.setattr(feature_speed, "_train", train)
    out = tmp_path / "speed.csv"
    result = CliRunner().invoke(feature_speed.main, [str(tmp_path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    found = row(out)
    # 50 + 20 epochs of 4 seconds, against 10 seconds
    assert float(found["plain_seconds"]) == pytest.approx(280.0)
    assert float(found["ratio"]) == pytest.approx(28.0)
    assert float(found["largest_difference_of_validation_loss"]) == pytest.approx(0.01)
    assert "multiplied up" in found["plain_is"]


def test_ways_of_a_step_are_compared_within_a_round(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seconds = {"float32": [1.0, 2.0, 4.0], "bfloat16": [1.0, 2.0, 8.0], "mixed": [2.0, 5.0, 8.0]}
    order = []

    def child(way: str, steps: int) -> tuple[float, float]:
        assert steps == 4
        order.append(way)
        return seconds[way][order.count(way) - 1], 3.5

    monkeypatch.setattr(training_step, "_child", child)
    out = tmp_path / "steps.csv"
    words = ["--rounds", "3", "--steps", "4", "--ways", "bfloat16,mixed", "--out", str(out)]
    result = CliRunner().invoke(training_step.main, words)
    assert result.exit_code == 0, result.output
    assert order[:6] == ["float32", "bfloat16", "mixed", "mixed", "bfloat16", "float32"]
    lines = out.read_text("utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert [row["ratio"] for row in rows] == ["1", "1", "2"]
    assert (rows[2]["ratio_least"], rows[2]["ratio_most"]) == ("2", "2.5")
    result = CliRunner().invoke(training_step.main, ["--ways", "float32,float8"])
    assert result.exit_code == 2
    assert "no way 'float8'" in result.output
