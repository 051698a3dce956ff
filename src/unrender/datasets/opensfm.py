"""OpenSfM's reconstruction.json, also inside an OpenDroneMap project.

Poses are camera_from_world as angle-axis vector and translation, camera axes as ours. The world is as a rule metres
east, north and up of a reference point (reference_lla), and stays so. Cameras: see ``opensfm_cameras.py``. Source: the
pages and io.py of mapillary/OpenSfM 238744c.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unrender.datasets.clouds import PointCloud
from unrender.datasets.mask_files import copy_masks, count_masks
from unrender.datasets.opensfm_cameras import OPENSFM_LENSES, camera_of, glimpse, has_camera_for, lens_of
from unrender.datasets.opensfm_tracks import read_tracks, write_tracks
from unrender.datasets.reconstruction import Ids, Reconstruction
from unrender.errors import CaptureError
from unrender.geometry.rotations import exp_so3, log_so3
from unrender.geometry.transforms import rigid

__all__ = ["OPENSFM_LENSES", "has_camera_for", "is_opensfm", "read_opensfm", "write_opensfm"]

_NAME = "reconstruction.json"
_PLACES = (_NAME, f"opensfm/{_NAME}")
_DENSE = "undistorted/depthmaps/merged.ply"
_HEAD = 1 << 16
"""Bytes in which a file of another name must show what it is."""
_DO = "run OpenSfM's reconstruct again, or copy the file again"


def is_opensfm(path: Path) -> bool:
    """Whether this is a folder of OpenSfM or OpenDroneMap with a reconstruction, or such a file."""
    file = _find(path)
    try:
        if file is None or not file.is_file():
            return False
        with file.open("rb") as opened:
            head = opened.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    except (OSError, ValueError):
        return False
    return head.startswith(b"[") and (file.name == _NAME or b'"shots"' in head)


def read_opensfm(path: Path, *, images: Path | None = None, observations: bool = False) -> Reconstruction:
    """The largest of the reconstructions in a file, or in a folder that has one.

    Photos are in ``images`` beside the file, in an OpenDroneMap project beside its folder ``opensfm``. Rigs become one
    pose per photo. Raises CaptureError, one line, when the file is no such JSON, a photo has no camera or pose, or a
    camera is one that we have no lens for.
    """
    file = _find(path)
    if file is None or not file.is_file():
        raise CaptureError("no reconstruction here", where=path, expected=" or ".join(_PLACES), do=_DO)
    model, notes = _largest(_load(file), file)
    names, entries = _names_and_shots(model, file)
    lenses, index = _lenses(model, entries, file)
    keys, cloud = _points(model, file)
    folder = file.parent
    found = Reconstruction(
        names=names,
        image_folder=images or _image_folder(folder),
        camera_from_world=_poses(entries, file),
        camera_index=index,
        lenses=lenses,
        points=cloud,
        ids=_ids(keys, len(names), len(lenses)),
        masks=_masks(folder / "masks", names),
        dense=folder / _DENSE if (folder / _DENSE).is_file() else None,
        notes=(*notes, *_frame_notes(model, folder)),
    )
    if observations and (folder / "tracks.csv").is_file():
        found = read_tracks(folder / "tracks.csv", found, {key: place for place, key in enumerate(keys)})
    return found


def write_opensfm(folder: Path, reconstruction: Reconstruction) -> None:
    """Write reconstruction.json, tracks.csv where there are observations, and masks as PNG (copied).

    Points keep their ids, colours are 0 where there are none. Raises CaptureError for a lens that OpenSfM has no camera
    of, see ``camera_of``.
    """
    cameras = {f"camera{number}": camera_of(lens) for number, lens in enumerate(reconstruction.lenses)}
    vectors = log_so3(reconstruction.camera_from_world[:, :3, :3]).tolist()
    translations = reconstruction.camera_from_world[:, :3, 3].tolist()
    shots = {
        name: {"rotation": vector, "translation": translation, "camera": f"camera{camera}"}
        for name, vector, translation, camera in zip(
            reconstruction.names, vectors, translations, reconstruction.camera_index.tolist(), strict=True
        )
    }
    model = [{"cameras": cameras, "shots": shots, "points": _points_out(reconstruction)}]
    (folder / _NAME).write_text(json.dumps(model, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    if reconstruction.observations is not None:
        write_tracks(folder / "tracks.csv", reconstruction)
    if count_masks(reconstruction):
        copy_masks(folder / "masks", reconstruction)


def _find(path: Path) -> Path | None:
    try:
        if not path.is_dir():
            return path
        return next((path / place for place in _PLACES if (path / place).is_file()), None)
    except (OSError, ValueError):
        return None


def _load(file: Path) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    try:
        return json.loads(file.read_bytes().decode("utf-8-sig"), parse_constant=refuse)
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error)[:120] or type(error).__name__
        raise CaptureError(f"cannot be read as JSON ({reason})", where=file, do=_DO) from None
    except OSError as error:
        raise CaptureError(f"cannot be read ({error.strerror})", where=file, do=_DO) from None


def _largest(everything: Any, file: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The reconstruction with the most photos; OpenSfM makes several when photos do not hang together."""
    if not isinstance(everything, list) or not everything:
        raise _wrong(file, "this file", "a list of reconstructions", everything)
    for number, model in enumerate(everything):
        if not isinstance(model, dict) or not isinstance(model.get("shots"), dict):
            raise _wrong(file, f"reconstruction {number}", "cameras, shots and points", model)
    best = max(everything, key=lambda model: len(model["shots"]))
    others = sum(len(model["shots"]) for model in everything) - len(best["shots"])
    if len(everything) == 1:
        return best, ()
    return best, (f"{len(everything) - 1} smaller reconstructions with {others} photos left out",)


