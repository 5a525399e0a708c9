"""`lmedge inspect` and `lmedge labels`: the content of an exported file."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from ..base_file import BaseFile, parse_any
from ..decoding import Decoding
from ..errors import ModelFileError
from ..evaluation import part_name
from ..golden import FeatureVerification, Verification, verify, verify_base
from ..harmless import echo, harmless, json_text
from ..model_file import ModelFile, read_bytes, read_model
from ..rejection import Threshold
from ..report.terminal import HarmlessConsole

AnyFile = ModelFile | BaseFile
AnyVerification = Verification | FeatureVerification
UNAVAILABLE = "not available"


@click.command(short_help="Show what an exported file is and holds.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, not a card.")
@click.option(
    "--verify",
    "check",
    is_flag=True,
    help="Run the golden images and compare with the answers in the file.",
)
def inspect(file: Path, as_json: bool, check: bool) -> None:
    """Show task, labels, sizes, operators, metrics and origin of an exported file.

    A base has an origin and a licence, and no labels.

    With --verify the file is run on images made by a formula. The exit code is 4 if its answers
    differ from those stored when it was exported.
    """
    model = parse_any(read_bytes(file), file)
    verification = _verified(model) if check else None
    if as_json:
        echo(json_text(card_of(model, verification), indent=2))
    else:
        _show(model, verification)
    if verification is not None and not verification.passed:
        raise ModelFileError(
            f"{file}: gives other answers here than where it was exported "
            f"({_difference(verification)}); update the runtime, or do without --delegate"
        )


def _verified(model: AnyFile) -> AnyVerification:
    return verify_base(model) if isinstance(model, BaseFile) else verify(model)


def _difference(verification: AnyVerification) -> str:
    if isinstance(verification, FeatureVerification):
        return f"a feature differs by {verification.largest} steps"
    return f"a probability differs by {verification.largest:.3f}"


@click.command("labels", short_help="List the labels of an exported file.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: landmark to category.")
def list_labels(file: Path, as_json: bool) -> None:
    """List the landmarks of a file with their categories, one a line, with a tab between."""
    hierarchy = read_model(file).taxonomy.hierarchy()
    if as_json:
        echo(json_text(hierarchy, indent=2))
        return
    for landmark, category in hierarchy.items():
        echo(f"{harmless(landmark)}\t{harmless(category)}")


def card_of(model: AnyFile, verification: AnyVerification | None) -> dict[str, Any]:
    """Return the object of `lmedge inspect --json`; docs/formats.md names its fields."""
    return {
        "file": click.format_filename(model.path),
        "bytes": len(model.data),
        "sha256": model.sha256,
        "input": {"size": model.size, "resize": model.resize.value, "dtype": model.image.dtype},
        "operators": [
            {"operator": name, "dtype": dtype, "count": count}
            for (name, dtype), count in sorted(model.operators.items())
        ],
        "info": {key: value for key, value in model.info.items() if key != "golden"},
        "verification": None
        if verification is None
        else {
            **dataclasses.asdict(verification),
            "identical": verification.identical,
            "passed": verification.passed,
        },
    }


def _show(model: AnyFile, verification: AnyVerification | None) -> None:
    info = model.info
    counts: collections.Counter[str] = collections.Counter()
    for (_, dtype), count in model.operators.items():
        counts[dtype] += count
    image = f"{model.size} x {model.size} RGB, {model.image.dtype}, {model.resize.value}"
    rows = [
        ("task", _task(model)),
        ("size", f"{len(model.data) / 1e6:.2f} MB"),
        ("input", image),
        ("operators", ", ".join(f"{n} {dtype}" for dtype, n in counts.most_common())),
        *(_base_rows(model) if isinstance(model, BaseFile) else _head_rows(model)),
        ("exported by", f"lmedge {info.get('lmedge', UNAVAILABLE)}"),
        ("sha256", model.sha256),
    ]
    if verification is not None:
        rows.append(("verified", _verdict(verification)))
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(harmless(value)))
    console = HarmlessConsole()
    console.print(Text(harmless(model.path), style="bold"))
    console.print(table)
    if isinstance(model, BaseFile):
        return
    taxonomy = model.taxonomy
    for category in taxonomy.categories:
        own = [name for name, parent in taxonomy.hierarchy().items() if parent == category]
        console.print(
            Text(harmless(f"{category}: {', '.join(own)}")), soft_wrap=not console.is_terminal
        )


def _task(model: AnyFile) -> str:
    if isinstance(model, BaseFile):
        return f"a base of {model.features.shape[1]} features, without landmarks: `lmedge teach`"
    taxonomy = model.taxonomy
    return taxonomy.summary


def _head_rows(model: ModelFile) -> list[tuple[str, str]]:
    provenance = _section(model.info, "provenance")
    images = _section(provenance, "pictures")
    return [
        ("metrics", _metrics(_section(model.info, "metrics"))),
        ("gate", _gate(model.info.get("gate"))),
        ("decoding", f"category weight {Decoding.of(model).category_weight:g}"),
        ("threshold", _threshold(model)),
        ("trained on", f"{images['train']} images" if "train" in images else UNAVAILABLE),
        ("strategy", str(provenance.get("strategy", UNAVAILABLE))),
        ("remembers", _memory(model.info)),
    ]


def _base_rows(base: BaseFile) -> list[tuple[str, str]]:
    provenance = _section(base.info, "provenance")
    weights = _section(provenance, "weights")
    return [
        ("backbone", str(provenance.get("backbone", UNAVAILABLE))),
        ("weights", f"{weights.get('origin', UNAVAILABLE)}, sha256 {weights.get('sha256')}"),
        ("licence", str(weights.get("licence", UNAVAILABLE))),
        ("calibrated on", str(provenance.get("calibration", UNAVAILABLE))),
    ]


def _section(info: Any, name: str) -> dict[str, Any]:
    found = info.get(name)
    return found if isinstance(found, dict) else {}


def _metrics(metrics: dict[str, Any]) -> str:
    """Return macro F1 of the file by part, with the interval if the file has it."""
    try:
        parts = [
            f"{part_name(part)}: landmark F1 {_f1(scores['file'], 'landmark')}, "
            f"category F1 {_f1(scores['file'], 'category')} on {scores['file']['landmark']['n']}"
            for part, scores in metrics.items()
        ]
    except (KeyError, TypeError, ValueError):
        return UNAVAILABLE
    return "; ".join(parts) or UNAVAILABLE


def _f1(scores: dict[str, Any], head: str) -> str:
    """Return macro F1 of a head with its 95 % interval, which older files do not have."""
    value = f"{scores[head]['macro_f1']:.3f}"
    if "interval" not in scores[head]:
        return value
    low, high = scores[head]["interval"]
    return f"{value} ({low:.3f} to {high:.3f})"


def _gate(gate: Any) -> str:
    problems = gate.get("problems") if isinstance(gate, dict) else None
    if not isinstance(problems, list):
        return UNAVAILABLE
    return f"FORCED: {'; '.join(map(str, problems))}" if problems else "passed"


def _memory(info: Any) -> str:
    """Return what a taught file holds of the photographs."""
    entry = _section(info, "taught")
    if not isinstance(entry.get("features"), str):
        return "no photographs"
    counts = _section(entry, "photographs").values()
    count = sum(one for one in counts if isinstance(one, int))
    return (
        f"features of {count} photographs and of {entry.get('unknown', 0)} unknown images, "
        f"{entry.get('width')} numbers each, no pixels; leave them out with --forget"
    )


def _threshold(model: ModelFile) -> str:
    threshold = Threshold.of(model)
    if threshold.least == 0:
        return "none: every image is given a landmark"
    stored = model.info["rejection"]
    shares = [
        f"{float(stored[key]):.1%} of {what}"
        for key, what in (("kept", "test images"), ("false_accepts", "unknown images"))
        if isinstance(stored.get(key), float)
    ]
    passing = f"; {' and '.join(shares)} pass" if shares else ""
    return f'"not a landmark" below {threshold.describe()}{passing}'


def _verdict(verification: AnyVerification) -> str:
    count = f"{verification.pictures} golden images"
    if verification.identical:
        return f"{count}: the answers are those of the export"
    if isinstance(verification, FeatureVerification):
        return f"{count}: {_difference(verification)}, cosine {verification.least_cosine:.4f}"
    if verification.passed:
        return f"{count}: the same classes, a probability differs by {verification.largest:.4f}"
    return f"{count}: OTHER ANSWERS than at the export"
