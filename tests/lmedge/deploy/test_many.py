"""Several boards in one call: the first alone, a line for each, and one exit code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lmedge.deploy import command as module
from lmedge.deploy.plan import BoardPlan
from lmedge.deploy.session import BoardResult, DeployOptions, Done
from lmedge.deploy.state import Reason
from tests.in_process import lmedge

FLEET = "".join(f'[board.b{number}]\nhost = "h{number}"\n' for number in range(4))
Ends = dict[str, BoardResult]


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    """The ends of boards that are no `Done.GOOD`; filled by a test."""
    found: Ends = {}

    def deploy_to(
        plan: BoardPlan, options: DeployOptions, step: Callable[[str], None]
    ) -> BoardResult:
        step("looking")
        return found.get(plan.name) or BoardResult(board=plan.name, done=Done.GOOD)

    monkeypatch.setattr(module, "deploy_to", deploy_to)
    return found


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    return path


def slow(name: str) -> BoardResult:
    return BoardResult(board=name, done=Done.REFUSED, reason=Reason.SLOW, detail="90 ms\x1b[2J")


def test_each_board_has_a_line_and_the_failed_ones_are_named(
    ends: Ends, fleet: Path, tiny_file: Path
) -> None:
    assert lmedge("-q", "deploy", tiny_file, "--fleet", fleet).returncode == 0
    ends["b2"] = slow("b2")
    ends["b3"] = BoardResult(board="b3", done=Done.LOST, detail="away")
    done = lmedge("-q", "deploy", tiny_file, "--fleet", fleet)
    assert done.returncode == 14
    assert done.stdout.splitlines() == [
        "b0  deployed",
        "b1  deployed",
        "b2  refused      too slow: 90 ms\ufffd[2J",
        "b3  not reached  away",
    ]
    assert done.stderr == "lmedge: 2 of 4 boards do not run it: b2, b3\n"


def test_if_the_first_fails_the_others_are_left_alone(
    ends: Ends, fleet: Path, tiny_file: Path
) -> None:
    ends["b0"] = slow("b0")
    done = lmedge("deploy", tiny_file, "--fleet", fleet, "--canary")
    assert done.returncode == 14
    assert done.stderr.count("looking") == 1
    assert done.stdout.count("left alone  since b0 failed") == 3
    del ends["b0"]
    done = lmedge("deploy", tiny_file, "--fleet", fleet, "--canary")
    assert done.returncode == 0 and done.stderr.count("looking") == 4


def test_as_many_boards_at_a_time_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(3, timeout=10)

    def deploy_to(plan: BoardPlan, *_: object) -> BoardResult:
        together.wait()
        return BoardResult(board=plan.name, done=Done.GOOD)

    monkeypatch.setattr(module, "deploy_to", deploy_to)
    plans = [BoardPlan(name=str(number), host="h") for number in range(6)]
    options = DeployOptions(file=Path("x"))
    results = module.deploy_to_all(plans, options, at_once=3, canary=False)
    assert [result.board for result in results] == [plan.name for plan in plans]
