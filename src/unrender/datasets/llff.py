"""LLFF's poses_bounds.npy.

A row per photo, 17 numbers: a 3 x 5 matrix row by row, and the nearest and farthest depth, which we do not need. The
first three columns are the camera's axes in the world, down, right and backwards, then its place, then height, width
and focal length [pixels]; the centre is in the middle. Photos go by the order of their names; none is named. Source:
Fyusion/LLFF c6e27b1, README, "Using your own poses without running COLMAP", and pose_utils.py.
"""

from __future__ import annotations

import re
import tokenize
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.listed_photos import PHOTO_SUFFIXES, photo_sizes, share_lenses
from unrender.datasets.reconstruction import Reconstruction, no_points
from unrender.datasets.transforms_frames import camera_from_axes
from unrender.errors import CaptureError

__all__ = ["is_llff", "read_llff"]

_NAME, _ROW = "poses_bounds.npy", 17
_REDUCED = re.compile(r"images_(\d+)(x\d+)?")
"""LLFF's names of reduced photos: by how much, or to which size."""
_LARGEST = 1 << 24
"""Pixels along a side that a photo may have."""
_DO = "make it again (imgs2poses.py of LLFF)"


def is_llff(path: Path) -> bool:
    """Whether this is such a file or a folder with one."""
    try:
        return (path / _NAME if path.is_dir() else path.parent / _NAME) == _file(path) and _file(path).is_file()
    except (OSError, ValueError):
        return False


def read_llff(path: Path, *, images: Path | None = None, observations: bool = False) -> Reconstruction:  # noqa: ARG001
    """The cameras in a file, or in the folder that has it, of the photos in ``images`` beside it, sorted by name.

    Without such a folder, or with ``images`` that were reduced, intrinsics are those of the reduced photos, which
    must be there: the file neither names them nor knows their size. It has no points and no observations. Raises
    CaptureError, one line, when the file is damaged, or there are more or fewer photos than poses.
    """
    file = _file(path)
    rows = _load(file)
    folder = images or _image_folder(file.parent)
    names = _names(folder, file, len(rows))
    sizes = photo_sizes(names, folder, file)
    cameras = rows[:, :15].reshape(-1, 3, 5)
    lenses, index = share_lenses(
        [
            _lens(camera[:, 4], size, f"{file}: row {row} ({name})")
            for row, (camera, size, name) in enumerate(zip(cameras, sizes, names, strict=True))
        ]
    )
    down, right, back, center = (torch.from_numpy(cameras[:, :, column].copy()) for column in range(4))
    return Reconstruction(
        names=names,
        image_folder=folder,
        camera_from_world=camera_from_axes(torch.stack([right, down, -back], dim=2), center),
        camera_index=index,
        lenses=lenses,
        points=no_points(),
        notes=_size_notes(cameras, sizes, folder),
    )


def _file(path: Path) -> Path:
    return path / _NAME if path.is_dir() else path


def _load(file: Path) -> np.ndarray:
    """[V, 17] float64, finite. Mapped first, so that a file that states too much takes no memory."""
    if not file.is_file():
        raise CaptureError("no LLFF poses here", where=file, expected=_NAME)
    try:
        rows = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise _damaged(file, str(error) or type(error).__name__) from None
    except (RecursionError, tokenize.TokenError, AttributeError) as error:
        raise _damaged(file, type(error).__name__) from None
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != _ROW or rows.dtype.kind not in "fiu":
        got = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise CaptureError("these are no poses", where=file, expected=f"numbers [V, {_ROW}]", got=got[:80], do=_DO)
    rows = np.array(rows, dtype=np.float64)
    if not np.isfinite(rows[:, :15]).all():
        row = int(np.flatnonzero(~np.isfinite(rows[:, :15]).all(axis=1))[0])
        raise CaptureError(f"a pose that is not finite (row {row})", where=file, do=_DO)
    return rows


def _damaged(file: Path, reason: str) -> CaptureError:
    return CaptureError(f"cannot be read as NumPy's .npy ({ascii(reason)[1:-1][:120]})", where=file, do=_DO)


def _image_folder(root: Path) -> Path:
    """``images``, else the least reduced of ``images_4`` and the like, else the largest of ``images_504x378``."""
    if (root / "images").is_dir():
        return root / "images"
    reduced = [(found, folder) for folder in root.iterdir() if (found := _REDUCED.fullmatch(folder.name))]
    order = {folder: (1, -int(found[1])) if found[2] else (0, int(found[1])) for found, folder in reduced}
    return min((folder for folder in order if folder.is_dir()), key=order.__getitem__, default=root / "images")


def _names(folder: Path, file: Path, count: int) -> tuple[str, ...]:
    """The photos of a folder, sorted; as many as there are poses."""
    if not folder.is_dir():
        raise CaptureError("no folder of photos", where=file, expected=folder, do="say where they are (--images)")
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file())
    if len(names) != count:
        raise CaptureError(
            "photos and poses differ in number, so none can be told whose it is",
            where=folder,
            expected=f"{count} photos as {file.name} has rows",
            got=len(names),
            do="take out what is no photo of this scene, or give their folder (--images)",
        )
    return tuple(names)


def _lens(intrinsics: np.ndarray, size: tuple[int, int], where: str) -> Lens:
    """Of a photo of ``size`` (width, height), which may be a reduced copy of that which the row speaks of."""
    (height, width, focal), (photo_width, photo_height) = intrinsics.tolist(), size
    if not (1 <= height <= _LARGEST and 1 <= width <= _LARGEST):
        raise CaptureError("the size of a photo", where=where, expected="height and width", got=[height, width], do=_DO)
    across, down = photo_width / width, photo_height / height
    if abs(across * height - photo_height) > 1 and abs(down * width - photo_width) > 1:
        raise CaptureError(
            "photo and pose differ in shape",
            where=where,
            expected=f"{width:g} x {height:g} or a part of that",
            got=f"{photo_width} x {photo_height}",
            do="give the photos that LLFF saw (--images)",
        )
    center = [photo_width / 2, photo_height / 2]
    try:
        if across == down:
            return make_lens("SIMPLE_PINHOLE", photo_width, photo_height, [focal * across, *center])
        return make_lens("PINHOLE", photo_width, photo_height, [focal * across, focal * down, *center])
    except CaptureError as error:
        raise CaptureError(str(error), where=where) from None


def _size_notes(cameras: np.ndarray, sizes: Sequence[tuple[int, int]], folder: Path) -> tuple[str, ...]:
    reduced = int((cameras[:, 1, 4] != [width for width, _ in sizes]).sum())
    return (
        (f"{reduced} photos in {folder} are of another size than the poses say: intrinsics scaled",) if reduced else ()
    )
