"""Mistakes in the arguments are reported before TensorFlow is imported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from lmedge.train.run import Run

CODE = """
import contextlib, io, json, os, sys
from lmedge.cli import main

found = []
for words, environment in json.loads(sys.argv[1]):
    os.environ.update(environment)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            main(words)
    except SystemExit as end:
        loaded = sorted({"tensorflow", "tf_keras", "keras"} & set(sys.modules))
        found.append([end.code, said.getvalue(), loaded])
print(json.dumps(found))
"""
CLUSTER = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}


def test_no_mistake_waits_for_tensorflow(finished_run: Run, tmp_path: Path) -> None:
    """All in one fresh process: it has never imported TensorFlow when the last one is reported."""
    folder, data = str(finished_run.folder), finished_run.data
    unfinished = Path(shutil.copytree(folder, tmp_path / "unfinished"))
    (unfinished / "weights.safetensors").unlink()
    multiworker = ["train", data, "--distribute", "multiworker"]
    cases: list[tuple[list[str], dict[str, str], int, str]] = [
        (["train", data, "--strategy", "landmark-first"], {}, 10, "did you mean landmarks-first?"),
        (["train", data, "--set", "head.epoch=3"], {}, 10, "did you mean head.epochs?"),
        (["train", data, "--device", "tpu"], {}, 1, "--device tpu: allowed are auto"),
        (multiworker, {"TF_CONFIG": ""}, 1, "needs TF_CONFIG"),
        (multiworker, {"TF_CONFIG": "{"}, 1, "TF_CONFIG is not a cluster"),
        (multiworker, {"TF_CONFIG": json.dumps(CLUSTER)}, 2, "multiworker needs --out"),
        (["train", data, "--cross-fit", "--recipe", "demo"], {}, 10, "data.folds is 0"),
        (["train", data, "--cross-fit", "--distribute", "mirrored"], {}, 2, "on one device"),
        (["train", data, "--resume", "--out", str(tmp_path)], {}, 5, "is not a run folder"),
        (["train", data, "--resume", "--out", folder], {}, 5, "is finished"),
        (["evaluate", str(tmp_path)], {}, 5, "is not a run folder"),
        (["evaluate", str(unfinished)], {}, 5, "training has not ended"),
        (["train", "--help"], {}, 0, "landmarks-first|categories-first|landmarks-feature"),
    ]
    asked = json.dumps([(words, environment) for words, environment, _, _ in cases])
    done = subprocess.run(
        [sys.executable, "-c", CODE, asked],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        check=True,
    )
    found = json.loads(done.stdout)
    assert len(found) == len(cases)
    for (words, _, code, told), (ended, said, loaded) in zip(cases, found, strict=True):
        assert ended == code, (words, said)
        assert told in said, (words, said)
        assert not loaded, words
