"""The payload of a remote benchmark: the files, and the images that will be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from ..evaluation.folders import TAXONOMY_FILE, LabelledImage, part_folder, parts
from ..evaluation.unknown import list_unknown_images

_PHOTOGRAPHS = "photographs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Payload:
    """The files and images of a benchmark, and its options.

    Attributes:
        files: The .tflite files.
        options: Further words of `lmedge benchmark`, which are passed on as they are.
        data: Folder of labelled images.
        part: Part of `data`.
        pictures: The images of `data` that will be read.
        unknown: Folder of images that show none of the landmarks.
    """

    files: tuple[Path, ...]
    options: tuple[str, ...] = ()
    data: Path | None = None
    part: str | None = None
    pictures: Sequence[LabelledImage] = ()
    unknown: Path | None = None

    @property
    def files_there(self) -> tuple[str, ...]:
        """The paths of the files there, in folders of their own: two may have one name."""
        return tuple(f"files/{n}/{file.name}" for n, file in enumerate(self.files))

    @property
    def data_there(self) -> str:
        """The folder of the data on the remote host, below the folder of the benchmark."""
        return "" if self.data is None else _inside(self.data, _PHOTOGRAPHS)

    def pictures_there(self) -> dict[Path, Path]:
        """Return the images that are sent by their paths there, which JSON can hold."""
        if self.data is None:
            return {}
        return {
            Path(click.format_filename(f"{self.data_there}/{path.relative_to(self.data)}")): path
            for path in (image.path for image in self.pictures)
        }

    def pack(self, folder: Path) -> list[str]:
        """Fill `folder` with links to the payload; return the arguments with paths inside it.

        Only the chosen images are in it, under their names below the folder of the data.
        Raises DataError when there are no unknown images to send.
        """
        words = []
        for file, there in zip(self.files, self.files_there, strict=True):
            words.append(_link(file, folder, there))
        if self.data is not None:
            words += ["--data", self._pack_data(self.data, folder)]
        if self.part is not None:
            words += ["--part", self.part]
        if self.unknown is not None:
            paths = list_unknown_images(self.unknown)
            words += ["--unknown", _links(paths, self.unknown, folder, "unknown")]
        return [*words, *self.options]

    def _pack_data(self, data: Path, folder: Path) -> str:
        paths = [image.path for image in self.pictures]
        inside = _links(paths, data, folder, _PHOTOGRAPHS)
        if parts(data):  # without train/ the others would not be read as parts
            (folder / inside / "train").mkdir(exist_ok=True)
        for table in (
            data / TAXONOMY_FILE,
            *(part_folder(data, part) / TAXONOMY_FILE for part in parts(data)),
        ):
            if table.is_file():
                _link(table, folder, f"{inside}/{table.relative_to(data)}")
        return inside


def _links(paths: Iterable[Path], base: Path, folder: Path, name: str) -> str:
    inside = _inside(base, name)
    for path in paths:
        _link(path, folder, f"{inside}/{path.relative_to(base)}")
    return inside


def _inside(base: Path, name: str) -> str:
    return f"{name}/{base.resolve().name or name}"


def _link(path: Path, folder: Path, name: str) -> str:
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(path.absolute())
    return name


def megabytes(folder: Path) -> float:
    """Return the size of a folder's files in MB, with links followed."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
