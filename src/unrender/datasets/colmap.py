"""COLMAP's sparse models: a reconstruction folder becomes a Capture, and cameras become a model again.

Conventions are COLMAP's own, which are ours: camera_from_world poses, x right, y down, z forward, the first pixel's
centre at (0.5, 0.5), camera models and parameter orders. Photos are used distorted as they are, with pixels as
stored (COLMAP does not apply the EXIF orientation). Only registered images are in a model.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import LENSES, Lens, make_lens
from unrender.cameras.sensor import Sensor
from unrender.datasets.capture import Capture, hold_out
from unrender.datasets.clouds import FARTHEST, PointCloud, read_ply
from unrender.datasets.colmap_check import check_model, model_is_binary, text_images
from unrender.datasets.photos import check_photos, find_masks, find_photos, read_exposures
from unrender.errors import CaptureError

if TYPE_CHECKING:
    import pycolmap

__all__ = ["read_colmap", "write_colmap"]

_LAYOUTS = ("sparse/0", "sparse", "dense/sparse", "dense/0/sparse", ".")
_FUSED = ("dense/fused.ply", "fused.ply", "dense/0/fused.ply")
_SHORTEST, _LONGEST = 1e-3, 1e6
"""Focal lengths in widths of the photo that a camera may have; a wide fisheye has 0.2, a telescope 100."""
_AGAIN = "copy it again, or write it again with COLMAP"
_MEND = "reconstruct again, or mend it in a text model (colmap model_converter)"


def read_colmap(
    folder: Path | str,
    *,
    images: Path | str | None = None,
    masks: Path | str | None = None,
    points: Path | str | None = None,
    test_every: int = 8,
    test_names: Sequence[str] | Path | None = None,
    budget: int = Capture.budget,
) -> Capture:
    """A COLMAP folder as a Capture at photo size.

    The sparse model, binary or text, is the first of ``sparse/0``, ``sparse``, ``dense/sparse``, ``dense/0/sparse`` and
    the folder itself; photos are in ``images`` beside it unless given. ``masks`` is a folder of pictures, white = use,
    named as COLMAP does (``a.jpg.png`` for ``a.jpg``) or as the photos (``a.jpg``, ``a.png``). Points come from the PLY
    file ``points``, else from ``fused.ply`` where COLMAP leaves it, else from the model. Views to hold out: see
    ``hold_out``. ``budget``: bytes of decoded pictures that are kept. What was chosen is said in ``Capture.notes``.

    Everything is looked at before anything is decoded. Raises CaptureError, one line, when the folder, the model, a
    photo that it names or the points are missing or damaged, a camera model is not supported, a pose, an intrinsic or
    a point of the model is not finite, or a photo or mask is not of its camera's size.
    """
    root = Path(folder)
    model_folder = _find_model(root)
    model = _load(model_folder)
    poses = _poses(model, model_folder)
    photos = find_photos(poses, _find_images(model_folder, root, images))
    names = tuple(photos)
    lenses, camera_index = _lenses(model, [pose.camera_id for pose in poses.values()], model_folder)
    lens_of_view = [lenses[index] for index in camera_index]
    cloud, cloud_notes = _points(model, model_folder, root, points)
    check_photos(photos, lens_of_view)
    mask_paths, mask_notes = find_masks(names, lens_of_view, masks)
    exif_ev, exif_notes = read_exposures(photos)
    test = hold_out(names, test_every, test_names)
    matrices = torch.stack([pose.matrix for pose in poses.values()])
    cameras = _cameras(matrices, camera_index, lenses, exif_ev, test)
    notes = (*_other_models(model_folder), *cloud_notes, *mask_notes, *exif_notes)
    return Capture(root, names, tuple(photos.values()), mask_paths, cameras, cloud, exif_ev, test, notes, budget)


def write_colmap(
    folder: Path | str, names: Sequence[str], cameras: Cameras, points: PointCloud, *, binary: bool = False
) -> None:
    """Write a COLMAP model without observations: lenses, poses and coloured points at photo size.

    The pixel affine and the sensor are not part of it. Read back, poses and lenses agree to 1e-12, colours to 1/255.
    Raises CaptureError for a lens that COLMAP does not have.
    """
    pycolmap = _import_pycolmap()
    for lens in cameras.lenses:
        if lens.model not in pycolmap.CameraModelId.__members__:
            raise CaptureError(
                f"COLMAP has no lens {lens.model}", where=folder, do="write the nearest one that it has (nearest_lens)"
            )

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


def _import_pycolmap() -> ModuleType:
    """pycolmap, without the handlers that it puts in the place of ours: SIGTERM would end a fit with a stack of C++."""
    import pycolmap

    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGTERM)  # as Python knows it; to install it again makes it so
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)
    return pycolmap


def _load(folder: Path) -> pycolmap.Reconstruction:
    """pycolmap's reading of a model that was checked to be whole."""
    pycolmap = _import_pycolmap()

    check_model(folder)
    with _colmaps_reason(folder):
        return pycolmap.Reconstruction(str(folder))


@contextlib.contextmanager
def _colmaps_reason(folder: Path) -> Iterator[None]:
    """What COLMAP raises becomes one line; it would log it to stderr as well, which is silenced."""
    from pycolmap import logging

    level = logging.minloglevel
    logging.minloglevel = int(logging.Level.FATAL)
    try:
        yield
    except (RuntimeError, ValueError, LookupError, MemoryError, TypeError) as error:
        reason = str(error).split("] ", 1)[-1]
        raise CaptureError(f"COLMAP cannot read this model ({reason})", where=folder, do=_AGAIN) from None
    finally:
        logging.minloglevel = level


