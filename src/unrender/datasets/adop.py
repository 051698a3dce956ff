"""The scene folder of ADOP (Rückert et al. 2022), which TRIPS and VET share: dataset.ini and lists beside it.

``poses.txt`` holds world_from_camera, a quaternion with w last and the camera's centre, camera axes as ours. Cameras:
see ``adop_cameras.py``. ``exposure.txt`` holds stops; a higher one makes ADOP's picture darker, as ours does. Source:
the scene description and the loaders of darglein/ADOP 3c233ec and lfranke/TRIPS a59a65b.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch

from unrender.cameras.lens import Lens
from unrender.datasets.adop_cameras import ADOP_LENSES, is_ocam, read_camera, write_camera
from unrender.datasets.adop_ini import Ini, finite, read_ini, read_lines, whole
from unrender.datasets.clouds import PointCloud, read_ply, write_ply
from unrender.datasets.mask_files import copy_masks, count_masks
from unrender.datasets.reconstruction import Reconstruction, no_points
from unrender.errors import CaptureError
from unrender.geometry.rotations import quat_wxyz_from_rotation, rotation_from_quat_wxyz
from unrender.geometry.transforms import inverse, rigid

__all__ = ["ADOP_LENSES", "adop_losses", "is_adop", "is_ocam", "read_adop", "write_adop"]

_SECTION = "SceneDatasetParams"
_UNIT = 1e-3
"""How far the length of a quaternion may be from 1."""
_FAR_FROM_ZERO = 2.0
"""Stops that all other exposures are beyond where an exposure of exactly 0 stands for none."""
_PREPROCESSED = "point_cloud_initial_preprocess.ply"
_DO = "copy the scene again, or write it again with colmap2adop"


def is_adop(path: Path) -> bool:
    """Whether this is a folder with dataset.ini, images.txt and poses.txt."""
    try:
        return all((path / name).is_file() for name in ("dataset.ini", "images.txt", "poses.txt"))
    except (OSError, ValueError):
        return False


def read_adop(path: Path, *, images: Path | None = None, observations: bool = False) -> Reconstruction:  # noqa: ARG001
    """The cameras, photos and points of an ADOP or TRIPS scene folder. It has no observations.

    ``image_dir`` in dataset.ini is as a rule relative to where ADOP was started: the photos are looked for in the
    folder that its last parts name in the scene. An exposure of exactly 0 among others far from 0 is colmap2adop's way
    to say that a photo has no EXIF. Raises CaptureError, one line, when a file is missing, a list is not of the length
    of images.txt, or a number is none.
    """
    folder = path.parent if path.is_file() else path
    ini = read_ini(folder / "dataset.ini", _SECTION)
    names = [name.replace("\\", "/") for name in _without_end(read_lines(folder / "images.txt"))]
    lenses, index = _lenses(ini, folder), _camera_indices(folder, len(names))
    if len(index) and int(index.max()) >= len(lenses):
        last = int(index.argmax())
        raise _bad_line(folder / "camera_indices.txt", last, f"a camera from 0 to {len(lenses) - 1}", int(index[last]))
    points, cloud_notes = _points(ini, folder)
    exposures, exposure_notes = _exposures(folder, len(names))
    masks, mask_notes = _masks(ini, folder, len(names))
    found = Reconstruction(
        names=tuple(names),
        image_folder=images or _inner_folder(folder, ini.text("image_dir", "images")),
        camera_from_world=_poses(folder / "poses.txt", len(names)),
        camera_index=index,
        lenses=lenses,
        points=points,
        masks=masks,
        exif_ev=exposures,
        notes=(*cloud_notes, *exposure_notes, *mask_notes, *_white_balance(folder, len(names))),
    )
    return found.select(range(len(names))) if len(set(index.tolist())) < len(lenses) else found


def write_adop(folder: Path, reconstruction: Reconstruction) -> None:
    """Write a scene folder: cameras, lists, points and masks (copied); the photos belong into ``images`` beside them.

    The folders of photos and masks are written as seen from the scene; ADOP opens them from where it is started.

    A photo of unknown exposure gets the mean of the others, for ADOP has no word for it. Points without normals get
    zero ones, which ADOP never turns away. Raises CaptureError when a name has a line break or a mask is not there.
    """
    names = reconstruction.names
    for name in names:
        if set(name) & set("\r\n"):
            raise CaptureError("a line break in a photo's name", where=folder, got=repr(name), do="rename the photo")
    files = [f"camera{number}.ini" for number in range(len(reconstruction.lenses))]
    for file, lens in zip(files, reconstruction.lenses, strict=True):
        write_camera(folder / file, lens)
    _write_lines(folder / "images.txt", names)
    _write_lines(folder / "camera_indices.txt", map(str, reconstruction.camera_index.tolist()))
    _write_lines(folder / "poses.txt", map(_joined, _quaternions_and_centers(reconstruction).tolist()))
    exposures = _known_exposures(reconstruction)
    if exposures is not None:
        _write_lines(folder / "exposure.txt", map(repr, exposures.tolist()))
    if count_masks(reconstruction):
        _write_lines(folder / "masks.txt", copy_masks(folder / "masks", reconstruction))
    if len(reconstruction.points):
        write_ply(folder / "point_cloud.ply", _with_normals(reconstruction.points))
    mean = 0.0 if exposures is None else float(exposures.mean())
    _write_lines(folder / "dataset.ini", _settings(reconstruction, files, mean))


def adop_losses(reconstruction: Reconstruction) -> tuple[str, ...]:
    """What of its cameras a scene cannot hold: ADOP has one type of camera per scene."""
    ocam = sum(is_ocam(lens) for lens in reconstruction.lenses)
    if 0 < ocam < len(reconstruction.lenses):
        return (f"{ocam} OCAM cameras beside others (TRIPS can)",)
    return ()


def _lenses(ini: Ini, folder: Path) -> tuple[Lens, ...]:
    files = ini.text("camera_files", "camera.ini").split()
    kind = ini.integer("camera_type_int") if ini.has("camera_type_int") else None
    for file in files:
        if not _stays_inside(file):
            raise CaptureError(f"the camera file {file!r} leads out of the scene", where=ini.path, do=_DO)
    return tuple(read_camera(folder / file, kind) for file in files)


def _camera_indices(folder: Path, views: int) -> torch.Tensor:
    path = folder / "camera_indices.txt"
    if not path.is_file():
        return torch.zeros(views, dtype=torch.int64)
    lines = _list(path, views)
    index = [whole(line) for line in lines]
    for place, number in enumerate(index):
        if number is None or number < 0:
            raise _bad_line(path, place, "the number of a camera", lines[place][:80])
    return torch.tensor(index, dtype=torch.int64)


def _poses(path: Path, views: int) -> torch.Tensor:
    rows = torch.tensor(_numbers(path, views, 7), dtype=torch.float64).reshape(-1, 7)
    lengths = rows[:, :4].norm(dim=1)
    for place in torch.nonzero(~((lengths - 1).abs() <= _UNIT)).ravel().tolist():
        raise _bad_line(path, place, "a unit quaternion (x y z w) first", f"one of length {float(lengths[place]):.6g}")
    rotations = rotation_from_quat_wxyz(rows[:, [3, 0, 1, 2]])
    return inverse(rigid(rotations, rows[:, 4:]))


def _points(ini: Ini, folder: Path) -> tuple[PointCloud, tuple[str, ...]]:
    """The cloud; where the one that the scene names is not there, what ADOP saved of it in its place."""
    name = PurePosixPath(ini.text("file_point_cloud", "point_cloud.ply").replace("\\", "/")).name
    packed = PurePosixPath(ini.text("file_point_cloud_compressed", "point_cloud.bin").replace("\\", "/")).name
    path = next((folder / file for file in (name, _PREPROCESSED) if file and (folder / file).is_file()), None)
    if path is None:
        which = f"only {packed}, which is ADOP's own" if packed and (folder / packed).is_file() else "none"
        return no_points(), (f"no {name or 'point cloud'} here ({which}): give points with --points FILE.ply",)
    everything = read_ply(path)
    cloud = everything.finite()
    normals = None if cloud.normals is None or not bool(cloud.normals.any()) else cloud.normals
    dropped = len(everything) - len(cloud)
    notes = (f"{dropped} points of {path.name} without a finite position dropped",) if dropped else ()
    return replace(cloud, normals=normals), notes


def _exposures(folder: Path, views: int) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    path = folder / "exposure.txt"
    if not path.is_file():
        return None, ()
    stops = torch.tensor(_numbers(path, views, 1), dtype=torch.float64).ravel()
    missing = stops == 0
    others = stops[~missing]
    if len(others) == 0:
        return None, ()
    if bool(missing.any()) and float(others.abs().min()) >= _FAR_FROM_ZERO:
        note = f"{int(missing.sum())} exposures of exactly 0 in exposure.txt count as unknown"
        return torch.where(missing, torch.nan, stops), (note,)
    return stops, ()


def _masks(ini: Ini, folder: Path, views: int) -> tuple[tuple[Path | None, ...] | None, tuple[str, ...]]:
    """The masks; ADOP leaves a list of empty lines where there are none."""
    path = folder / "masks.txt"
    lines = [line.replace("\\", "/") for line in read_lines(path)] if path.is_file() else []
    if not any(lines):
        return None, ()
    if len(lines) != views:
        raise _wrong_length(path, len(lines), views)
    for place, line in enumerate(lines):
        if line and not _stays_inside(line):
            raise _bad_line(path, place, "a name in the folder of masks", line[:80])
    masks = _inner_folder(folder, ini.text("mask_dir", "masks"))
    if not masks.is_dir():
        return None, (f"masks left out: no folder {masks.name} in the scene (give it with --masks)",)
    return tuple(masks / line if line else None for line in lines), ()


def _white_balance(folder: Path, views: int) -> tuple[str, ...]:
    """For the user, when the scene has one, which we do not start from."""
    path = folder / "white_balance.txt"
    if not path.is_file() or not any(read_lines(path)):
        return ()
    changed = sum(row != [1.0, 1.0, 1.0] for row in _numbers(path, views, 3))
    return (f"white balance of {changed} photos left out: a fit finds its own",) if changed else ()


def _inner_folder(folder: Path, written: str) -> Path:
    """The folder inside ``folder`` that the longest end of a written path names, there or not."""
    parts = [part for part in PurePosixPath(written.replace("\\", "/")).parts if part not in ("..", "/", ".")]
    ends = [folder.joinpath(*parts[start:]) for start in range(len(parts)) if "\0" not in written]
    return next((end for end in ends if end.is_dir()), ends[-1] if ends else folder / "images")


def _stays_inside(name: str) -> bool:
    place = PurePosixPath(name.replace("\\", "/"))
    return not place.is_absolute() and ".." not in place.parts and "\0" not in name


def _without_end(lines: list[str]) -> list[str]:
    """Without the empty lines that editors leave at the end."""
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines


def _list(path: Path, views: int) -> list[str]:
    """The lines of a list that has one for each photo."""
    lines = _without_end(read_lines(path))
    if len(lines) != views:
        raise _wrong_length(path, len(lines), views)
    return lines


def _numbers(path: Path, views: int, count: int) -> list[list[float]]:
    """``count`` finite numbers for each photo."""
    rows = []
    for place, line in enumerate(_list(path, views)):
        numbers = finite(line.split())
        if numbers is None or len(numbers) != count:
            raise _bad_line(path, place, "a finite number" if count == 1 else f"{count} finite numbers", line[:80])
        rows.append(numbers)
    return rows


def _wrong_length(path: Path, lines: int, views: int) -> CaptureError:
    return CaptureError(f"{lines} lines", where=path, expected=f"{views}, one for each line of images.txt", do=_DO)


def _bad_line(path: Path, place: int, expected: str, got: object) -> CaptureError:
    return CaptureError(f"line {place + 1}", where=path, expected=expected, got=got, do=_DO)


def _quaternions_and_centers(reconstruction: Reconstruction) -> torch.Tensor:
    """x y z w of world_from_camera and the centre [V, 7]."""
    world_from_camera = inverse(reconstruction.camera_from_world)
    quaternions = quat_wxyz_from_rotation(world_from_camera[:, :3, :3])[:, [1, 2, 3, 0]]
    return torch.cat([quaternions, world_from_camera[:, :3, 3]], dim=1)


def _known_exposures(reconstruction: Reconstruction) -> torch.Tensor | None:
    """Stops of each photo, the mean where unknown; None when all are."""
    stops = reconstruction.exif_ev
    if stops is None or bool(stops.isnan().all()):
        return None
    return torch.where(stops.isnan(), stops.nanmean(), stops)


def _with_normals(cloud: PointCloud) -> PointCloud:
    return cloud if cloud.normals is not None else replace(cloud, normals=torch.zeros(len(cloud), 3))


def _settings(reconstruction: Reconstruction, files: list[str], mean_ev: float) -> list[str]:
    """The lines of dataset.ini."""
    poses = inverse(reconstruction.camera_from_world)
    upward = -poses[:, :3, 1].mean(dim=0)
    upward = upward / upward.norm() if float(upward.norm()) > 1e-3 else torch.tensor([0.0, -1.0, 0.0])
    places = torch.cat([reconstruction.points.positions.double(), poses[:, :3, 3]])
    far = max(1000.0, 2 * math.ceil(float((places.amax(dim=0) - places.amin(dim=0)).norm())))
    box = reconstruction.points.positions if len(reconstruction.points) else torch.zeros(1, 3)
    return [
        f"[{_SECTION}]",
        "file_model =",
        "image_dir = images/",
        "mask_dir = masks/" if count_masks(reconstruction) else "mask_dir = not set",
        f"camera_files = {' '.join(files)}",
        "file_point_cloud = point_cloud.ply",
        "file_point_cloud_compressed = point_cloud.bin",
        f"camera_type_int = {int(all(map(is_ocam, reconstruction.lenses)))}",
        f"aabb_min = {_joined(box.amin(dim=0).tolist())}",
        f"aabb_max = {_joined(box.amax(dim=0).tolist())}",
        f"znear = {far * 1e-4!r}",
        f"zfar = {far!r}",
        "render_scale = 1",
        f"scene_exposure_value = {mean_ev!r}",
        f"up_vector = {_joined(upward.tolist())}",
    ]


def _joined(numbers: list[float]) -> str:
    return " ".join(map(repr, numbers))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
