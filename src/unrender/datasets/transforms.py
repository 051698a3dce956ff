"""transforms.json of nerfstudio and instant-ngp.

``transform_matrix`` is camera to world, camera axes x right, y up, z backwards: ours with two axes negated. World,
scale and points are taken as the file has them: what ``applied_transform`` and ``applied_scale`` say was done to the
cameras when the file was made, its PLY has undergone too (nerfstudio 1.1.5, process_data/colmap_utils.py and
data/dataparsers/nerfstudio_dataparser.py). Lenses: see ``transforms_lens.py``.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import torch

from unrender.cameras.lens import Lens
from unrender.datasets.listed_photos import PHOTO_SUFFIXES, find_listed, photo_sizes
from unrender.datasets.names import PictureFolder, is_file, some_of
from unrender.datasets.pictures import Alpha
from unrender.datasets.reconstruction import Ids, Reconstruction, no_points
from unrender.datasets.transforms_frames import ALPHA, EXPOSURE, Frame, load_frames, looks_like_frames, poses_of
from unrender.datasets.transforms_lens import lens_of
from unrender.datasets.transforms_points import path_below, read_points
from unrender.errors import CaptureError

__all__ = ["is_transforms", "read_transforms", "reconstruct"]

_NAME = "transforms.json"
_SPLITS = ("train_filenames", "val_filenames", "test_filenames")


def is_transforms(path: Path) -> bool:
    """Whether this is a folder with transforms.json, or a JSON file with frames."""
    try:
        return looks_like_frames(path / _NAME if path.is_dir() else path)
    except (OSError, ValueError):
        return False


def read_transforms(path: Path, *, images: Path | None = None, observations: bool = False) -> Reconstruction:  # noqa: ARG001
    """The cameras of a JSON file with frames, or of transforms.json in a folder. It has no observations.

    Entries of a frame go before those of the file. Photos that are not there are left out and counted, unless none is;
    so are those that are in no split, where the file has splits. Sizes that the file does not say come from the photos.
    Raises CaptureError, one line, when the file is no such JSON, a frame has no pose or focal length, or a lens is none
    of ours.
    """
    file = path / _NAME if path.is_dir() else path
    shared, frames = load_frames(file)
    splits = _splits(shared, frames, file)
    kept = [place for place, split in enumerate(splits) if split is not None]
    if not kept:
        raise CaptureError("no frame is in train_filenames or test_filenames", where=file)
    left_out = (f"{len(frames) - len(kept)} photos in neither the train nor the test split left out",)
    found = reconstruct(
        [frames[place] for place in kept],
        [splits[place] == "test" for place in kept] if any(key in shared for key in _SPLITS) else None,
        file,
        images,
    )
    points, dense, cloud_notes = read_points(shared, file, found)
    notes = (*found.notes, *(left_out if len(kept) < len(frames) else ()), *cloud_notes, *_frame_notes(shared))
    alpha = shared[ALPHA] if shared.get(ALPHA) in get_args(Alpha) else None
    return replace(found, points=points, dense=dense, alpha=alpha, notes=notes, ids=_ids(found, len(points)))


def reconstruct(
    frames: Sequence[Frame], held_out: Sequence[bool] | None, file: Path, images: Path | None
) -> Reconstruction:
    """Photos, poses and lenses of frames, which lie below the folder of ``file``; ``held_out``: which are for testing.

    Photos that are not there are left out, unless none is. Frames with equal intrinsics, and equal ``camera_id`` where
    there are such, share a lens.
    """
    root = file.parent
    listed = find_listed([_with_suffix(frame, root, images) for frame in frames], file, root, images, split=True)
    there, missing_notes = _there(listed.names, listed.folder)
    names, frames = tuple(listed.names[place] for place in there), [frames[place] for place in there]
    lenses, index = _lenses(frames, names, listed.folder, file)
    masks, mask_notes = _masks(frames, root, photos_are_here=_is_here(names[0], listed.folder))
    chosen = None if held_out is None else tuple(listed.names[place] for place in there if held_out[place])
    return Reconstruction(
        names=names,
        image_folder=listed.folder,
        camera_from_world=poses_of(frames),
        camera_index=index,
        lenses=lenses,
        points=no_points(),
        ids=_image_ids(frames, len(lenses)),
        masks=masks,
        exif_ev=_exposures(frames),
        held_out=chosen or None,
        notes=(*listed.notes, *missing_notes, *mask_notes),
    )


def _with_suffix(frame: Frame, root: Path, images: Path | None) -> str:
    """The path of a photo with a suffix: that of the file that is there, .png where none is."""
    path = frame.path.replace("\\", "/")
    if not path or frame.text("file_path") is None:
        raise CaptureError("file_path", where=frame.where, expected="the path of a photo", got=repr(frame.path))
    if PurePosixPath(path).suffix.lower() in PHOTO_SUFFIXES:
        return path
    inside = posixpath.normpath(path)
    names = [posixpath.basename(inside)] if inside.startswith(("/", "..")) else [inside, posixpath.basename(inside)]
    for folder in (images, root):
        for name in names if folder is not None else ():
            for suffix in ("", ".png", *PHOTO_SUFFIXES):
                if folder is not None and is_file(folder / f"{name}{suffix}"):
                    return f"{path}{suffix}"
    return f"{path}.png"


def _there(names: Sequence[str], folder: Path) -> tuple[list[int], tuple[str, ...]]:
    """The places of the photos that are there, of all when none is."""
    files = PictureFolder(folder)
    there = [place for place, name in enumerate(names) if files.find(name) is not None]
    if not there or len(there) == len(names):
        return list(range(len(names))), ()
    present = set(there)
    missing = [name for place, name in enumerate(names) if place not in present]
    return there, (f"{len(missing)} of {len(names)} photos are named but not there, left out: {some_of(missing)}",)


def _is_here(name: str, folder: Path) -> bool:
    return PictureFolder(folder).find(name) is not None


def _lenses(
    frames: Sequence[Frame], names: Sequence[str], folder: Path, file: Path
) -> tuple[tuple[Lens, ...], torch.Tensor]:
    """The different lenses in the order they come, and which of them each frame has."""
    sizes = [frame.size() for frame in frames]
    unsaid = [place for place, size in enumerate(sizes) if size is None]
    for place, size in zip(unsaid, photo_sizes([names[place] for place in unsaid], folder, file), strict=True):
        sizes[place] = size
    places: dict[object, int] = {}
    lenses: list[Lens] = []
    index = []
    for frame, size in zip(frames, sizes, strict=True):
        lens = lens_of(frame, size or (0, 0))
        key = (lens.model, size, tuple(lens.params.tolist()), repr(frame.own.get("camera_id"))[:80])
        if key not in places:
            places[key] = len(lenses)
            lenses.append(lens)
        index.append(places[key])
    return tuple(lenses), torch.tensor(index, dtype=torch.int64)


def _masks(
    frames: Sequence[Frame], root: Path, *, photos_are_here: bool
) -> tuple[tuple[Path | None, ...] | None, tuple[str, ...]]:
    """The mask of each frame, None where it has none, or where photos are here and the mask is not; and notes."""
    named = [frame.text("mask_path") for frame in frames]
    places = [None if path is None else path_below(path, root) for path in named]
    masks = tuple(None if place is None or (photos_are_here and not is_file(place)) else place for place in places)
    lost = [path for path, mask in zip(named, masks, strict=True) if path is not None and mask is None]
    notes = (f"{len(lost)} masks are not in this capture (--masks): {some_of(lost)}",) if lost else ()
    return (masks if any(masks) else None), notes


def _splits(shared: Mapping[str, Any], frames: Sequence[Frame], file: Path) -> list[str | None]:
    """Which split each frame is in: "train", "test" or None. What is for testing is for nothing else.

    Testing are test_filenames, where there are none val_filenames; training are train_filenames, without such a list
    all others.
    """
    train, val, test = (_listed(shared, key, file) for key in _SPLITS)
    test = test or val or frozenset()
    paths = [_normal(frame.path) for frame in frames]
    return ["test" if path in test else "train" if train is None or path in train else None for path in paths]


def _listed(shared: Mapping[str, Any], key: str, file: Path) -> frozenset[str] | None:
    names = shared.get(key)
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CaptureError(key, where=file, expected="a list of paths", got=repr(names)[:80])
    return frozenset(map(_normal, names))


def _normal(path: str) -> str:
    return posixpath.normpath(path.replace("\\", "/"))


def _frame_notes(shared: Mapping[str, Any]) -> tuple[str, ...]:
    notes = []
    if "applied_transform" in shared or "applied_scale" in shared:
        notes.append("cameras and points stay as the file has them (its applied_transform made them so)")
    if shared.get("rolling_shutter"):
        notes.append("rolling_shutter is not used: each photo has one pose")
    return tuple(notes)


def _exposures(frames: Sequence[Frame]) -> torch.Tensor | None:
    """Of each frame [V], stops, NaN where it says none; None where no frame does."""
    if not any(EXPOSURE in frame.own for frame in frames):
        return None
    values = [frame.number(EXPOSURE) if EXPOSURE in frame.own else math.nan for frame in frames]
    return torch.tensor(values, dtype=torch.float64)


def _image_ids(frames: Sequence[Frame], cameras: int) -> Ids | None:
    """COLMAP's numbers of the images, which nerfstudio keeps; None where they are not all there and different."""
    numbers = [frame.own.get("colmap_im_id") for frame in frames]
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers) or len(set(numbers)) < len(numbers):
        return None
    counted = Ids.counted(0, cameras, 0)
    return Ids(torch.tensor(numbers, dtype=torch.int64), counted.cameras, counted.points)


def _ids(found: Reconstruction, points: int) -> Ids | None:
    return None if found.ids is None else replace(found.ids, points=Ids.counted(0, 0, points).points)