def _poses(model: pycolmap.Reconstruction, where: Path) -> dict[str, _Pose]:
    """Registered images by name, sorted."""
    poses: dict[str, _Pose] = {}
    names = _names(model, where)
    with _colmaps_reason(where):  # frames may speak of images that are not there
        images = {names[image_id]: model.images[image_id] for image_id in model.reg_image_ids()}
        rigids = {name: image.cam_from_world() for name, image in images.items()}
    for name, rigid in rigids.items():
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3] = torch.from_numpy(np.array(rigid.matrix()))
        length = float(np.linalg.norm(rigid.rotation.quat))
        near = bool((matrix.abs() <= FARTHEST).all())
        if not (near and abs(length - 1) < 1e-3 and abs(float(torch.det(matrix)) - 1) < 1e-6):
            raise CaptureError(
                f"the pose of {name} is not a rigid motion",
                where=where,
                expected=f"a unit quaternion and a translation of at most {FARTHEST:g}",
                got=f"{rigid.rotation.quat[[3, 0, 1, 2]].tolist()} (w x y z), {rigid.translation.tolist()}",
                do="register it again, or take it out of the model (colmap image_deleter)",
            )
        poses[name] = _Pose(matrix, images[name].camera_id)
    if not poses:
        raise CaptureError("no registered images in this model", where=where, do="reconstruct the photos with COLMAP")
    return dict(sorted(poses.items()))


def _names(model: pycolmap.Reconstruction, folder: Path) -> dict[int, str]:
    """Image names by id. pycolmap's text reader ends a name at its first space, so text is read here once more."""
    if model_is_binary(folder):
        try:
            names = {image_id: image.name for image_id, image in model.images.items()}
        except UnicodeDecodeError as error:
            raise CaptureError(f"an image name is not UTF-8 ({error.reason})", where=folder / "images.bin") from None
    else:
        names = {image.image_id: image.name for image in text_images(folder)}
    name, count = Counter(names.values()).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise CaptureError(f"{count} images are named {name!r}", where=folder, do="take all but one out of the model")
    return names


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
            _check_lens(lenses[-1])
        except CaptureError as error:
            mend = _MEND if camera.model.name in LENSES else None
            raise CaptureError(str(error), where=f"{where}: camera {camera_id}", do=mend) from None
    index = {camera_id: place for place, camera_id in enumerate(used)}
    return tuple(lenses), torch.tensor([index[camera_id] for camera_id in camera_ids], dtype=torch.int64)


def _check_lens(lens: Lens) -> None:
    """Raises CaptureError for numbers that no camera has, with which everything computed would be 0 or infinite."""
    focals = [float(lens.params[at]) for at, name in enumerate(lens.parameter_names) if name.startswith("f")]
    edge = max(lens.width, lens.height)
    if min(focals, default=edge) < _SHORTEST * edge or float(lens.params.abs().max()) > _LONGEST * edge:
        raise CaptureError(
            "parameters of no camera",
            where=lens.model,
            expected=f"focal lengths of at least {_SHORTEST * edge:g} pixels, nothing beyond {_LONGEST * edge:g}",
            got=lens.params.tolist(),
        )


def _points(
    model: pycolmap.Reconstruction, model_folder: Path, root: Path, file: Path | str | None
) -> tuple[PointCloud, tuple[str, ...]]:
    """The cloud, and for the user where it came from."""
    fused = next((root / name for name in _FUSED if (root / name).is_file()), None)
    path = fused if file is None else Path(file)
    if path is None:
        cloud = _sparse_points(model, model_folder)
        return cloud, (f"{len(cloud)} points from the sparse model",)
    return _dense_points(path)


def _dense_points(path: Path) -> tuple[PointCloud, tuple[str, ...]]:
    """A point cloud file without the points that are nowhere: scanners write them where they saw nothing."""
    everything = read_ply(path)
    cloud = everything.finite()
    dropped = len(everything) - len(cloud)
    if len(cloud) == 0:
        raise CaptureError(f"none of the {dropped} points has a finite position", where=path, do="give another cloud")
    notes = (f"{len(cloud)} points from {path}",)
    return cloud, (*notes, f"{dropped} points without a finite position dropped") if dropped else notes


def _sparse_points(model: pycolmap.Reconstruction, where: Path) -> PointCloud:
    """The model's points in the order of their ids. None of them may be nowhere: COLMAP writes no such point."""
    ids, points = list(zip(*sorted(model.points3D.items()), strict=True)) or ((), ())
    positions = np.array([point.xyz for point in points], dtype=np.float64).reshape(-1, 3)
    colors = np.array([point.color for point in points], dtype=np.float32).reshape(-1, 3) / 255
    nowhere = np.flatnonzero(~(np.abs(positions) <= FARTHEST).all(axis=1))
    if len(points) == 0 or len(nowhere) > 0:
        what = "no points in this model"
        if len(points) > 0:
            what = f"the position of point {ids[nowhere[0]]} is not finite or beyond {FARTHEST:g}"
        raise CaptureError(what, where=where, do="reconstruct again, or give a point cloud (--points FILE.ply)")
    return PointCloud(torch.from_numpy(positions), torch.from_numpy(colors))


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
