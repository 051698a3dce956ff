"""The picture files of a capture: whether they are there, whole, and of the size of their cameras.

Every file is asked before any work begins and none is decoded: a photo that is absent, cut short or scaled is said
in the first seconds, not after minutes of fitting. 10,000 photos take a few seconds.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path, PurePosixPath

import torch

from unrender.cameras.lens import Lens
from unrender.errors import CaptureError
from unrender.images.exif import read_ev100
from unrender.images.header import PictureHeader
from unrender.images.io import check_picture, inspect_picture

__all__ = ["check_photos", "checksums", "depth_notes", "find_masks", "find_photos", "read_exposures"]

_NAMED = 3
"""How many names a note gives before it only counts."""
_SIMPLE = 16
"""Largest denominator of a ratio that pictures are scaled by on purpose."""

Size = tuple[int, int]


def find_photos(names: Iterable[str], folder: Path) -> dict[str, Path]:
    """The file of every photo by its name.

    Raises CaptureError when a name leads out of the folder or a photo is absent: what the user took away and what was
    lost by accident look alike, so the user says which.
    """
    photos = {name: folder / name for name in names}
    for name in photos:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise CaptureError(
                f"the image name {name!r} leads out of its folder", where=folder, do="rename it in the model"
            )
    absent = [name for name, path in photos.items() if not path.is_file()]
    if len(absent) == len(photos):
        raise CaptureError(
            f"none of the model's {len(photos)} photos is here",
            where=folder,
            expected=_some(absent),
            do="say where they are (--images)",
        )
    if absent:
        raise CaptureError(
            "the model has this photo, but there is no such file",
            where=photos[absent[0]],
            got=f"{len(absent)} of {len(photos)} photos absent{_beside(photos[absent[0]])}",
            do="put them back, or take them out of the model (colmap image_deleter)",
        )
    return photos


def check_photos(photos: Mapping[str, Path], lenses: Sequence[Lens]) -> list[PictureHeader]:
    """What the header of every photo says. Raises CaptureError unless each is whole and of the size of its camera.

    ``lenses``: that of each photo, in their order. A common ratio or a quarter turn is named as the likely cause.
    """
    headers = [inspect_picture(path) for path in photos.values()]
    differing = [
        (path, (header.height, header.width), lens)
        for path, header, lens in zip(photos.values(), headers, lenses, strict=True)
        if (header.height, header.width) != (lens.height, lens.width)
    ]
    if differing:
        path, (height, width), lens = differing[0]
        raise CaptureError(
            "photo and camera differ in size",
            where=path,
            expected=f"{lens.width} x {lens.height} as in the model",
            got=f"{width} x {height} ({len(differing)} of {len(photos)} photos differ)",
            do=_remedy((height, width), lens),
        )
    return headers


def depth_notes(names: Iterable[str], headers: Sequence[PictureHeader]) -> tuple[str, ...]:
    """For the user: which photos hold linear light, which is encoded and clipped before it is fitted to."""
    linear = [name for name, header in zip(names, headers, strict=True) if header.linear]
    if not linear:
        return ()
    return (f"{len(linear)} photos are linear: encoded with the sRGB curve, clipped at 1: {_some(linear)}",)


def find_masks(
    names: Sequence[str], lenses: Sequence[Lens], folder: Path | str | None
) -> tuple[tuple[Path | None, ...], tuple[str, ...]]:
    """The mask file of each photo, None where there is none, and notes for the user.

    Raises CaptureError when there is no mask at all, one is damaged, or one is not of the size of its photo.
    """
    if folder is None:
        return (None,) * len(names), ()
    paths = tuple(_mask(name, Path(folder)) for name in names)
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if len(missing) == len(names):
        raise CaptureError("no masks here", where=folder, expected=f"{names[0]}.png and so on, white = use")
    for path, lens in zip(paths, lenses, strict=True):
        size = None if path is None else check_picture(path)
        if size not in (None, (lens.height, lens.width)):
            raise CaptureError(
                "mask and photo differ in size",
                where=path,
                expected=f"{lens.width} x {lens.height} as the photo",
                got=f"{size[1]} x {size[0]}",
                do="make the mask from the photo as it is stored, at full size",
            )
    return paths, (f"{len(missing)} photos have no mask: {_some(missing)}",) if missing else ()


def read_exposures(photos: Mapping[str, Path]) -> tuple[torch.Tensor, tuple[str, ...]]:
    """EV100 of each photo in stops, [V] float64, NaN where EXIF does not say; and notes for the user."""
    values = [read_ev100(path) for path in photos.values()]
    missing = [name for name, value in zip(photos, values, strict=True) if value is None]
    exposures = torch.tensor([float("nan") if value is None else value for value in values], dtype=torch.float64)
    return exposures, (f"exposure missing in {len(missing)} photos: {_some(missing)}",) if missing else ()


def checksums(files: Mapping[str, Path]) -> dict[str, str]:
    """CRC-32 of the whole of each file, in hex: finds another picture, not a forged one."""
    with ThreadPoolExecutor() as pool:  # reading and summing leave the interpreter to others
        return dict(zip(files, pool.map(_checksum, files.values()), strict=True))


def _checksum(path: Path) -> str:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            checksum = zlib.crc32(block, checksum)
    return f"{checksum:08x}"


def _mask(name: str, folder: Path) -> Path | None:
    candidates = (f"{name}.png", name, str(PurePosixPath(name).with_suffix(".png")))
    return next((path for file in candidates if (path := folder / file).is_file()), None)


def _beside(path: Path) -> str:
    """Files that differ from an absent one in case or kind only, as after a conversion."""
    if not path.parent.is_dir():
        return ""
    stem = path.stem.casefold()
    alike = sorted(other.name for other in path.parent.iterdir() if other.stem.casefold() == stem and other.is_file())
    return f" (but {_some(alike)} is there)" if alike else ""


def _remedy(size: Size, lens: Lens) -> str:
    """What to do about a photo whose size is not that of its camera, and why it may have come about."""
    if size == (lens.width, lens.height):
        return (
            "the photo was turned by 90 degrees: put the original there; COLMAP uses the pixels as stored and ignores "
            "the EXIF orientation"
        )
    ratio = _common_ratio(size, (lens.height, lens.width))
    if ratio is not None:
        return (
            f"the photos are {ratio} of the size the cameras were made for: put the originals there (--images), or "
            f"multiply width, height, focal lengths and principal points of the cameras by {ratio}"
        )
    return "give the photos that COLMAP saw (--images)"


def _common_ratio(photo: Size, camera: Size) -> Fraction | None:
    """The one ratio of both axes: exact, or the simplest of which each axis is at most a rounding away."""
    height, width = (Fraction(ours, theirs) for ours, theirs in zip(photo, camera, strict=True))
    if height == width:
        return height
    for ratio in (Fraction(round(width * parts), parts) for parts in range(1, _SIMPLE + 1)):
        if ratio not in (0, 1) and all(
            abs(ratio * theirs - ours) < 1 for ours, theirs in zip(photo, camera, strict=True)
        ):
            return ratio
    return None


def _some(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
