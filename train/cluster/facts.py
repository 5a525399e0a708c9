"""The comparison of the workers: what must be equal on all before the first step.

A fact is a name and a value, both for people. Without the comparison each worker would split
photographs of its own, and the network would learn other labels for the same output.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from lmedge import __version__
from lmedge.errors import WorkersDifferError
from lmedge.evaluation import PARTS
from lmedge.evaluation.folders import LabelledImage
from lmedge.text_files import nfc

from ..data.store import ImageEntry
from ..description import versions
from ..options import WEIGHTS, TrainingOptions, find_weights
from ..run import Run
from .sharing import gather
from .team import team

Facts = dict[str, str]
ORDER = "order of the images"
_NAMED = 4  # differences in one line


def compare_workers(facts: Facts) -> None:
    """Compare facts with those of the other workers, if there are any.

    Raises:
        WorkersDifferError: on all workers, with the same line.
    """
    workers = team()
    if workers is None:
        return
    found = [json.loads(one) for one in gather(workers, json.dumps(facts).encode())]
    names = [workers.cluster.name(number) for number in range(workers.size)]
    if (line := difference(found, names)) is not None:
        raise WorkersDifferError(line)


def difference(found: Sequence[Facts], names: Sequence[str]) -> str | None:
    """Return the line on which workers differ from the first one in what, None if none does."""
    first, lines = found[0], []
    for own, name in zip(found[1:], names[1:], strict=True):
        if keys := _differing(own, first):
            told = [_told(key, own, first) for key in keys[:_NAMED]]
            more = [f"{len(keys) - _NAMED} more"] if len(keys) > _NAMED else []
            lines.append(f"{name} has {', '.join(told + more)}")
    if not lines:
        return None
    return (
        f"{'; '.join(lines)} than {names[0]}; give all workers the same photographs, command and "
        "versions"
    )


def _told(key: str, own: Facts, first: Facts) -> str:
    if key not in own:
        return f"no {key}"
    if key not in first:
        return f"an extra {key}"
    mine, other = own[key], first[key]
    if "\t" in mine:  # a number of images, and their hash
        mine, other = (value.partition("\t")[0] for value in (mine, other))
        return f"other {key}" + (f" ({mine}, not {other})" if mine != other else "")
    return f"another {key} ({_short(mine)}, not {_short(other)})"


def _differing(own: Facts, first: Facts) -> list[str]:
    """Return the names of facts that differ, without those that follow from another of them."""
    keys = [key for key in {**first, **own} if first.get(key) != own.get(key)]
    if len(keys) > 1 and ORDER in keys:
        keys.remove(ORDER)
    whole = {key for key in keys if key not in own or key not in first}
    return [key for key in keys if not any(one in key and one != key for one in whole)]


def _short(value: str) -> str:
    return value if len(value) <= 60 else f"{value[:57]}..."


def command_facts(options: TrainingOptions, folder: Path | None) -> Facts:
    """Return what the command line and the installation give.

    Args:
        options: of a new run.
        folder: that of the run that goes on, whose own values are used; otherwise None.
    """
    facts = {"lmedge": __version__, **versions()}
    if folder is not None:
        return {**facts, "--resume": "yes", "state of the run": _state(folder)}
    for section, values in options.recipe.as_dict().items():
        for key, value in values.items():
            facts[f"{section}.{key}"] = str(value)
    return {
        **facts,
        "--resume": "no",
        "--seed": str(options.seed),
        "--strategy": options.strategy,
        "--weights": _weights(options.weights),
        "--allow-leak": str(options.allow_leak),
    }


def _state(folder: Path) -> str:
    """Return a hash of a run folder: its description, and which phases have come how far."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "train.log":
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder)}\t{size}\n".encode(errors="replace"))
    for name in ("run.json", "history.csv"):
        if (path := folder / name).is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _weights(name: str) -> str:
    """Return the name of weights, or the hash of their file or folder with the given input."""
    found = None if name in WEIGHTS else find_weights(name)
    if found is None:
        return name
    path, given = found
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"a file of hash {digest.hexdigest()[:16]}" + ("" if given is None else f"@{given}")


def listing_facts(images: Sequence[LabelledImage]) -> Facts:
    """Return the landmarks of a listing and the names and sizes of their files; none is read."""
    if team() is None:
        return {}
    facts: Facts = {}
    groups: dict[str, list[str]] = defaultdict(list)
    for image in images:
        facts[f"landmark {image.landmark!r}"] = image.category
        groups[image.landmark].append(f"{nfc(image.path.name)}\t{_size(image.path)}")
    for landmark, lines in groups.items():
        digest = hashlib.sha256("\n".join(lines).encode(errors="replace"))
        facts[f"files of landmark {landmark!r}"] = f"{len(lines)}\t{digest.hexdigest()}"
    return facts


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # whoever reads it says so
        return -1


def image_facts(run: Run) -> Facts:
    """Return the landmarks of a run with their categories, and the images of each in each part."""
    facts = {
        f"landmark {landmark!r}": category
        for landmark, category in run.taxonomy.hierarchy().items()
    }
    for part in PARTS:
        groups: dict[str, list[ImageEntry]] = defaultdict(list)
        for entry in run.entries(part):
            groups[entry.image.landmark].append(entry)
        for landmark, entries in groups.items():
            facts[f"images of landmark {landmark!r} in {part}"] = _images(entries)
    facts[ORDER] = _images([entry for part in PARTS for entry in run.entries(part)], ordered=True)
    if run.unknown:
        facts["unknown images"] = _images(run.unknown)
    return facts


def _images(entries: Sequence[ImageEntry], *, ordered: bool = False) -> str:
    hashes = [entry.sha256 for entry in entries]
    digest = hashlib.sha256("\n".join(hashes if ordered else sorted(hashes)).encode())
    return f"{len(entries)}\t{digest.hexdigest()}"
