"""Write the files that the fuzzer begins with: a tiny file, one with all of a card, and a base.

python -m tests.hostile.make_seeds
"""

from __future__ import annotations

from typing import Any

from lmedge.metadata import Card, pack
from tests import kept
from tests import tiny_file as tiny

from .fuzz import SEEDS

HEAD = {"macro_f1": 0.5, "n": 9, "interval": [0.4, 0.6]}
HEADS = {"landmark": HEAD, "category": HEAD}
INFO: dict[str, Any] = {
    "preprocessing": {"size": tiny.SIZE, "resize": "crop"},
    "temperatures": {"landmark": 1.0, "category": 1.0},
    "metrics": {"test": {"file": HEADS}},
    "gate": {"problems": ["a"]},
    "rejection": {"threshold": 0.5, "score": "known", "kept": 0.9, "false_accepts": 0.1},
    "decoding": {"category_weight": 0.5},
    "golden": {"landmark": [[0.25] * 4], "category": [[0.5] * 2]},
    "provenance": {
        "strategy": "a",
        "pictures": {"train": 9},
        "refit_of": {"run": "a", "test": HEADS},
    },
}


def main() -> None:
    """Write all of them."""
    card = Card(
        name="tiny",
        description="four colours",
        version="0.1.0",
        taxonomy=tiny.TAXONOMY,
        size=tiny.SIZE,
        info=INFO,
    )
    SEEDS.mkdir(exist_ok=True)
    (SEEDS / "known.tflite").write_bytes(pack(tiny.graph(known=True), card))
    (SEEDS / "base.tflite").write_bytes(tiny.base_bytes())
    (SEEDS / "tiny.tflite").write_bytes((kept.folder("tiny") / "tiny.tflite").read_bytes())


if __name__ == "__main__":
    main()
