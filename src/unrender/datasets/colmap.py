"""COLMAP's sparse models: a reconstruction folder becomes a Capture, and cameras become a model again.

Conventions are COLMAP's own, which are ours: camera_from_world poses, x right, y down, z forward, the first pixel's
centre at (0.5, 0.5), camera models and parameter orders. Photos are used distorted as they are, with pixels as
stored (COLMAP does not apply the EXIF orientation). Only registered images are in a model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import Lens, make_lens
from unrender.cameras.sensor import Sensor
from unrender.datasets.capture import Capture, hold_out
from unrender.datasets.clouds import PointCloud, read_ply
from unrender.datasets.colmap_check import check_model, model_is_binary, text_images
from unrender.errors import CaptureError
from unrender.images.exif import read_ev100
from unrender.images.io import read_size

if TYPE_CHECKING:
    import pycolmap

__all__ = ["read_colmap", "write_colmap"]

_LAYOUTS = ("sparse/0", "sparse", "dense/sparse", "dense/0/sparse", ".")
_FUSED = ("dense/fused.ply", "fused.ply", "dense/0/fused.ply")
_NAMED = 3
"""How many names a note gives before it only counts."""


def read_colmap(
    folder: Path | str,
    *,
    images: Path | str | None = None,
    masks: Path | str | None = None,
    points: Path | str | None = None,
    test_every: int = 8,
    test_names: Sequence[str] | Path | None = None,
) -> Capture:
    """A COLMAP folder as a Capture at photo size.

    The sparse model, binary or text, is the first of ``sparse/0``, ``sparse``, ``dense/sparse``, ``dense/0/sparse`` and
    the folder itself; photos are in ``images`` beside it unless given. ``masks`` is a folder of pictures, white = use,
    named as COLMAP does (``a.jpg.png`` for ``a.jpg``) or as the photos (``a.jpg``, ``a.png``). Points come from the PLY
    file ``points``, else from ``fused.ply`` where COLMAP leaves it, else from the model. Views to hold out: see
    ``hold_out``. What was chosen and what is missing is said in ``Capture.notes``.

    Raises CaptureError, one line, when the folder, the model, every photo or the points are missing or damaged, a
    camera model is not supported, a pose or intrinsic is not finite, or a photo is not of its camera's size.
    """
    root = Path(folder)
    model_folder = _find_model(root)
    model = _load(model_folder)
    poses = _poses(model, model_folder)
    photos, photo_notes = _find_photos(poses, _find_images(model_folder, root, images))
    names = tuple(photos)
    lenses, camera_index = _lenses(model, [poses[name].camera_id for name in names], model_folder)
    _check_sizes(photos, [lenses[index] for index in camera_index])
    cloud, cloud_notes = _points(model, root, points)
    mask_paths, mask_notes = _find_masks(names, masks)
    exif_ev, exif_notes = _exposures(photos)
    test = hold_out(names, test_every, test_names)
    matrices = torch.stack([poses[name].matrix for name in names])
    cameras = _cameras(matrices, camera_index, lenses, exif_ev, test)
    notes = (*_other_models(model_folder), *photo_notes, *cloud_notes, *mask_notes, *exif_notes)
    return Capture(root, names, tuple(photos.values()), mask_paths, cameras, cloud, exif_ev, test, notes)


def write_colmap(
    folder: Path | str, names: Sequence[str], cameras: Cameras, points: PointCloud, *, binary: bool = False
) -> None:
    """Write a COLMAP model without observations: lenses, poses and coloured points at photo size.

    The pixel affine and the sensor are not part of it. Read back, poses and lenses agree to 1e-12, colours to 1/255.
    """
    import pycolmap

    model = pycolmap.Reconstruction()
    for index, lens in enumerate(cameras.lenses, start=1):
        model.add_camera_with_trivial_rig(
            pycolmap.Camera(
                camera_id=index, model=lens.model, width=lens.width, height=lens.height, params=lens.params.tolist()
            )
        )
    for view, name in enumerate(names):
        image = pycolmap.Image(name=name, camera_id=int(cameras.camera_index[view]) + 1, image_id=view + 1)
        pose = pycolmap.Rigid3d(cameras.camera_from_world[view, :3].detach().cpu().double().numpy())
        model.add_image_with_trivial_frame(image, pose)
    colors = torch.zeros(len(points), 3) if points.colors is None else points.colors.cpu()
    levels = (colors.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    for position, level in zip(points.positions.cpu().double().numpy(), levels, strict=True):
        model.add_point3D(position, pycolmap.Track(), level)
    Path(folder).mkdir(parents=True, exist_ok=True)
    (model.write_binary if binary else model.write_text)(str(folder))


@dataclass(frozen=True)
class _Pose:
    """Where one registered image stood: camera_from_world [4, 4] float64, and the camera it was taken with."""

    matrix: torch.Tensor
    camera_id: int


def _find_model(root: Path) -> Path:
    """The folder of the sparse model."""
    if not root.is_dir():
        raise CaptureError("no such folder", where=root, expected="a COLMAP reconstruction")
    for layout in _LAYOUTS:
        folder = root / layout
        for kind in ("bin", "txt"):
            if all((folder / f"{part}.{kind}").is_file() for part in ("cameras", "images", "points3D")):
                return folder
    raise CaptureError(
        "no COLMAP model here" if any(root.iterdir()) else "this folder is empty",
        where=root,
        expected="cameras, images and points3D (.bin or .txt) in sparse/0, sparse, dense/sparse or the folder itself",
        do="reconstruct the photos with COLMAP first",
    )


def _other_models(folder: Path) -> tuple[str, ...]:
    """COLMAP writes ``sparse/1`` and so on when photos do not hang together; ``sparse/0`` need not be the largest."""
    if folder.name != "0":
        return ()
    others = sorted(other.name for other in folder.parent.iterdir() if other.is_dir() and other.name.isdecimal())
    others.remove("0")
    return (f"using {folder}; beside it lie the separate models {', '.join(others)}",) if others else ()


def _load(folder: Path) -> pycolmap.Reconstruction:
    """pycolmap's reading of a model that was checked to be whole."""
    import pycolmap

    check_model(folder)
    try:
        with _quiet():
            return pycolmap.Reconstruction(str(folder))
    except (RuntimeError, ValueError, LookupError, MemoryError, TypeError) as error:
        reason = str(error).split("] ", 1)[-1]
        raise CaptureError(
            f"COLMAP cannot read this model ({reason})", where=folder, do="copy it again, or write it again with COLMAP"
        ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """COLMAP logs to stderr what it also raises; we say it once."""
    from pycolmap import logging

    level = logging.minloglevel
    logging.minloglevel = int(logging.Level.FATAL)
    try:
        yield
    finally:
        logging.minloglevel = level


def _poses(model: pycolmap.Reconstruction, where: Path) -> dict[str, _Pose]:
    """Registered images by name, sorted."""
    poses: dict[str, _Pose] = {}
    names = _names(model, where)
    for image_id in model.reg_image_ids():
        image, name = model.images[image_id], names[image_id]
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3] = torch.from_numpy(np.array(image.cam_from_world().matrix()))
        if not bool(matrix.isfinite().all()) or abs(float(torch.det(matrix)) - 1) > 1e-6:
            raise CaptureError(f"the pose of {name} is not a rigid motion", where=where, do="remove or register it")
        poses[name] = _Pose(matrix, image.camera_id)
    if not poses:
        raise CaptureError("no registered images in this model", where=where, do="reconstruct the photos with COLMAP")
    return dict(sorted(poses.items()))


