"""From a folder or file of any format that we read to a Capture: which photos, masks and points there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.sensor import Sensor
from unrender.datasets.capture import Capture, hold_out
from unrender.datasets.clouds import PointCloud, read_cloud
from unrender.datasets.formats import read_reconstruction
from unrender.datasets.masks import check_masks, find_masks
from unrender.datasets.names import naming_notes
from unrender.datasets.photos import (
    check_photos,
    content_notes,
    find_photos,
    inspect_photos,
    linear_cameras,
    read_exposures,
)
from unrender.datasets.pictures import Alpha, find_alpha
from unrender.datasets.reconstruction import Reconstruction
from unrender.errors import CaptureError

__all__ = ["cameras_of", "capture_of", "read_capture"]

EVERY = 8
"""Every how manieth photo is held out when neither the user nor the format says, if there is more than one."""


def read_capture(
    path: Path | str,
    *,
    format: str | None = None,
    images: Path | str | None = None,
    masks: Path | str | None = None,
    points: Path | str | None = None,
    test_every: int | None = None,
    test_names: Sequence[str] | Path | None = None,
    alpha: Alpha | None = None,
    budget: int = Capture.budget,
) -> Capture:
    """The photos and their reconstruction at ``path``, a folder or a file, as a Capture at photo size.

    ``format``: a name of ``FORMATS``, recognised when None. ``images``: folder of the photos, when not where the format
    says. ``masks``: folder of pictures, white = use, named as COLMAP does (``a.jpg.png`` for ``a.jpg``) or as photos.
    ``points``: file of points; else the dense cloud of the reconstruction, else its own points. Held out are views as
    ``hold_out`` says, else those that the format sets apart, else every 8th. ``alpha``: what transparency of the photos
    means, else what it means in the format, else nothing. ``budget``: bytes of decoded pictures that are kept.

    Everything is looked at before anything is decoded. Raises CaptureError, one line, when something that is needed is
    missing, damaged or not supported, or a photo or mask is not of its camera's size.
    """
    root = Path(path)
    found = read_reconstruction(root, format, images=None if images is None else Path(images))
    return capture_of(
        found,
        root,
        masks=masks,
        points=points,
        test_every=test_every,
        test_names=test_names,
        alpha=alpha,
        budget=budget,
    )


def capture_of(
    found: Reconstruction,
    root: Path,
    *,
    masks: Path | str | None = None,
    points: Path | str | None = None,
    test_every: int | None = None,
    test_names: Sequence[str] | Path | None = None,
    alpha: Alpha | None = None,
    budget: int = Capture.budget,
) -> Capture:
    """The Capture of a reconstruction that was read at ``root``; all else, and what it raises, as ``read_capture``."""
    pictures = _pictures(found, root, masks, alpha)
    cloud, cloud_notes = _points(found, root, points)
    exif_ev, exif_notes = _exposures(found, pictures.photos)
    test = _held_out(found, test_every, test_names)
    cameras = cameras_of(found, exif_ev, test).with_linear(pictures.linear)
    notes = (*found.notes, *cloud_notes, *pictures.notes, *exif_notes)
    files = tuple(pictures.photos.values()), pictures.masks
    readings = {"turned": pictures.turned, "alpha": pictures.alpha, "deep": pictures.deep}
    return Capture(root, found.names, *files, cameras, cloud, exif_ev, test, notes, budget, **readings)


def cameras_of(found: Reconstruction, exif_ev: torch.Tensor, test: Sequence[int] = ()) -> Cameras:
    """Cameras at photo size, sensor started from EXIF and anchored at the views that are not held out."""
    views = len(found)
    anchor = torch.ones(views, dtype=torch.bool)
    anchor[list(test)] = False
    sizes = torch.tensor([[lens.height, lens.width] for lens in found.lenses], dtype=torch.int64)
    return Cameras(
        camera_from_world=found.camera_from_world,
        camera_index=found.camera_index,
        lenses=found.lenses,
        pixel_scale=torch.ones(views, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(views, 2, dtype=torch.float64),
        sizes=sizes[found.camera_index],
        sensor=Sensor.start(exif_ev, len(found.lenses), anchor),
    )


def _image_folder(found: Reconstruction, root: Path) -> Path:
    if not found.image_folder.is_dir():
        expected, do = f"{found.image_folder}", "say where they are (--images)"
        raise CaptureError("no folder of photos", where=root, expected=expected, do=do)
    return found.image_folder


def _held_out(
    found: Reconstruction, test_every: int | None, test_names: Sequence[str] | Path | None
) -> tuple[int, ...]:
    if test_every is None and test_names is None:
        test_names = found.held_out
        if test_names is None and len(found) == 1:
            return ()  # a lone photo is there to be fitted
    return hold_out(found.names, EVERY if test_every is None else test_every, test_names)


@dataclass(frozen=True)
class _Pictures:
    """The files of V views, checked, how they are to be read (see ``Capture``), which cameras are ``linear`` (see
    ``Cameras``), and what a user should know.
    """

    photos: dict[str, Path]
    masks: tuple[Path | None, ...]
    turned: tuple[int, ...]
    alpha: tuple[Alpha, ...]
    deep: tuple[int, ...]
    linear: tuple[int, ...]
    notes: tuple[str, ...]


def _pictures(found: Reconstruction, root: Path, masks: Path | str | None, alpha: Alpha | None) -> _Pictures:
    folder, lenses = _image_folder(found, root), found.lens_of_view
    photos = find_photos(found.names, folder)
    headers = inspect_photos(photos)
    turned, turning_notes = check_photos(photos, lenses, headers)
    paths = found.masks if masks is None else find_masks(found.names, Path(masks))
    mask_notes = () if paths is None else check_masks(found.names, paths, lenses, turned)
    chosen, alpha_notes = find_alpha(found.names, headers, alpha, found.alpha)
    deep = tuple(view for view, header in enumerate(headers) if header.deep)
    linear = linear_cameras(photos, headers, found.camera_index.tolist())
    contents = content_notes(photos, headers)
    notes = (*naming_notes(photos, folder), *turning_notes, *mask_notes, *alpha_notes, *contents)
    return _Pictures(photos, paths or (None,) * len(found), turned, chosen, deep, linear, notes)


def _exposures(found: Reconstruction, photos: dict[str, Path]) -> tuple[torch.Tensor, tuple[str, ...]]:
    if found.exif_ev is not None:
        return found.exif_ev, ()
    return read_exposures(photos)


def _points(found: Reconstruction, root: Path, file: Path | str | None) -> tuple[PointCloud, tuple[str, ...]]:
    """The cloud, and for the user where it came from."""
    path = found.dense if file is None else Path(file)
    if path is not None:
        return _dense_points(path)
    if len(found.points) == 0:
        what, do = "no points in this reconstruction", "give a point cloud in its frame (--points FILE), or reconstruct"
        raise CaptureError(what, where=root, do=f"{do} the photos with a program that makes points, such as COLMAP")
    return found.points, (f"{len(found.points)} points from the sparse model",)


def _dense_points(path: Path) -> tuple[PointCloud, tuple[str, ...]]:
    """A point cloud file without the points that are nowhere: scanners write them where they saw nothing."""
    everything = read_cloud(path)
    cloud = everything.finite()
    dropped = len(everything) - len(cloud)
    if len(cloud) == 0:
        raise CaptureError(f"none of the {dropped} points has a finite position", where=path, do="give another cloud")
    notes = (f"{len(cloud)} points from {path}",)
    return cloud, (*notes, f"{dropped} points without a finite position dropped") if dropped else notes
