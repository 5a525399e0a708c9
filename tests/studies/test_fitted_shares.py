"""The study of shares scores every pair of shares on the same images, and trains each fold once."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.studies import fitted_shares
from lmedge.taxonomy import Taxonomy
from tests import small_run

TAXONOMY = Taxonomy.from_pairs([("x", "a"), ("x", "b"), ("y", "c")])


def answers(truth: np.ndarray, wrong: list[int]) -> fitted_shares.Answers:
    """Return logits that are right but for some images, which get the next landmark."""
    guess = truth.copy()
    guess[wrong] = (guess[wrong] + 1) % 3
    landmark = 4 * np.eye(3, dtype=np.float32)[guess]
    parents = TAXONOMY.parent_index[guess]
    return {"landmark": landmark, "category": 4 * np.eye(2, dtype=np.float32)[parents]}


def test_images_are_compared_in_pairs_and_assignments_averaged() -> None:
    truth = np.arange(12) % 3
    own = {"landmark": truth, "category": TAXONOMY.parent_index[truth]}
    found = {
        (seed, blend, refit): [answers(truth[:6], []), answers(truth[6:], [])]
        for seed in (0, 1)
        for blend in fitted_shares.BLENDS
        for refit in fitted_shares.REFITS
    }
    found[0, *fitted_shares.BEFORE] = [answers(truth[:6], [0, 1]), answers(truth[6:], [])]
    found[0, 1.0, 0.5] = [answers(truth[:6], [1, 2, 3]), answers(truth[6:], [])]
    parts = [{head: values[part] for head, values in own.items()} for part in PARTS]
    rows = {
        (row.blend, row.refit): row
        for row in fitted_shares._rows(found, {0: parts, 1: parts}, TAXONOMY)
    }
    row = rows[1.0, 0.5]
    assert (row.images, row.assignments) == (12, 2)
    assert (row.landmark_wrong, row.mended, row.broken) == (1.5, 0.5, 1.0)
    before = rows[fitted_shares.BEFORE]
    assert (before.landmark_wrong, before.mended, before.broken) == (1.0, 0.0, 0.0)
    assert rows[1.0, 1.0].landmark_f1 == 1.0 > before.landmark_f1


PARTS = (slice(0, 6), slice(6, 12))


@pytest.mark.slow
def test_a_run_that_was_stopped_trains_no_fold_again(
    small_photographs: Path,
    tiny_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = fitted_shares.settings_of

    def small(**given: object) -> object:
        return whole(**{**given, "changes": [*small_run.SETTINGS, *given["changes"]]})

    monkeypatch.setattr(fitted_shares, "settings_of", small)
    monkeypatch.setattr(fitted_shares, "FOLDS", 2)
    words = [str(small_photographs), "--weights", str(tiny_weights), "--assignments", "1"]
    words += ["--runs", str(tmp_path / "runs"), "--out"]
    tables = []
    for name in ("one.csv", "two.csv"):
        done = CliRunner().invoke(
            fitted_shares.main, [*words, str(tmp_path / name)], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        lines = (tmp_path / name).read_text("utf-8").splitlines()
        tables.append([line for line in lines if not line.startswith("#")])
        monkeypatch.setattr(fitted_shares, "Trainer", None)  # would fail if it trained
    assert tables[0] == tables[1]
    rows = list(csv.DictReader(tables[0]))
    assert len(rows) == len(fitted_shares.BLENDS) * len(fitted_shares.REFITS)
    assert {row["images"] for row in rows} == {"48"}
