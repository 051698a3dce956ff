"""A reconstruction and its photos as a folder that others can work with.

The folder is made beside its place and gets its name when all of it is there, so that what has the name is whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from unrender.datasets.beside_cameras import ADDED
from unrender.datasets.clouds import PointCloud, write_ply
from unrender.datasets.formats import write_reconstruction
from unrender.datasets.photos import find_photos
from unrender.datasets.reconstruction import Reconstruction
from unrender.errors import CaptureError

__all__ = ["Placing", "new_folder", "write_capture"]

Placing: TypeAlias = Literal["link", "copy", "none"]
"""How photos and masks get into a written folder: as links to where they are, as copies, or not at all."""


def write_capture(
    folder: Path | str,
    reconstruction: Reconstruction,
    format: str,
    *,
    photos: Placing = "link",
    lossy: bool = False,
    added: PointCloud | None = None,
) -> tuple[str, ...]:
    """Write into the new ``folder``: the reconstruction as ``format``, photos in ``images``, masks in ``masks``;
    points that are ``added`` to those of the input in a PLY of their own.

    Returns lines that a user should read. Raises CaptureError or SettingsError as ``write_reconstruction``, and
    CaptureError when the folder holds anything or a photo is missing; then nothing is left of it.
    """
    with new_folder(Path(folder)) as part:
        placed = reconstruction if photos == "none" else _place(reconstruction, part, photos)
        lost = write_reconstruction(part, placed, format, lossy=lossy)
        if added is not None:
            write_ply(part / ADDED, added)
    notes = [f"left out: {what}" for what in lost]
    if reconstruction.dense is not None:
        notes.append(f"the denser cloud stays where it is ({reconstruction.dense}): give it to a fit with --points")
    return tuple(notes)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A place to fill, which becomes ``folder`` on leaving; after an error it is gone.

    Raises CaptureError when ``folder`` is there and not empty.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise CaptureError("there is something here already", where=folder, do="choose a new or empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of an export that was killed
    part.mkdir()
    try:
        yield part
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _place(reconstruction: Reconstruction, folder: Path, how: Placing) -> Reconstruction:
    """Put photos and masks into the folder; the reconstruction as it is from there on."""
    found = find_photos(reconstruction.names, reconstruction.image_folder)
    for name, path in found.items():
        _put(path, folder / "images" / name, how)
    if reconstruction.masks is None:
        return replace(reconstruction, image_folder=folder / "images")
    masks = tuple(
        None if mask is None else folder / "masks" / f"{name}{mask.suffix}"
        for name, mask in zip(reconstruction.names, reconstruction.masks, strict=True)
    )
    for mask, place in zip(reconstruction.masks, masks, strict=True):
        if mask is not None and place is not None:
            _put(mask, place, how)
    return replace(reconstruction, image_folder=folder / "images", masks=masks)


def _put(file: Path, place: Path, how: Placing) -> None:
    """A link or copy of ``file`` at ``place``; a copy where the system has no links."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if how == "link":
        try:
            place.symlink_to(file.resolve())
            return
        except (OSError, NotImplementedError):
            pass
    shutil.copyfile(file, place)
