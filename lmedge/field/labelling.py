"""Labels for collected images: decisions of a person, copies in <category>/<landmark>/, undo."""

from __future__ import annotations

import dataclasses
import datetime
import filecmp
import hashlib
import itertools
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import DataError, LmedgeError
from ..evaluation.intervals import wilson_interval
from ..files import copy_as, writing
from ..regular import read_regular
from ..text_files import nfc
from .collected import CollectedImage, list_collected
from .destination import Destination
from .groups import ImageGroup, make_groups
from .journal import Entry, Journal
from .origin import change_origin

LABEL, UNKNOWN_IMAGE, DISCARD, UNDO = "label", "unknown", "discard", "undo"
DECISIONS = (LABEL, UNKNOWN_IMAGE, DISCARD)
_LARGEST_IMAGE = 512 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldAccuracy:
    """The share of right predictions among the labelled images of the random share.

    Attributes:
        images: Labelled images of the random share, without discarded ones.
        right: Those whose prediction was the label, "unknown" included.
        bursts: Scenes among them; the interval counts these, since frames of one are alike.
        interval: 95 % interval of the share.
    """

    images: int
    right: int
    bursts: int
    interval: tuple[float, float]


class Labeller:
    """The images of a folder, their groups, and what was decided about them.

    All methods may be called by several threads.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        """Read both folders, and carry out what a process that died has left to do.

        Args:
            folder: The folder of `lmedge camera --collect`, or a copy of it.
            data: The photographs that the images are added to; it is made if it is missing.

        Raises:
            DataError: A folder cannot be used.
            LmedgeError: A file cannot be written.
        """
        self.folder, self.data = folder, data
        self._lock = threading.RLock()
        found = list(list_collected(folder))
        self.problems = [str(one) for one in found if isinstance(one, DataError)]
        self._images = {
            one.path.relative_to(folder).as_posix(): one
            for one in found
            if isinstance(one, CollectedImage)
        }
        if not self._images:
            raise DataError(f"{folder}: holds no collected images; name that of --collect")
        self._names = {id(one): name for name, one in self._images.items()}
        self._target = Destination(data, self._images.values())
        self._journal = Journal(folder)
        self._finish()
        self._decided: dict[str, Entry] = {}
        self._undoable: list[Entry] = []
        for entry in self._journal.decisions.values():
            self._remember(entry)
        self._groups = make_groups([self._images[name] for name in self.left()])

    @property
    def categories(self) -> dict[str, str]:
        """The category of each landmark that is known."""
        return self._target.categories

    @property
    def total(self) -> int:
        """The number of images."""
        return len(self._images)

    def left(self) -> list[str]:
        """Return the names of the images without a decision, in their order."""
        return [name for name in self._images if name not in self._decided]

    def image(self, name: str) -> CollectedImage | None:
        """Return an image by its name."""
        return self._images.get(name)

    def name_of(self, image: CollectedImage) -> str:
        """Return the name of an image: its path below the folder."""
        return self._names[id(image)]

    def upcoming(self, count: int) -> list[ImageGroup]:
        """Return the next groups that have images left."""
        with self._lock:
            found = []
            for group in self._groups:
                rest = [one for one in group.images if self._names[id(one)] not in self._decided]
                if rest:
                    found.append(dataclasses.replace(group, images=tuple(rest)))
                if len(found) == count:
                    break
            return found

    @property
    def can_undo(self) -> bool:
        """True if there is a decision to take back."""
        return bool(self._undoable)

    def decide(
        self, decision: str, names: Sequence[str], landmark: str = "", category: str = ""
    ) -> None:
        """Decide about images: LABEL with both labels, UNKNOWN_IMAGE or DISCARD.

        Raises:
            DataError: A name or a label cannot be used.
            LmedgeError: A file cannot be written; the decision is carried out at the next start.
        """
        with self._lock:
            self._finish()
            if decision not in DECISIONS or not names:
                raise DataError(f"{decision!r} is no decision about images")
            for name in names:
                if name not in self._images or name in self._decided:
                    raise DataError(f"{name}: no image without a decision; load the page again")
            landmark, category = nfc(landmark.strip()), nfc(category.strip())
            if decision != LABEL:
                landmark = category = ""
            else:
                category = self._target.check_label(landmark, category)
            folder = None if decision == DISCARD else self._target.folder_of(landmark, category)
            entry = self._journal.begin(
                {
                    "do": decision,
                    "images": [self._placed(name, folder) for name in names],
                    "landmark": landmark,
                    "category": category,
                    "data": str(self.data.absolute()),
                    "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                }
            )
            self._remember(entry)
            self._carry_out(entry)
            if decision == LABEL:
                self._target.categories.setdefault(landmark, category)

    def undo(self) -> list[str]:
        """Take back the last decision; return the names of its images.

        A copy is removed if this program has made it and nobody has changed it.
        """
        with self._lock:
            self._finish()
            if not self._undoable:
                raise DataError("there is nothing to undo")
            last = self._undoable[-1]
            entry = self._journal.begin({"do": UNDO, "images": last["images"], "of": last["id"]})
            self._remember(entry)
            self._carry_out(entry)
            return [image["name"] for image in last["images"]]

    def counts(self) -> dict[str, int]:
        """Return how many images have each kind of decision."""
        kinds = [entry["do"] for entry in self._decided.values()]
        return {kind: kinds.count(kind) for kind in DECISIONS}

    def accuracy(self) -> FieldAccuracy | None:
        """Return how often the predictions of the random share were right, None without any."""
        rights, bursts = [], set()
        for name, entry in self._decided.items():
            image = self._images.get(name)
            if image is None or not image.is_random or entry["do"] == DISCARD:
                continue
            shown = image.landmark if image.known else ""
            rights.append(shown == entry["landmark"])
            bursts.add(image.burst)
        if not rights:
            return None
        share = sum(rights) / len(rights)
        return FieldAccuracy(
            images=len(rights),
            right=sum(rights),
            bursts=len(bursts),
            interval=wilson_interval(round(share * len(bursts)), len(bursts)),
        )

    def _placed(self, name: str, folder: Path | None) -> dict[str, object]:
        """Return the free name that an image gets, or the one that it has there already."""
        image = self._images[name]
        if folder is None:
            return {"name": name, "to": "", "made": False}
        for number in itertools.count(1):
            end = "" if number == 1 else f"-{number}"
            target = folder / f"{image.path.stem}{end}{image.path.suffix}"
            same = target.is_file() and filecmp.cmp(image.path, target, shallow=False)
            if same or not target.exists():
                place = target.relative_to(self.data).as_posix()
                return {"name": name, "to": place, "made": not same}
        raise AssertionError("itertools.count ends")

    def _finish(self) -> None:
        """Carry out decisions that a full disk or the end of a process kept from being done."""
        for entry in self._journal.pending:
            self._carry_out(entry)

    def _carry_out(self, entry: Entry) -> None:
        """Copy or remove what a decision is about; a second time it changes nothing."""
        undone = entry["do"] == UNDO
        if "data" in entry and Path(entry["data"]) != self.data.absolute():
            raise DataError(
                f"{self._journal.path}: the last decision was for {entry['data']}; name that --data"
            )
        rows, gone = [], []
        for image in entry["images"]:
            found = self._images.get(image["name"])
            if not image["to"] or found is None:
                continue
            target = self.data / image["to"]
            if undone:
                self._remove(target, found, made=bool(image["made"]))
                gone.append(image["to"])
            else:
                self._copy(found, target)
                rows.append(self._row(found, image["to"], entry))
        if rows or gone:
            change_origin(self.data, rows, gone)
        self._journal.end(entry)

    def _copy(self, image: CollectedImage, target: Path) -> None:
        if not copy_as(image.path, target) and not filecmp.cmp(image.path, target, shallow=False):
            raise LmedgeError(f"{target}: another program has written it; label the image again")

    def _remove(self, target: Path, image: CollectedImage, *, made: bool) -> None:
        if not made or not target.is_file():
            return
        data = read_regular(target, _LARGEST_IMAGE)
        if hashlib.sha256(data).hexdigest() != image.sha256:
            return
        with writing(target):
            target.unlink(missing_ok=True)
            for folder in (target.parent, target.parent.parent):  # if they are empty by now
                if folder != self.data and folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    def _row(self, image: CollectedImage, to: str, entry: Entry) -> dict[str, str]:
        return {
            "path": to,
            "sha256": image.sha256,
            "category": entry["category"],
            "landmark": entry["landmark"],
            "labelled": entry["date"],
            "predicted": image.landmark,
            "probability": f"{image.certainty:.6f}",
            "known": "1" if image.known else "0",
            "reasons": " ".join(image.reasons),
            "burst": image.burst,
            "camera": image.camera,
            "time": image.time or "",
            "model": image.model,
            "collected": self.name_of(image),
        }

    def _remember(self, entry: Entry) -> None:
        names: Iterable[str] = [image["name"] for image in entry["images"]]
        if entry["do"] == UNDO:
            self._undoable = [one for one in self._undoable if one["id"] != entry["of"]]
            for name in names:
                self._decided.pop(name, None)
            return
        self._undoable.append(entry)
        for name in names:
            self._decided[name] = entry
