"""The comparison of a remote host as an object of this machine, as `received` reads a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import click

from lmedge.harmless import harmless
from lmedge.model_file import ModelFile
from lmedge.remote.payload import Payload

from .latency import Spread
from .several import BenchmarkComparison, ComparedFile
from .untrusted import Field, agree, odd, samples_of


def comparison_of(
    text: str, samples: str, payload: Payload, models: Sequence[ModelFile]
) -> BenchmarkComparison:
    """Return the comparison from the texts of comparison.json and samples.csv.

    Raises:
        HostError: A value is not what the same benchmark writes here.
    """
    found = Field.parse(text, "comparison.json")
    rows = found["entries"].items(1, 1000)
    times = samples_of(samples, len(rows))
    pictures = found["pictures"].whole(0, len(payload.pictures))
    compared = BenchmarkComparison(
        machine=found["machine"].text(1000),
        runs=len(times),
        pictures=pictures,
        entries=tuple(
            _entry(one, payload, models, Spread.of(own), pictures > 0)
            for one, own in zip(rows, times.T, strict=True)
        ),
        noisy=tuple(one.text() for one in found["noisy"].items(0, 3)),
        samples=times,
        absent=_absent(found["absent"], models[0].taxonomy.landmarks),
        left_out=found["left_out"].whole(0, len(payload.pictures)),
    )
    agree(found.value, compared.as_dict(), found.where)
    return compared


def _entry(
    found: Field, payload: Payload, models: Sequence[ModelFile], times: Spread, scored: bool
) -> ComparedFile:
    sizes: dict[str, set[int]] = {}
    for path, there, model in zip(payload.files, payload.files_there, models, strict=True):
        for name in (path.name, click.format_filename(there)):
            sizes.setdefault(harmless(name), set()).add(len(model.data))
    name, size = found["name"].text(10_000), found["bytes"].whole()
    if size not in sizes.get(name, ()):
        odd(found.where, "is no file that was sent")
    entry = ComparedFile(
        name=name,
        runtime=found["runtime"].text(),
        bytes=size,
        p50_ms=times.p50,
        p90_ms=times.p90,
        ratio=found["ratio"].number(),
        ratio_interval=_pair(found["ratio_interval"], 0.0, 1e12),
    )
    if not scored:
        return entry
    return dataclasses.replace(
        entry,
        macro_f1=found["macro_f1"].share(),
        macro_f1_seen=found["macro_f1_seen"].share(),
        difference=found["difference"].number(-1, 1),
        difference_interval=_pair(found["difference_interval"], -1, 1),
        same_answer=found["same_answer"].share(),
    )


def _absent(found: Field, landmarks: Sequence[str]) -> tuple[str, ...]:
    """Return the landmarks without images, each once and in the order of the labels."""
    names = tuple(one.text(10_000) for one in found.items(0, len(landmarks)))
    if names != tuple(name for name in landmarks if name in set(names)):
        odd(found.where, "are no landmarks of the files")
    return names


def _pair(found: Field, low: float, high: float) -> tuple[float, float]:
    first, second = (one.number(low, high) for one in found.items(2, 2))
    return first, second
