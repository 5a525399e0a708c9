"""Summary of a comparison by setting, and the files with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmedge import __version__
from lmedge.files import write_json
from lmedge.report.csv_files import write_csv

from .plan import Setting, Trial
from .statistics import Estimate, PairedTest, compare_all, estimate
from .trial import FileResult, TrialResult

RECIPE = "study"
BACKBONE = "efficientnetb0"
# strategy -> (landmark, category)
FIGURES = {
    "categories-first": (0.48, 0.98),
    "landmarks-first": (0.97, 1.00),
    "categories-feature": (0.46, 0.98),
    "landmarks-feature": (0.79, 0.98),
    "parallel": (0.81, 0.97),
}


def published(setting: Setting) -> dict[str, float] | None:
    """Return the published figures of a setting by head; None unless it is the study's."""
    if setting.recipe_name != RECIPE or setting.backbone != BACKBONE or setting.varied:
        return None
    return dict(zip(("landmark", "category"), FIGURES[setting.strategy], strict=True))


HEADS = ("landmark", "category")
SCHEMA = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SettingSummary:
    """A setting over its repeats. `scores` are macro F1 by head, one a repeat; float network."""

    setting: Setting
    repeats: tuple[str, ...]
    results: tuple[TrialResult, ...]
    scores: Mapping[str, tuple[float, ...]]
    estimates: Mapping[str, Estimate]
    int8: Mapping[str, Estimate] | None

    @property
    def train_seconds(self) -> float:
        """Mean over the repeats."""
        return float(np.mean([result.train_seconds for result in self.results]))

    @property
    def bytes(self) -> int | None:
        """Mean size of the int8 files; None if none were made."""
        files = self.files
        return round(float(np.mean([file.bytes for file in files]))) if files else None

    @property
    def files(self) -> list[FileResult]:
        """Results of the int8 files."""
        return [result.int8 for result in self.results if result.int8 is not None]

    @property
    def agreement(self) -> dict[str, float] | None:
        """Mean share of test images with float's top class by head; None without int8 files."""
        files = self.files
        if not files:
            return None
        return {
            "landmark": float(np.mean([file.agreement_landmark for file in files])),
            "category": float(np.mean([file.agreement_category for file in files])),
        }

    @property
    def export_seconds(self) -> float | None:
        """Mean over the int8 files; None if none were made."""
        files = self.files
        return float(np.mean([file.export_seconds for file in files])) if files else None

    @property
    def published(self) -> dict[str, float] | None:
        """The study's own figures by head, for its recipe."""
        return published(self.setting)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonSummary:
    """All rows, best landmark score first; tests by head, rows numbered in this order."""

    rows: tuple[SettingSummary, ...]
    tests: tuple[PairedTest, ...]

    def against_best(self, head: str, number: int) -> PairedTest | None:
        """Return the test of a row against the best one of a head; None for itself or untested."""
        best = self.best(head)
        for test in self.tests:
            if test.head == head and {test.first, test.second} == {best, number}:
                return test
        return None

    def best(self, head: str) -> int:
        """Return the number of the row with the highest mean."""
        means = [row.estimates[head].mean for row in self.rows]
        return int(np.argmax(means))


def summarise_trials(results: Sequence[tuple[Trial, TrialResult]]) -> ComparisonSummary:
    """Gather results by setting and test every pair of settings, head by head."""
    groups: dict[int, list[tuple[Trial, TrialResult]]] = {}
    for trial, result in results:
        groups.setdefault(id(trial.setting), []).append((trial, result))
    ratio = float(np.mean([r.test_pictures / r.train_pictures for _, r in results]))
    rows = sorted(
        (_row(group, ratio) for group in groups.values()),
        key=lambda row: -row.estimates["landmark"].mean,
    )
    tested = [[result.tested for result in row.results] for row in rows]
    tests = [
        test
        for head in HEADS
        for test in compare_all(head, [row.scores[head] for row in rows], tested, ratio)
    ]
    return ComparisonSummary(rows=tuple(rows), tests=tuple(tests))