def _names_and_shots(model: dict[str, Any], file: Path) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    for name, shot in model["shots"].items():
        if not isinstance(shot, dict):
            raise _wrong(file, f"shot {name!r}", "rotation, translation and camera", shot)
    if not model["shots"]:
        raise CaptureError("no photo with a pose in this reconstruction", where=file, do=_DO)
    return tuple(name.replace("\\", "/") for name in model["shots"]), list(model["shots"].values())


def _lenses(model: dict[str, Any], shots: list[dict[str, Any]], file: Path) -> tuple[tuple[Any, ...], torch.Tensor]:
    """The lenses that photos use, in the order of the file, and which of them each photo has."""
    cameras = model.get("cameras")
    if not isinstance(cameras, dict):
        raise _wrong(file, "cameras", "cameras by name", cameras)
    wanted = [shot.get("camera") for shot in shots]
    for name, camera in zip(model["shots"], wanted, strict=True):
        if not isinstance(camera, str) or not isinstance(cameras.get(camera), dict):
            raise _wrong(file, f"the camera of shot {name!r}", "a name among cameras", camera)
    used = [name for name in cameras if name in set(wanted)]
    lenses = tuple(lens_of(cameras[name], f"{file}: camera {name!r}") for name in used)
    place = {name: number for number, name in enumerate(used)}
    return lenses, torch.tensor([place[name] for name in wanted], dtype=torch.int64)


def _poses(shots: list[dict[str, Any]], file: Path) -> torch.Tensor:
    rotations = torch.from_numpy(_rows(shots, "rotation", file))
    turns = rotations.abs().amax(dim=1)
    if bool((turns > 1e3).any()):  # a thousand radians: no digits of the angle would be left further on
        got = rotations[int(turns.argmax())].tolist()
        raise CaptureError("the rotation of a shot", where=file, expected="an angle-axis vector [rad]", got=got, do=_DO)
    return rigid(exp_so3(rotations), torch.from_numpy(_rows(shots, "translation", file)))