def _names(model: pycolmap.Reconstruction, folder: Path) -> dict[int, str]:
    """Image names by id. pycolmap's text reader ends a name at its first space, so text is read here once more."""
    if not model_is_binary(folder):
        return {image.image_id: image.name for image in text_images(folder)}
    try:
        return {image_id: image.name for image_id, image in model.images.items()}
    except UnicodeDecodeError as error:
        raise CaptureError(f"an image name is not UTF-8 ({error.reason})", where=folder / "images.bin") from None


def _find_images(model_folder: Path, root: Path, images: Path | str | None) -> Path:
    """The folder of the photos: the given one, or ``images`` in a folder above the model (or beside it)."""
    if images is not None:
        candidates = [Path(images)]
    elif model_folder == root / ".":
        candidates = [root / "images", root.resolve().parent / "images", root.resolve().parent.parent / "images"]
    else:
        above = model_folder.parent if model_folder.name == "sparse" else model_folder.parent.parent
        candidates = [above / "images"]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise CaptureError(
        "no folder of photos", where=root, expected=f"{candidates[0]}", do="say where they are (--images)"
    )


def _find_photos(poses: dict[str, _Pose], folder: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Which images of the model have their photo; none at all, or a name that leaves the folder, is refused."""
    for name in poses:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise CaptureError(
                f"the image name {name!r} leads out of its folder", where=folder, do="rename it in the model"
            )
    found = {name: folder / name for name in poses if (folder / name).is_file()}
    missing = [name for name in poses if name not in found]
    if not found:
        raise CaptureError(
            f"none of the model's {len(poses)} photos is here",
            where=folder,
            expected=_some(missing),
            do="give --images",
        )
    notes = (f"{len(missing)} of {len(poses)} images of the model have no photo file, left out: {_some(missing)}",)
    return found, notes if missing else ()


def _lenses(
    model: pycolmap.Reconstruction, camera_ids: list[int], where: Path
) -> tuple[tuple[Lens, ...], torch.Tensor]:
    """The lenses of the cameras that are used [C], and which of them each view has [V]."""
    used = sorted(set(camera_ids))
    lenses: list[Lens] = []
    for camera_id in used:
        camera = model.cameras[camera_id]
        try:
            lenses.append(make_lens(camera.model.name, camera.width, camera.height, torch.tensor(camera.params)))
        except CaptureError as error:
            raise CaptureError(str(error), where=f"{where}: camera {camera_id}") from None
    return tuple(lenses), torch.tensor([used.index(camera_id) for camera_id in camera_ids], dtype=torch.int64)


def _check_sizes(photos: dict[str, Path], lenses: list[Lens]) -> None:
    """Every photo has the size that its camera was calibrated for."""
    for path, lens in zip(photos.values(), lenses, strict=True):
        height, width = read_size(path)
        if (height, width) != (lens.height, lens.width):
            raise CaptureError(
                "photo and camera differ in size",
                where=path,
                expected=f"{lens.width} x {lens.height} as in the model",
                got=f"{width} x {height}{_likely_cause(height, width, lens)}",
                do="give the photos that COLMAP saw (--images)",
            )


def _likely_cause(height: int, width: int, lens: Lens) -> str:
    """Why a photo may differ in size from its camera: scaled by one ratio, or turned."""
    ratio = Fraction(width, lens.width)
    if ratio == Fraction(height, lens.height):
        return f" (exactly {ratio} of it: scaled after the reconstruction?)"
    if (height, width) == (lens.width, lens.height):
        return " (turned by 90 degrees: COLMAP uses the stored pixels and ignores the EXIF orientation)"
    return ""


def _points(model: pycolmap.Reconstruction, root: Path, file: Path | str | None) -> tuple[PointCloud, tuple[str, ...]]:
    """The cloud and where it came from; points that are nowhere are dropped."""
    fused = next((root / name for name in _FUSED if (root / name).is_file()), None)
    path = fused if file is None else Path(file)
    everything, source = (_sparse_points(model), "the sparse model") if path is None else (read_ply(path), str(path))
    cloud = everything.finite()
    if len(cloud) == 0:
        raise CaptureError("no points", where=f"{root}: {source}", do="give a point cloud (--points FILE.ply)")
    dropped = len(everything) - len(cloud)
    notes = (f"{len(cloud)} points from {source}",)
    return cloud, (*notes, f"{dropped} points without a finite position dropped") if dropped else notes


def _sparse_points(model: pycolmap.Reconstruction) -> PointCloud:
    """The model's points in the order of their ids."""
    points = [point for _, point in sorted(model.points3D.items())]
    positions = np.array([point.xyz for point in points], dtype=np.float64).reshape(-1, 3)
    colors = np.array([point.color for point in points], dtype=np.float32).reshape(-1, 3) / 255
    return PointCloud(torch.from_numpy(positions), torch.from_numpy(colors))


def _find_masks(names: Sequence[str], folder: Path | str | None) -> tuple[tuple[Path | None, ...], tuple[str, ...]]:
    """The mask file of each view, if there is one."""
    if folder is None:
        return (None,) * len(names), ()
    candidates = ([f"{name}.png", name, str(PurePosixPath(name).with_suffix(".png"))] for name in names)
    paths = tuple(next((p for file in files if (p := Path(folder) / file).is_file()), None) for files in candidates)
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if len(missing) == len(names):
        raise CaptureError("no masks here", where=folder, expected=f"{names[0]}.png and so on, white = use")
    return paths, (f"{len(missing)} photos have no mask: {_some(missing)}",) if missing else ()


def _exposures(photos: dict[str, Path]) -> tuple[torch.Tensor, tuple[str, ...]]:
    """EV100 of each view [V] float64, NaN where EXIF does not say."""
    values = [read_ev100(path) for path in photos.values()]
    missing = [name for name, value in zip(photos, values, strict=True) if value is None]
    exposures = torch.tensor([float("nan") if value is None else value for value in values], dtype=torch.float64)
    return exposures, (f"exposure missing in {len(missing)} photos: {_some(missing)}",) if missing else ()


def _cameras(
    poses: torch.Tensor,
    camera_index: torch.Tensor,
    lenses: tuple[Lens, ...],
    exif_ev: torch.Tensor,
    test: tuple[int, ...],
) -> Cameras:
    """Cameras at photo size, sensor started from EXIF and anchored at the training views."""
    views = len(poses)
    anchor = torch.ones(views, dtype=torch.bool)
    anchor[list(test)] = False
    sizes = torch.tensor([[lens.height, lens.width] for lens in lenses], dtype=torch.int64)
    return Cameras(
        camera_from_world=poses,
        camera_index=camera_index,
        lenses=lenses,
        pixel_scale=torch.ones(views, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(views, 2, dtype=torch.float64),
        sizes=sizes[camera_index],
        sensor=Sensor.start(exif_ev, len(lenses), anchor),
    )


def _some(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
