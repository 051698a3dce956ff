"""The picture files of a capture: whether they are there, whole, and of the size of their cameras.

Every file is asked before any work begins and none is decoded: a photo that is absent, cut short or scaled is said
in the first seconds, not after minutes of fitting. 10,000 photos take a few seconds.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import torch

from unrender.cameras.lens import Lens
from unrender.datasets.names import PictureFolder, leads_out, some_of
from unrender.errors import CaptureError
from unrender.images.exif import read_ev100, read_orientation
from unrender.images.header import PictureHeader
from unrender.images.io import inspect_picture
from unrender.images.orientation import STORED, is_sideways, upright_size

__all__ = [
    "check_photos",
    "checksums",
    "content_notes",
    "find_photos",
    "inspect_photos",
    "linear_cameras",
    "read_exposures",
]

_SIMPLE = 16
"""Largest denominator of a ratio that pictures are scaled by on purpose."""

Size = tuple[int, int]


def find_photos(names: Iterable[str], folder: Path) -> dict[str, Path]:
    """The file of every photo by its name, also where another system spells it otherwise (``names.py``).

    Raises CaptureError when a name leads out of the folder, a photo is absent, or two are one: what the user took away
    and what was lost by accident look alike, so the user says which.
    """
    files = PictureFolder(folder)
    found = {name: _find(name, files) for name in names}
    absent = [name for name, path in found.items() if path is None]
    if len(absent) == len(found):
        raise CaptureError(
            f"none of the model's {len(found)} photos is here",
            where=folder,
            expected=some_of(absent),
            do="say where they are (--images)",
        )
    if absent:
        path = folder / absent[0]
        raise CaptureError(
            "the model has this photo, but there is no such file",
            where=path,
            got=f"{len(absent)} of {len(found)} photos absent{_beside(path)}",
            do="put them back, or take them out of the model (colmap image_deleter)",
        )
    photos = {name: path for name, path in found.items() if path is not None}
    _refuse_shared(photos)
    return photos


def _find(name: str, files: PictureFolder) -> Path | None:
    if leads_out(name):
        what = f"the image name {name!r} leads out of its folder"
        raise CaptureError(what, where=files.root, do="rename it in the model")
    return files.find(name)


def _refuse_shared(photos: Mapping[str, Path]) -> None:
    """Raises CaptureError when two names, spelt differently, lead to one file."""
    first: dict[Path, str] = {}
    for name, path in photos.items():
        if first.setdefault(path, name) != name:
            what = f"{first[path]!r} and {name!r} of the model are one photo here"
            raise CaptureError(what, where=path, do="put the other one beside it, or take it out of the model")


def inspect_photos(photos: Mapping[str, Path]) -> list[PictureHeader]:
    """What the header of each photo says. Raises CaptureError for a file that is damaged or cut short."""
    return [inspect_picture(path) for path in photos.values()]


def check_photos(
    photos: Mapping[str, Path],
    lenses: Sequence[Lens],
    headers: Sequence[PictureHeader] | None = None,
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The EXIF orientation in which each photo is to be read, 1 = as stored, and notes for the user.

    ``lenses`` and ``headers``: those of each photo, in their order; the latter are looked at when None. The stored
    pixels count where they have the camera's size, as for COLMAP; else the photo turned by 90 degrees as its EXIF says.
    Raises CaptureError when a photo is not whole or has no size that its camera was made for; a common ratio or a
    quarter turn is named as the likely cause.
    """
    turned: list[int] = []
    differing: list[tuple[Path, Size, Lens]] = []
    for path, lens, header in zip(photos.values(), lenses, headers or inspect_photos(photos), strict=True):
        size = header.height, header.width
        turn = _turn(path, size, (lens.height, lens.width))
        turned.append(STORED if turn is None else turn)
        if turn is None:
            differing.append((path, size, lens))
    if differing:
        path, (height, width), lens = differing[0]
        raise CaptureError(
            "photo and camera differ in size",
            where=path,
            expected=f"{lens.width} x {lens.height} as in the model",
            got=f"{width} x {height} ({len(differing)} of {len(photos)} photos differ)",
            do=_remedy((height, width), lens),
        )
    return tuple(turned), _turning_notes(photos, turned)


def content_notes(names: Iterable[str], headers: Sequence[PictureHeader]) -> tuple[str, ...]:
    """For the user: which photos hold linear light, which is clipped, and which hold several pictures."""
    pairs = list(zip(names, headers, strict=True))
    linear = [name for name, header in pairs if header.linear]
    several = [name for name, header in pairs if header.several]
    notes = []
    if linear:
        notes.append(f"{len(linear)} photos hold linear light: no response is fitted, 1 is clipped: {some_of(linear)}")
    if several:
        notes.append(f"{len(several)} files hold several pictures, the first is used: {some_of(several)}")
    return tuple(notes)


def linear_cameras(
    photos: Mapping[str, Path], headers: Sequence[PictureHeader], camera_index: Sequence[int]
) -> tuple[int, ...]:
    """The cameras [of C] whose photos hold linear light, of which ``camera_index`` [V] took each photo.

    Raises CaptureError where photos of one camera are of both kinds: one camera has one response.
    """
    kinds: dict[int, dict[bool, str]] = {}
    for name, header, camera in zip(photos, headers, camera_index, strict=True):
        kinds.setdefault(camera, {}).setdefault(header.linear, name)
    for kind in kinds.values():
        if len(kind) > 1:
            raise CaptureError(
                "one camera took linear and encoded photos",
                where=photos[kind[True]],
                expected=f"the kind of {kind[False]}, or another camera for it in the model",
                got="linear light",
                do="give all photos of a camera as RAW or EXR, or all as JPEG or PNG",
            )
    return tuple(sorted(camera for camera, kind in kinds.items() if True in kind))


def _turn(path: Path, size: Size, camera: Size) -> int | None:
    """The orientation in which a photo of ``size`` has the size of its camera; None where none does."""
    if size == camera:
        return STORED
    orientation = read_orientation(path)
    return orientation if is_sideways(orientation) and upright_size(size, orientation) == camera else None


def _turning_notes(photos: Mapping[str, Path], turned: Sequence[int]) -> tuple[str, ...]:
    names = [name for name, turn in zip(photos, turned, strict=True) if turn != STORED]
    return (f"{len(names)} photos are turned upright as their EXIF says: {some_of(names)}",) if names else ()


def read_exposures(photos: Mapping[str, Path]) -> tuple[torch.Tensor, tuple[str, ...]]:
    """EV100 of each photo in stops, [V] float64, NaN where EXIF does not say; and notes for the user."""
    values = [read_ev100(path) for path in photos.values()]
    missing = [name for name, value in zip(photos, values, strict=True) if value is None]
    exposures = torch.tensor([float("nan") if value is None else value for value in values], dtype=torch.float64)
    return exposures, (f"exposure missing in {len(missing)} photos: {some_of(missing)}",) if missing else ()


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


def _beside(path: Path) -> str:
    """Files that differ from an absent one in case or kind only, as after a conversion."""
    if not path.parent.is_dir():
        return ""
    stem = path.stem.casefold()
    alike = sorted(other.name for other in path.parent.iterdir() if other.stem.casefold() == stem and other.is_file())
    return f" (but {some_of(alike)} is there)" if alike else ""


def _remedy(size: Size, lens: Lens) -> str:
    """What to do about a photo whose size is not that of its camera, and why it may have come about."""
    if size == (lens.width, lens.height):
        return (
            "the photo is turned by 90 degrees and no EXIF orientation says which way: put the original there, whose "
            "EXIF does"
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