def _row(group: Sequence[tuple[Trial, TrialResult]], ratio: float) -> SettingSummary:
    results = tuple(result for _, result in group)
    scores = {
        "landmark": tuple(result.landmark_f1 for result in results),
        "category": tuple(result.category_f1 for result in results),
    }
    files = [result.int8 for result in results if result.int8 is not None]
    int8 = {
        "landmark": [file.landmark_f1 for file in files],
        "category": [file.category_f1 for file in files],
    }
    return SettingSummary(
        setting=group[0][0].setting,
        repeats=tuple(trial.repeat.name for trial, _ in group),
        results=results,
        scores=scores,
        estimates={head: estimate(values, ratio) for head, values in scores.items()},
        int8={head: estimate(values, ratio) for head, values in int8.items()} if files else None,
    )


def write_files(summary: ComparisonSummary, data: Path, command: str, folder: Path) -> list[Path]:
    """Write results.csv (a row a run), summary.csv (a row a setting) and compare.json."""
    paths = [folder / name for name in ("results.csv", "summary.csv", "compare.json")]
    name = data.resolve().name
    write_csv(paths[0], _runs(summary), data=name, command=command)
    flat = [_flat(summary, number) for number in range(len(summary.rows))]
    write_csv(paths[1], flat, data=name, command=command)
    write_json(paths[2], comparison_as_dict(summary, data, command))
    return paths


def _runs(summary: ComparisonSummary) -> list[dict[str, object]]:
    rows = []
    for row in summary.rows:
        for name, result in zip(row.repeats, row.results, strict=True):
            values = dataclasses.asdict(result)
            int8 = values.pop("int8") or {}
            values.pop("tested")
            rows.append(
                {
                    **row.setting.columns,
                    "repeat": name,
                    **values,
                    **{f"int8_{key}": value for key, value in int8.items()},
                }
            )
    return rows


def _flat(summary: ComparisonSummary, number: int) -> dict[str, object]:
    row = summary.rows[number]
    flat: dict[str, object] = {**row.setting.columns, "repeats": len(row.results)}
    for head in HEADS:
        flat |= _interval(f"{head}_f1", row.estimates[head])
        test = summary.against_best(head, number)
        flat[f"{head}_p_against_best"] = None if test is None else test.adjusted
    for head in HEADS if row.published else ():
        assert row.published is not None
        flat[f"published_{head}_f1"] = row.published[head]
    flat["train_seconds"], flat["parameters"] = row.train_seconds, row.results[0].parameters
    for head in HEADS if row.int8 else ():
        assert row.int8 is not None
        flat |= _interval(f"int8_{head}_f1", row.int8[head])
    if row.int8:
        flat["bytes"] = row.bytes
        flat["gates_passed"] = sum(file.gate_passed for file in row.files)
    flat["test_pictures"] = sum(result.test_pictures for result in row.results)
    for head, share in (row.agreement or {}).items():
        flat[f"int8_agreement_{head}"] = share
    if row.files:
        flat["export_seconds"] = row.export_seconds
    return flat


def _interval(name: str, found: Estimate) -> dict[str, object]:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def comparison_as_dict(summary: ComparisonSummary, data: Path, command: str) -> dict[str, Any]:
    """Return the content of compare.json, which docs/formats.md describes."""
    return {
        "schema": SCHEMA,
        "lmedge": __version__,
        "command": command,
        "data": str(data),
        "settings": [
            {
                **_flat(summary, number),
                "weights": row.setting.weights,
                "values": row.setting.recipe.as_dict(),
                "runs": [
                    {"repeat": name, **dataclasses.asdict(result)}
                    for name, result in zip(row.repeats, row.results, strict=True)
                ],
            }
            for number, row in enumerate(summary.rows)
        ],
        "tests": [
            {**dataclasses.asdict(test), "told_apart": test.is_significant}
            for test in summary.tests
        ],
    }
