"""Photos as other programs list them: by paths of another machine, by labels without suffix, without their sizes."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import torch

from unrender.cameras.lens import Lens
from unrender.datasets.names import is_file
from unrender.errors import CaptureError
from unrender.images.io import check_picture

__all__ = ["PHOTO_SUFFIXES", "Listed", "complete_labels", "find_listed", "photo_sizes", "share_lenses"]

_ABSOLUTE = re.compile(r"(?:[A-Za-z]:)?/")
_LOOK_AT = 16
"""How many of the photos are looked for to see which folder they are in."""
PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".tif", ".tiff", ".exr", ".bmp", ".webp", ".heic", ".heif", ".avif"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"),
)
"""The endings of photos, in lower case."""


@dataclass(frozen=True)
class Listed:
    """Photos of a list: ``folder / name`` for each of ``names`` [V]; ``notes`` for the user."""

    names: tuple[str, ...]
    folder: Path
    notes: tuple[str, ...] = ()


def find_listed(listed: Sequence[str], file: Path, root: Path, images: Path | None, *, split: bool = False) -> Listed:
    """Which photos the paths in ``file`` mean: below the folder of the file, the capture ``root``, or ``images`` there.

    Paths that lead out of the capture, as those of another machine do, count from the folder that they all share; they
    are looked for in ``images`` when given, else in the capture. ``split``: a first folder that all share belongs to
    the folder of the photos. Nothing outside ``root`` and ``images`` is looked at. Raises CaptureError when a path
    leads out and nothing in the capture fits.
    """
    inside = [_below(path, file.parent, root) for path in listed]
    if None not in inside:
        names, notes = [str(name) for name in inside], ()
        folders = [file.parent, root, root / "images", file.parent / "images"] if images is None else [images]
    else:
        names, notes = _without_shared(listed), ("paths in the list lead elsewhere: photos are taken by name",)
        folders = [root / "images", root, file.parent] if images is None else [images]
    if images is not None and not _some_there(names, images) and _some_there(shorter := _without_shared(names), images):
        names = shorter
    folder = next((folder for folder in folders if _some_there(names, folder)), None)
    if folder is None and None in inside and images is None:
        raise CaptureError(
            f"the photo {listed[inside.index(None)]} is not in this capture",
            where=file,
            expected=f"paths below {root}",
            do="say where the photos are (--images)",
        )
    return _settle(names, folder, folders[0] if images or split else root / "images", split and images is None, notes)


def _settle(names: list[str], found: Path | None, otherwise: Path, split: bool, notes: tuple[str, ...]) -> Listed:
    """With the shared first folder where it belongs."""
    folder = found or otherwise
    leads = {name.partition("/")[0] for name in names}
    if split and len(leads) == 1 and all("/" in name for name in names):
        lead = leads.pop()
        return Listed(tuple(name.removeprefix(f"{lead}/") for name in names), folder / lead, notes)
    return Listed(tuple(names), folder, notes)


def _below(path: str, start: Path, root: Path) -> str | None:
    """The path from ``start`` (from ``root`` for absolute ones), with ``/``; None when it leads out of ``root``."""
    path = posixpath.normpath(path.replace("\\", "/"))
    if _ABSOLUTE.match(path):
        try:
            return Path(path).relative_to(root.resolve()).as_posix()
        except ValueError:
            return None
    if not path.startswith(".."):
        return path
    whole = posixpath.normpath(f"{start.resolve().as_posix()}/{path}")
    home = root.resolve().as_posix()
    return os.path.relpath(whole, home) if whole.startswith(f"{home}/") else None


def _without_shared(listed: Sequence[str]) -> list[str]:
    """What is left of paths without the folders that all of them have in common."""
    parts = [[part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")] for path in listed]
    columns = zip(*(path[:-1] for path in parts), strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    return ["/".join(path[shared:]) for path in parts]


def _some_there(names: Sequence[str], folder: Path) -> bool:
    return any(is_file(folder / name) for name in names[:_LOOK_AT])


def photo_sizes(names: Sequence[str], folder: Path, where: Path) -> list[tuple[int, int]]:
    """(width, height) of each photo in stored pixels, from its header.

    Raises CaptureError when a photo is not there or cannot be read.
    """
    missing = [name for name in names if not is_file(folder / name)]
    if missing:
        raise CaptureError(
            f"{len(missing)} of {len(names)} photos are not there, and only they say how large they are",
            where=where,
            expected=folder / missing[0],
            do="say where the photos are (--images)",
        )
    return [(width, height) for height, width in (check_picture(folder / name) for name in names)]


def complete_labels(labels: Sequence[str], folder: Path, where: Path) -> tuple[str, ...]:
    """Labels with the suffix, and the folder below ``folder``, of the photo that has this name; others as they are.

    Raises CaptureError when a label fits several photos.
    """
    if not folder.is_dir() or all("\0" in label or is_file(folder / label) for label in labels):
        return tuple(labels)
    by_stem: dict[str, list[str]] = {}
    for place, _, files in os.walk(folder):
        for file in sorted(files):
            path = Path(place) / file
            for key in {path.stem, file} if path.suffix.lower() in PHOTO_SUFFIXES else ():
                by_stem.setdefault(key, []).append(path.relative_to(folder).as_posix())
    return tuple(_complete(label, folder, by_stem, where) for label in labels)


def _complete(label: str, folder: Path, by_stem: dict[str, list[str]], where: Path) -> str:
    if "\0" in label or is_file(folder / label):
        return label
    fitting = by_stem.get(label.rpartition("/")[2], [])
    nearer = [path for path in fitting if path == label or path.rpartition(".")[0] == label]
    fitting = nearer or fitting
    if len(fitting) > 1:
        raise CaptureError(
            f"{label!r} fits {len(fitting)} photos",
            where=where,
            got=", ".join(fitting[:3]),
            do="rename one, or give the folder of the right ones (--images)",
        )
    return fitting[0] if fitting else label


def share_lenses(lenses: Sequence[Lens]) -> tuple[tuple[Lens, ...], torch.Tensor]:
    """The different ones of the lenses of all views, in the order they come, and which of them each view has [V]."""
    places: dict[object, int] = {}
    different: list[Lens] = []
    index = []
    for lens in lenses:
        key = (lens.model, lens.width, lens.height, tuple(lens.params.tolist()))
        if key not in places:
            places[key] = len(different)
            different.append(lens)
        index.append(places[key])
    return tuple(different), torch.tensor(index, dtype=torch.int64)
