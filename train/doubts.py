"""Reasons to doubt a run that has ended: what did not go as planned, and what was not learned."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from lmedge.evaluation import CROSS_VALIDATED
from lmedge.model_file import HEADS

from .history import HistoryRow
from .out_of_fold import fold_run
from .run import Run

NEVER_FELL = 3  # epochs from which a loss that never fell is no accident
ONE_SIDED = 1.6448536269514722  # standard deviations: 5 % of guesses are better than that
Planned = Sequence[tuple[str, int]]  # phases and their epochs


def find_doubts(
    run: Run, planned: Planned, metrics: Mapping[str, Any], left_out: Collection[str] = ()
) -> list[str]:
    """Return a line for each reason; none for a sound run.

    Args:
        run: A run whose phases have ended.
        planned: Its phases and the epochs of each.
        metrics: The content of its metrics.json.
        left_out: The phases that the network that ships left out, by the out-of-fold answers.
    """
    networks = 0 if run.plan is None else run.plan.networks
    runs = {"": run} | {f"fold {n + 1}: ": fold_run(run, n) for n in range(networks)}
    histories = {name: one.history() for name, one in runs.items()}
    own = [(phase, epochs) for phase, epochs in planned if phase not in left_out]
    found = [
        f"{phase} was left out: the out-of-fold answers were worse with it" for phase in left_out
    ]
    for name, rows in histories.items():
        found += _ended_early(name, rows, planned if name else own)
    if not any(epochs for _, epochs in planned):
        found.append("no phase has an epoch: the network is as it began")
    found += _never_fell(histories[""])
    return [*found, *_guessing(metrics)]


def _ended_early(name: str, history: Sequence[HistoryRow], planned: Planned) -> Iterator[str]:
    for phase, epochs in planned:
        done = max((row.epoch for row in history if row.phase == phase), default=0)
        if done < epochs:
            yield f"{name}{phase} ended after epoch {done} of {epochs}: the next one diverged"


def _never_fell(history: Sequence[HistoryRow]) -> Iterator[str]:
    losses: dict[str, list[float]] = {}
    for row in history:
        losses.setdefault(row.phase, []).append(row.loss)
    for phase, values in losses.items():
        if len(values) >= NEVER_FELL and min(values[1:]) >= values[0]:
            yield (
                f"{phase}: the loss never fell in {len(values)} epochs, from {values[0]:.4g} to "
                f"{values[-1]:.4g}; try another learning rate"
            )


def _guessing(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Compare the heads with the prediction of the most frequent class for every image."""
    part = next((name for name in (CROSS_VALIDATED, "test", "val") if name in metrics), None)
    for head in HEADS if part is not None else ():
        score = metrics[str(part)][head]
        supports = [int(one["support"]) for one in score["classes"].values()]
        if len(supports) < 2:
            continue
        count, most = int(score["n"]), max(supports)
        share = most / count
        right = round(score["accuracy"] * count)
        if right <= most + ONE_SIDED * math.sqrt(count * share * (1 - share)):
            yield (
                f"the {head} head is right on {right} of {count} images, which does not show that "
                f"it has learned: the most frequent {head} alone would be right on {most}"
            )
