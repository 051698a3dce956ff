"""From a folder or file of any format that we read to a Capture: which photos, masks and points there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.sensor import Sensor
from unrender.datasets.capture import Capture, hold_out
from unrender.datasets.clouds import PointCloud, read_cloud
from unrender.datasets.formats import read_reconstruction
from unrender.datasets.photos import check_photos, find_masks, find_photos, read_exposures
from unrender.datasets.reconstruction import Reconstruction
from unrender.errors import CaptureError

__all__ = ["cameras_of", "read_capture"]

EVERY = 8
"""Every how manieth photo is held out when neither the user nor the format says."""


def read_capture(
    path: Path | str,
    *,
    format: str | None = None,
    images: Path | str | None = None,
    masks: Path | str | None = None,
    points: Path | str | None = None,
    test_every: int | None = None,
    test_names: Sequence[str] | Path | None = None,
    budget: int = Capture.budget,
) -> Capture:
    """The photos and their reconstruction at ``path``, a folder or a file, as a Capture at photo size.

    ``format``: a name of ``FORMATS``, recognised when None. ``images``: folder of the photos, when not where the format
    says. ``masks``: folder of pictures, white = use, named as COLMAP does (``a.jpg.png`` for ``a.jpg``) or as photos.
    ``points``: file of points; else the dense cloud of the reconstruction, else its own points. Held out are views as
    ``hold_out`` says, else those that the format sets apart, else every 8th. ``budget``: bytes of decoded pictures that
    are kept.

    Everything is looked at before anything is decoded. Raises CaptureError, one line, when something that is needed is
    missing, damaged or not supported, or a photo or mask is not of its camera's size.
    """
    root = Path(path)
    found = read_reconstruction(root, format, images=None if images is None else Path(images))
    photos = find_photos(found.names, _image_folder(found, root))
    check_photos(photos, found.lens_of_view)
    cloud, cloud_notes = _points(found, root, points)
    mask_paths, mask_notes = _masks(found, masks)
    exif_ev, exif_notes = _exposures(found, photos)
    test = _held_out(found, test_every, test_names)
    cameras = cameras_of(found, exif_ev, test)
    notes = (*found.notes, *cloud_notes, *mask_notes, *exif_notes)
    files = tuple(photos.values())
    return Capture(root, found.names, files, mask_paths, cameras, cloud, exif_ev, test, notes, budget)


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
    return hold_out(found.names, EVERY if test_every is None else test_every, test_names)


def _masks(found: Reconstruction, folder: Path | str | None) -> tuple[tuple[Path | None, ...], tuple[str, ...]]:
    if folder is None and found.masks is not None:
        return found.masks, ()
    return find_masks(found.names, found.lens_of_view, folder)


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
        what = "no points in this reconstruction"
        raise CaptureError(what, where=root, do="reconstruct again, or give a point cloud (--points FILE)")
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
