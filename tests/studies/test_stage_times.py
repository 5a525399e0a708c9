"""What each stage of an export takes."""

from __future__ import annotations

import csv
import time

from benchmarks.studies.stage_times import COLUMNS, Measured, table


def test_a_row_a_stage_with_what_was_done_in_it() -> None:
    stages = Measured()
    with stages.timed("waiting"):
        time.sleep(0.2)
    with stages.timed("working"):
        began = time.process_time()
        while time.process_time() - began < 0.3:
            pass
    command, machine, *lines = table(stages).splitlines()
    assert command == "# command: python -m benchmarks.studies.stage_times RUN"
    assert machine.startswith("# machine: ")
    waiting, working = list(csv.DictReader(lines))
    assert list(waiting) == list(COLUMNS)
    assert (waiting["stage"], working["stage"]) == ("waiting", "working")
    assert float(waiting["seconds"]) >= 0.2
    assert float(waiting["processor_seconds"]) <= 0.1
    assert float(working["processor_seconds"]) >= 0.3
    assert float(working["peak_mb"]) >= float(waiting["peak_mb"]) > 10