def _points(model: dict[str, Any], file: Path) -> tuple[list[str], PointCloud]:
    points = model.get("points") or {}
    if not isinstance(points, dict) or not all(isinstance(point, dict) for point in points.values()):
        raise _wrong(file, "points", "points by name", points)
    entries = list(points.values())
    positions = torch.from_numpy(_rows(entries, "coordinates", file))
    if not all("color" in point for point in entries) or not entries:
        return list(points), PointCloud(positions)
    colors = torch.from_numpy(_rows(entries, "color", file)) / 255
    return list(points), PointCloud(positions, colors.clamp(0, 1).float())


def _rows(entries: list[dict[str, Any]], name: str, file: Path) -> np.ndarray:
    """Three finite numbers of each entry, [N, 3] float64."""
    rows = [entry.get(name) for entry in entries]
    wrong = next((place for place, row in enumerate(rows) if not isinstance(row, list) or len(row) != 3), None)
    if wrong is None and set(map(type, chain.from_iterable(rows))) <= {int, float}:  # type: ignore[arg-type]
        try:
            numbers = np.array(rows, dtype=np.float64).reshape(-1, 3)
        except (OverflowError, ValueError):
            numbers = np.full((len(rows), 3), np.inf)
        bad = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
        if len(bad) == 0:
            return numbers
        wrong = int(bad[0])
    if wrong is None:
        wrong = next(place for place, row in enumerate(rows) if not {int, float} >= set(map(type, row or ())))
    raise _wrong(file, f"{name} of entry {wrong}", "three finite numbers", rows[wrong])


def _ids(keys: list[str], views: int, cameras: int) -> Ids | None:
    """The names of points as their ids, when they are different whole numbers, which OpenSfM makes them."""
    if not all(key.isascii() and key.isdecimal() and len(key) < 19 for key in keys):
        return None
    numbers = [int(key) for key in keys]
    counted = Ids.counted(views, cameras, 0)
    whole = torch.tensor(numbers, dtype=torch.int64)
    return Ids(counted.images, counted.cameras, whole) if len(set(numbers)) == len(numbers) else None


def _image_folder(folder: Path) -> Path:
    beside = folder / "images"
    return folder.parent / "images" if folder.name == "opensfm" and not beside.is_dir() else beside


def _masks(folder: Path, names: Iterable[str]) -> tuple[Path | None, ...] | None:
    """``a.jpg.png`` for ``a.jpg``, white = use, where there are any."""
    if not folder.is_dir():
        return None
    masks = tuple(folder / f"{name}.png" if _is_file(folder / f"{name}.png") else None for name in names)
    return masks if any(masks) else None


def _is_file(path: Path) -> bool:
    try:
        return ".." not in path.parts and path.is_file()
    except (OSError, ValueError):
        return False


def _frame_notes(model: dict[str, Any], folder: Path) -> tuple[str, ...]:
    notes = []
    if "reference_lla" in model or (folder / "reference_lla.json").is_file():
        notes.append("coordinates are metres east, north and up of the point in reference_lla, kept as they are")
    rigs = model.get("rig_cameras")
    if isinstance(rigs, dict) and len(rigs) > 1:
        notes.append(f"{len(rigs)} cameras of a rig: each photo keeps its own pose, free of the rig")
    return tuple(notes)


def _points_out(reconstruction: Reconstruction) -> dict[str, Any]:
    cloud = reconstruction.points
    colors = torch.zeros(len(cloud), 3) if cloud.colors is None else (cloud.colors.clamp(0, 1) * 255).round()
    rows = zip(reconstruction.numbers.points.tolist(), colors.tolist(), cloud.positions.double().tolist(), strict=True)
    return {str(number): {"color": color, "coordinates": position} for number, color, position in rows}


def _wrong(file: Path, what: str, expected: str, got: object) -> CaptureError:
    return CaptureError(what, where=file, expected=expected, got=glimpse(got), do=_DO)
