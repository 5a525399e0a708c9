"""The listing of folders of images: what is an image, and what is left out and named.

Every command lists folders here. Hidden files are ignored. Everything else that looks like an image
and is not read, and every folder that is not entered, is collected in a `LeftOut` and reported.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import logging
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from ..errors import DataError
from ..formats import OTHER_SUFFIXES, SUFFIXES, SUFFIXES_OF, kind_of
from ..regular import is_regular, read_regular
from ..text_files import nfc

# Folders of file systems, network drives and archives: thumbnails, bins and what was rescued.
FOREIGN_FOLDERS = frozenset(
    {
        "@eaDir",
        "@Recycle",
        "#recycle",
        "#snapshot",
        "lost+found",
        "__MACOSX",
        "$RECYCLE.BIN",
        "System Volume Information",
    }
)
# A folder that lmedge wrote, by the keys of a JSON file in it; docs/formats.md has them all.
_MARKERS = {
    "run.json": ({"format", "lmedge", "split_sha256"},),
    "report.json": ({"format", "lmedge", "findings"}, {"schema", "latency", "accuracy"}),
    "evaluation.json": ({"schema", "run", "accuracy"},),
    "compare.json": ({"schema", "lmedge"},),
    "result.json": ({"landmark_f1", "category_f1"},),
}
_OWN_FOLDERS = {"plots", "tensorboard", "checkpoints", "files", "evaluation", "data"}
_OWN_PLOT = ".explain.png"
_OWN_SHEET = "contact-sheet"  # of `lmedge data check --report`
_MAX_MARKER = 16 * 1024 * 1024
_log = logging.getLogger(__name__)


class LeftOut:
    """Files and folders that look like images or hold some, and are not read, by the reason.

    Some are expected: what lmedge or the system wrote there. Others may be photographs.
    """

    def __init__(self) -> None:
        self._reasons: dict[str, list[Path]] = collections.defaultdict(list)
        self._expected: set[str] = set()

    def add(self, path: Path, reason: str, *, expected: bool = False) -> None:
        """Remember one; a reason is always or never `expected`."""
        self._reasons[reason].append(path)
        if expected:
            self._expected.add(reason)

    def lines(self, *, expected: bool = False) -> Iterator[str]:
        """Yield a line for each reason, with an example and the number of others."""
        for reason, paths in self._reasons.items():
            if (reason in self._expected) == expected:
                more = "" if len(paths) == 1 else f" and {len(paths) - 1} more"
                yield f"{paths[0]}{more}: {reason}"

    def report(self) -> None:
        """Log the lines: as warnings, those that are expected as information."""
        for line in self.lines():
            _log.warning("left out: %s", line)
        self.report_expected()

    def report_expected(self) -> None:
        """Log what is expected."""
        for line in self.lines(expected=True):
            _log.info("left out: %s", line)


@dataclasses.dataclass(frozen=True)
class FolderListing:
    """The visible folders and images of one folder, in a fixed order."""

    folders: tuple[Path, ...]
    images: tuple[Path, ...]


def list_folder(folder: Path, left: LeftOut, above: Collection[Path] = ()) -> FolderListing:
    """List one folder.

    Args:
        folder: The folder.
        left: Takes what is not read.
        above: The real paths of the folders that led here; a link to one of them is not entered.

    Raises:
        DataError: The folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            visible = sorted(
                (entry for entry in entries if not entry.name.startswith(".")),
                key=lambda entry: (nfc(entry.name), entry.name),
            )
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    ours = any(_is_marker(folder / name) for name in _MARKERS)
    folders, images = [], []
    for entry in visible:
        path = folder / entry.name
        mode = _mode(entry)
        if mode is not None and stat.S_ISDIR(mode):
            if _is_entered(path, above, left):
                folders.append(path)
        elif (ours and entry.name.startswith(_OWN_SHEET)) or _explains(path):
            left.add(path, "a picture that lmedge wrote", expected=True)
        elif _is_image(path, mode, left):
            images.append(path)
    return FolderListing(tuple(folders), tuple(images))


