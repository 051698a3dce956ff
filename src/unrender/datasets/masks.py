"""The mask files of a capture: whether they are there, whole, and of the size of their photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from unrender.cameras.lens import Lens
from unrender.datasets.names import PictureFolder, some_of
from unrender.errors import CaptureError
from unrender.images.io import check_picture
from unrender.images.orientation import STORED, upright_size

__all__ = ["check_masks", "find_masks"]

MaskPaths = tuple[Path | None, ...]


def find_masks(names: Sequence[str], folder: Path) -> MaskPaths:
    """The mask file of each photo, None where there is none: ``a.jpg.png`` for ``a.jpg``, of the same name, or
    ``a.png``. Raises CaptureError when there is no mask at all.
    """
    files = PictureFolder(folder)
    paths = tuple(_find_mask(name, files) for name in names)
    if all(path is None for path in paths):
        raise CaptureError("no masks here", where=folder, expected=f"{names[0]}.png and so on, white = use")
    return paths


def check_masks(
    names: Sequence[str], paths: MaskPaths, lenses: Sequence[Lens], turned: Sequence[int] | None = None
) -> tuple[str, ...]:
    """Notes for the user: which photos have no mask.

    ``turned``: the orientation in which each photo is read; its mask may be stored as the photo, or upright already.
    Raises CaptureError when a mask is not there, damaged, or not of the size of its photo.
    """
    for path, lens, turn in zip(paths, lenses, turned or [STORED] * len(paths), strict=True):
        if path is not None:
            _check_mask(path, (lens.height, lens.width), turn)
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    return (f"{len(missing)} photos have no mask: {some_of(missing)}",) if missing else ()


def _check_mask(path: Path, camera: tuple[int, int], turn: int) -> None:
    size = check_picture(path)
    if camera not in (size, upright_size(size, turn)):
        raise CaptureError(
            "mask and photo differ in size",
            where=path,
            expected=f"{camera[1]} x {camera[0]} as the photo",
            got=f"{size[1]} x {size[0]}",
            do="make the mask from the photo as it is stored, at full size",
        )


def _find_mask(name: str, files: PictureFolder) -> Path | None:
    candidates = (f"{name}.png", name, str(PurePosixPath(name).with_suffix(".png")))
    return next((path for file in candidates if (path := files.find(file)) is not None), None)
