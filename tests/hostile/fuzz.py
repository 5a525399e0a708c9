"""Fuzz the reader of .tflite files by coverage with atheris, which lmedge does not depend on.

    python -m pip install atheris==3.0.0
    python -m tests.hostile.fuzz FOLDER --seconds 900

FOLDER keeps the files that reached new code, so that a later call goes on from there. A file that
is a defect is written into FOLDER/defects, and ends the call with an exit code other than 0. With
--runs in place of --seconds the same seed and the same empty FOLDER try the same files.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path
from typing import Any

SEEDS = Path(__file__).parent / "seeds"
LONGEST = 64 * 1024  # bytes of a file
MUTATIONS = 58  # of each seed by corpus.py, to begin with: two of a kind


def main() -> None:
    """Fuzz until the time or the number of files is reached, or a defect is found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--runs", type=int, default=-1)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    defects = asked.folder / "defects"
    defects.mkdir(parents=True, exist_ok=True)
    fuzzer: Any = importlib.import_module("atheris")
    with fuzzer.instrument_imports(include=["lmedge"]):
        reading: Any = importlib.import_module("tests.hostile.reading")
    fill(asked.folder / "found")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file.tflite")

        def change(data: bytes, longest: int, seed: int) -> bytes:
            return bytes(reading.changed(data, longest, seed, fuzzer.Mutate))

        words = {
            "max_len": LONGEST,
            "max_total_time": asked.seconds,
            "runs": asked.runs,
            "seed": asked.seed,
            "timeout": 30,  # of a clock; the time of a processor is measured by `read`
            "malloc_limit_mb": reading.MEGABYTES,
            "rss_limit_mb": 2048,
            "artifact_prefix": f"{defects}/",
            "print_final_stats": 1,
        }
        options = [f"-{name}={value}" for name, value in words.items()]
        fuzzer.Setup(
            ["fuzz", *options, str(asked.folder / "found")],
            lambda data: reading.read(data, path),
            custom_mutator=change,
        )
        fuzzer.Fuzz()


def fill(folder: Path) -> None:
    """Write the seeds and mutations of them, if the folder is new."""
    if folder.exists():
        return
    corpus: Any = importlib.import_module("tests.hostile.corpus")
    files: Any = importlib.import_module("tests.hostile.files")
    folder.mkdir()
    for seed in sorted(SEEDS.glob("*.tflite")):
        good = seed.read_bytes()
        (folder / seed.name).write_bytes(good)
        if "landmark_labels.txt" not in files.parts(good)[1]:
            continue  # a base, which those mutations of labels do not fit
        for one in corpus.corpus(good, MUTATIONS, 0):
            if len(one.data) <= LONGEST:
                (folder / f"{seed.stem}-{one.number}").write_bytes(one.data)


if __name__ == "__main__":
    main()
