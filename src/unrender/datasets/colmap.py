"""COLMAP's sparse models, binary and text, with rigs and frames, read and written through pycolmap.

Conventions are COLMAP's own, which are ours: camera_from_world poses, x right, y down, z forward, the first pixel's
centre at (0.5, 0.5), camera models and parameter orders. Photos are used distorted as they are, with pixels as
stored (COLMAP does not apply the EXIF orientation). Only registered images are in a model.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch

from unrender.cameras.lens import LENSES, Lens, make_lens
from unrender.datasets.clouds import FARTHEST, PointCloud
from unrender.datasets.colmap_check import check_model, model_is_binary, text_images
from unrender.datasets.reconstruction import Ids, Observations, Reconstruction
from unrender.errors import CaptureError

if TYPE_CHECKING:
    import pycolmap

__all__ = ["COLMAP_LENSES", "is_colmap", "read_colmap", "write_colmap", "write_colmap_folder"]

COLMAP_LENSES = tuple(model for model in LENSES if model != "OCAM")
"""The lenses that a model can hold."""
_LAYOUTS = ("sparse/0", "sparse", "dense/sparse", "dense/0/sparse", ".")
_FUSED = ("dense/fused.ply", "fused.ply", "dense/0/fused.ply")
_AGAIN = "copy it again, or write it again with COLMAP"
_MEND = "reconstruct again, or mend it in a text model (colmap model_converter)"


def is_colmap(folder: Path) -> bool:
    """Whether there is a sparse model in one of its usual places."""
    return _model_in(folder) is not None


def read_colmap(path: Path, *, images: Path | None = None, observations: bool = False) -> Reconstruction:
    """The reconstruction in a COLMAP folder.

    The sparse model, binary or text, is the first of ``sparse/0``, ``sparse``, ``dense/sparse``, ``dense/0/sparse`` and
    the folder itself; photos are in ``images`` beside it unless given. ``observations``: also what each image saw,
    which takes a while for large models. Rigs and frames become one pose per image. A dense cloud is ``fused.ply``
    where COLMAP leaves it.

    Raises CaptureError, one line, when the folder or model is missing or damaged, a camera model is not supported, or a
    pose, an intrinsic or a point of the model is not finite.
    """
    where = _find_model(path)
    model = _load(where)
    poses = _poses(model, where)
    lenses, camera_index, camera_ids = _lenses(model, [pose.camera_id for pose in poses.values()], where)
    point_ids = np.array(sorted(model.points3D), dtype=np.int64)
    image_ids = [pose.image_id for pose in poses.values()]
    points, errors = _points(model, point_ids)
    return Reconstruction(
        names=tuple(poses),
        image_folder=_find_images(where, path) if images is None else images,
        camera_from_world=torch.stack([pose.matrix for pose in poses.values()]),
        camera_index=camera_index,
        lenses=lenses,
        points=points,
        point_errors=errors,
        observations=_observations(model, image_ids, point_ids) if observations else None,
        ids=Ids(torch.tensor(image_ids), torch.tensor(camera_ids), torch.from_numpy(point_ids)),
        dense=next((path / name for name in _FUSED if (path / name).is_file()), None),
        notes=(*_other_models(where), *_rig_notes(model)),
    )


def write_colmap(folder: Path | str, reconstruction: Reconstruction, *, binary: bool = False) -> None:
    """Write a sparse model into ``folder`` with the names and ids of the reconstruction, and its observations if any.

    Every image is a rig and frame of its own. Read back, poses and lenses agree to 1e-12, colours to 1/255. Raises
    CaptureError for a lens that COLMAP has no model of.
    """
    pycolmap = _import_pycolmap()

    model = pycolmap.Reconstruction()
    numbers = reconstruction.numbers
    for camera_id, lens in zip(numbers.cameras.tolist(), reconstruction.lenses, strict=True):
        if lens.model not in pycolmap.CameraModelId.__members__:
            raise CaptureError(f"COLMAP has no lens {lens.model}", where=folder)
        camera = pycolmap.Camera(
            camera_id=camera_id, model=lens.model, width=lens.width, height=lens.height, params=lens.params.tolist()
        )
        model.add_camera_with_trivial_rig(camera)
    _add_images(model, reconstruction)
    _add_points(model, reconstruction)
    Path(folder).mkdir(parents=True, exist_ok=True)
    (model.write_binary if binary else model.write_text)(str(folder))


def write_colmap_folder(folder: Path, reconstruction: Reconstruction) -> None:
    """Write the model where COLMAP and all who read its folders look for it."""
    write_colmap(folder / "sparse" / "0", reconstruction, binary=True)


def _add_images(model: pycolmap.Reconstruction, reconstruction: Reconstruction) -> None:
    pycolmap = _import_pycolmap()

    numbers, seen = reconstruction.numbers, reconstruction.observations
    poses = reconstruction.camera_from_world[:, :3].detach().cpu().double().numpy()
    cameras = numbers.cameras[reconstruction.camera_index].tolist()
    pixels = [np.zeros((0, 2))] * len(poses)
    if seen is not None:
        counts = torch.bincount(seen.view, minlength=len(poses))
        pixels = np.split(seen.pixel.numpy(), counts.cumsum(0)[:-1].numpy())
    for view, (name, image_id) in enumerate(zip(reconstruction.names, numbers.images.tolist(), strict=True)):
        image = pycolmap.Image(name=name, keypoints=pixels[view], camera_id=cameras[view], image_id=image_id)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(poses[view]))


def _add_points(model: pycolmap.Reconstruction, reconstruction: Reconstruction) -> None:
    pycolmap = _import_pycolmap()

    cloud, errors, tracks = reconstruction.points, reconstruction.point_errors, _tracks(reconstruction)
    colors = torch.zeros(len(cloud), 3) if cloud.colors is None else cloud.colors.cpu()
    levels = (colors.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    positions = cloud.positions.cpu().double().numpy()
    for place, number in enumerate(reconstruction.numbers.points.tolist()):
        point = pycolmap.Point3D()
        point.xyz, point.color, point.track = positions[place], levels[place], pycolmap.Track(tracks(place))
        if errors is not None:
            point.error = float(errors[place])
        model.add_point3D_with_id(number, point)


def _tracks(reconstruction: Reconstruction) -> Callable[[int], list[pycolmap.TrackElement]]:
    """Which images saw a point, and as which of their observations."""
    pycolmap = _import_pycolmap()

    seen = reconstruction.observations
    if seen is None:
        return lambda _: []
    counts = torch.bincount(seen.view, minlength=len(reconstruction))
    place = torch.arange(len(seen)) - (counts.cumsum(0) - counts)[seen.view]
    order = torch.argsort(seen.point, stable=True)
    ends = torch.searchsorted(seen.point[order], torch.arange(-1, len(reconstruction.points)), right=True).tolist()
    images, places = reconstruction.numbers.images[seen.view][order].tolist(), place[order].tolist()

    def of_point(point: int) -> list[pycolmap.TrackElement]:
        rows = range(ends[point], ends[point + 1])
        return [pycolmap.TrackElement(images[row], places[row]) for row in rows]

    return of_point


@dataclass(frozen=True)
class _Pose:
    """Where one registered image stood: camera_from_world [4, 4] float64, its number and that of its camera."""

    matrix: torch.Tensor
    image_id: int
    camera_id: int


def _find_model(root: Path) -> Path:
    """The folder of the sparse model."""
    if not root.is_dir():
        raise CaptureError("no such folder", where=root, expected="a COLMAP reconstruction")
    folder = _model_in(root)
    if folder is None:
        raise CaptureError(
            "no COLMAP model here" if any(root.iterdir()) else "this folder is empty",
            where=root,
            expected="cameras, images and points3D (.bin or .txt) in sparse/0, sparse, dense/sparse or here",
            do="reconstruct the photos with COLMAP first",
        )
    return folder


def _model_in(root: Path) -> Path | None:
    for layout in _LAYOUTS:
        folder = root / layout
        for kind in ("bin", "txt"):
            if all((folder / f"{part}.{kind}").is_file() for part in ("cameras", "images", "points3D")):
                return folder
    return None


def _other_models(folder: Path) -> tuple[str, ...]:
    """COLMAP writes ``sparse/1`` and so on when photos do not hang together; ``sparse/0`` need not be the largest."""
    if folder.name != "0":
        return ()
    others = sorted(other.name for other in folder.parent.iterdir() if other.is_dir() and other.name.isdecimal())
    others.remove("0")
    return (f"using {folder}; beside it lie the separate models {', '.join(others)}",) if others else ()


def _rig_notes(model: pycolmap.Reconstruction) -> tuple[str, ...]:
    """Whether cameras were tied to each other: their poses are taken one by one."""
    tied = sum(rig.num_sensors() > 1 for rig in model.rigs.values())
    return (f"{tied} rigs of several cameras: each photo keeps its own pose, free of the rig",) if tied else ()


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
        poses[name] = _Pose(matrix, images[name].image_id, images[name].camera_id)
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


def _find_images(model_folder: Path, root: Path) -> Path:
    """The folder of the photos: ``images`` in a folder above the model or beside it, whichever is there."""
    if model_folder == root / ".":
        candidates = [root / "images", root.resolve().parent / "images", root.resolve().parent.parent / "images"]
    else:
        above = model_folder.parent if model_folder.name == "sparse" else model_folder.parent.parent
        candidates = [above / "images"]
    return next((folder for folder in candidates if folder.is_dir()), candidates[0])


def _lenses(
    model: pycolmap.Reconstruction, camera_ids: list[int], where: Path
) -> tuple[tuple[Lens, ...], torch.Tensor, list[int]]:
    """The lenses of the cameras that are used [C], which of them each view has [V], and their numbers [C]."""
    used = sorted(set(camera_ids))
    lenses: list[Lens] = []
    for camera_id in used:
        camera = model.cameras[camera_id]
        try:
            lenses.append(make_lens(camera.model.name, camera.width, camera.height, torch.tensor(camera.params)))
        except CaptureError as error:
            mend = _MEND if camera.model.name in LENSES else None
            raise CaptureError(str(error), where=f"{where}: camera {camera_id}", do=mend) from None
    index = {camera_id: place for place, camera_id in enumerate(used)}
    return tuple(lenses), torch.tensor([index[camera_id] for camera_id in camera_ids], dtype=torch.int64), used


def _points(model: pycolmap.Reconstruction, ids: np.ndarray) -> tuple[PointCloud, torch.Tensor]:
    """The model's points in the order of their ids, and their errors [pixels]."""
    points = [model.points3D[number] for number in ids.tolist()]
    positions = np.array([point.xyz for point in points], dtype=np.float64).reshape(-1, 3)
    colors = np.array([point.color for point in points], dtype=np.float32).reshape(-1, 3) / 255
    errors = np.array([point.error for point in points], dtype=np.float64)
    return PointCloud(torch.from_numpy(positions), torch.from_numpy(colors)), torch.from_numpy(errors)


def _observations(model: pycolmap.Reconstruction, image_ids: list[int], point_ids: np.ndarray) -> Observations:
    """What each image saw, image by image."""
    views, pixels, points = [], [], []
    for view, image_id in enumerate(image_ids):
        places = model.images[image_id].points2D
        views.append(np.full(len(places), view))
        pixels.append(np.array([place.xy for place in places], dtype=np.float64).reshape(-1, 2))
        points.append(np.array([place.point3D_id for place in places], dtype=np.uint64))
    index = _index(np.concatenate(points), point_ids.astype(np.uint64))
    return Observations(*(torch.from_numpy(rows) for rows in (np.concatenate(views), np.concatenate(pixels), index)))


def _index(numbers: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Where each number stands in the ascending ``ids``; -1 where it is none of them."""
    if len(ids) == 0:
        return np.full(len(numbers), -1)
    place = np.searchsorted(ids, numbers).clip(max=len(ids) - 1)
    return np.where(ids[place] == numbers, place, -1)