def list_images(folder: str | os.PathLike[str], left: LeftOut | None = None) -> list[Path]:
    """List every image under `folder`, at any depth and in a fixed order, without labels.

    Hidden files and folders are ignored. Symbolic links are followed, each folder once.

    Args:
        folder: The folder.
        left: Takes what is not read; by default it is logged.

    Raises:
        DataError: A folder cannot be read.
    """
    collected = LeftOut() if left is None else left
    found = list(walk(Path(folder), set(), collected))
    if left is None:
        collected.report()
    return found


def only_images(paths: Iterable[Path]) -> list[Path]:
    """Return those of some files that are images; log the others that look like images."""
    left = LeftOut()
    found = []
    for path in paths:
        try:
            mode: int | None = path.stat().st_mode
        except OSError:
            mode = None
        if (mode is None or not stat.S_ISDIR(mode)) and _is_image(path, mode, left):
            found.append(path)
    left.report()
    return found


def walk(folder: Path, seen: set[Path], left: LeftOut) -> Iterator[Path]:
    """Yield the images under a folder, each folder once; `seen` are real paths, and grows."""
    real = folder.resolve()
    if real in seen:  # a symbolic link to a folder that was listed before
        return
    seen.add(real)
    listing = list_folder(folder, left)
    yield from listing.images
    for inner in listing.folders:
        yield from walk(inner, seen, left)


def _mode(entry: os.DirEntry[str]) -> int | None:
    """Return the mode of what an entry leads to, None if it leads nowhere."""
    try:
        return entry.stat().st_mode
    except OSError:  # a link to nothing, or to itself
        return None


def _is_entered(folder: Path, above: Collection[Path], left: LeftOut) -> bool:
    """Return True for a folder of photographs; remember another one."""
    if folder.name in FOREIGN_FOLDERS:
        left.add(folder, "a folder of the system, not of photographs", expected=True)
    elif folder.is_symlink() and folder.resolve() in above:
        left.add(folder, "a link to a folder above it")
    elif is_ours(folder):
        left.add(folder, "a folder that lmedge wrote", expected=True)
    else:
        return True
    return False


def _explains(path: Path) -> bool:
    """Return True for FILE.explain.png beside FILE.tflite, as `lmedge export` writes it."""
    name = path.name.removesuffix(_OWN_PLOT)
    return name != path.name and path.with_name(f"{name}.tflite").is_file()


def _is_image(path: Path, mode: int | None, left: LeftOut) -> bool:
    """Return True for an image file; remember what only looks like one."""
    suffix = path.suffix.lower()
    if mode is None:
        if suffix in SUFFIXES:
            return True  # whoever reads it reports the link
        left.add(path, "a link that leads nowhere")
    elif not is_regular(mode):
        left.add(path, "neither a file nor a folder")
    elif suffix in SUFFIXES:
        return True
    elif suffix in OTHER_SUFFIXES:
        left.add(path, f"{suffix} is not read; save it as JPEG")
    elif _holds_image(path):
        left.add(path, "an image without an image's suffix; rename it")
    return False


def _holds_image(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return kind_of(stream.read(64)) in SUFFIXES_OF
    except OSError:
        return False


def is_ours(folder: Path) -> bool:
    """Return True for a folder that lmedge wrote, or that holds such folders alone, as runs/ does.

    A folder with a report among folders of photographs is not one.
    """
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return False
    inner = [entry.name for entry in visible if _is_folder(entry)]
    marked = any(_is_marker(folder / name) for name in _MARKERS)
    if not marked and (not inner or len(inner) < len(visible)):
        return False
    return all((marked and name in _OWN_FOLDERS) or is_ours(folder / name) for name in inner)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_marker(path: Path) -> bool:
    try:
        content = json.loads(read_regular(path, _MAX_MARKER))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(content, dict):
        return False
    return any(keys <= set(content) for keys in _MARKERS[path.name])
