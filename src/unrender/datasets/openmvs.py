"""OpenMVS scenes (.mvs) in the interchange format of its published header: undistorted pinhole cameras and points.

A platform carries cameras and has been at poses: camera_from_world is the camera on the platform times the platform in
the world, each x -> R (x - C). Pixels have the first one's centre at 0, ours at 0.5. Intrinsics may be in longer sides
of the photo; then its size is read from the photo. Source: libs/MVS/Interface.h and Camera.h of cdcseacave/openMVS
ce03889. Versions 1 to 7 are read, 5 is written.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.openmvs_bytes import (
    NO_ID,
    Camera,
    Image,
    Platform,
    Pose,
    Scene,
    is_interface,
    is_project,
    pack,
    parse,
)
from unrender.datasets.reconstruction import Ids, Reconstruction
from unrender.errors import CaptureError
from unrender.geometry.transforms import rigid
from unrender.images.io import check_picture

__all__ = ["OPENMVS_LENSES", "is_openmvs", "openmvs_losses", "read_openmvs", "write_openmvs"]

OPENMVS_LENSES = ("PINHOLE", "SIMPLE_PINHOLE")
"""The lenses that a scene can hold: its photos are undistorted."""
_FIRST = ("scene_dense.mvs", "scene.mvs")
_SKEW = 1e-6
_FINE = 1e-6
"""Rounding of points to float32 in extents of the cloud that is worth a word."""


def is_openmvs(path: Path) -> bool:
    """Whether this is a .mvs file of OpenMVS or a folder with one."""
    return _find(path) is not None


def read_openmvs(path: Path, *, images: Path | None = None, observations: bool = False) -> Reconstruction:  # noqa: ARG001
    """The scene in a .mvs file, or in a folder with one; a dense one goes first. It has no places in photos.

    Photos are where the file says from its own folder on; of a name that leads out of it the last part is taken.
    Images without a pose are left out. Raises CaptureError, one line, for a project archive of OpenMVS (only it can
    read those), a damaged file, numbers of cameras or poses that are not there, or a camera that is no pinhole.
    """
    file = _find(path)
    if file is None:
        raise CaptureError("no OpenMVS scene here", where=path, expected="a .mvs file")
    if is_project(file):
        do = "export it from OpenMVS with --archive-type -1"
        raise CaptureError("a project archive, which only OpenMVS can read", where=file, expected="MVSI first", do=do)
    scene = parse(file)
    posed = [image for image in scene.images if image.pose != NO_ID]
    if not posed:
        raise CaptureError("no photo with a pose in this scene", where=file)
    paths, path_notes = _paths([image.name for image in posed])
    names, inner = _without_folder(paths)
    folder = images or file.parent / inner
    lenses, index = _lenses(scene, posed, [folder / name for name in names], file)
    return Reconstruction(
        names=names,
        image_folder=folder,
        camera_from_world=torch.stack([_camera_from_world(scene, image) for image in posed]),
        camera_index=index,
        lenses=lenses,
        points=scene.points,
        ids=_ids(posed, len(lenses), len(scene.points)),
        notes=(*path_notes, *_notes(scene, posed, file)),
    )


def write_openmvs(folder: Path, reconstruction: Reconstruction) -> None:
    """Write scene.mvs: a platform per lens, photos in ``images``; points in float32 with the images that saw them."""
    numbers = reconstruction.numbers.images.tolist()
    poses: list[list[Pose]] = [[] for _ in reconstruction.lenses]
    images = []
    for view, camera in enumerate(reconstruction.camera_index.tolist()):
        rotation, shift = reconstruction.camera_from_world[view, :3].double().split((3, 1), dim=1)
        number = numbers[view] if 0 <= numbers[view] < NO_ID else view
        images.append(Image(f"images/{reconstruction.names[view]}", "", camera, 0, len(poses[camera]), number))
        poses[camera].append(Pose(rotation, -(rotation.T @ shift)[:, 0]))
    platforms = [
        Platform((_camera_out(lens),), tuple(there)) for lens, there in zip(reconstruction.lenses, poses, strict=True)
    ]
    scene = Scene(tuple(platforms), tuple(images), reconstruction.points, _seen_by(reconstruction))
    (folder / "scene.mvs").write_bytes(pack(scene))


def openmvs_losses(reconstruction: Reconstruction) -> tuple[str, ...]:
    """What of its points a scene cannot hold: more than 24 bits of where they are."""
    places = reconstruction.points.positions.double()
    if len(places):
        rounding = float((places - places.float().double()).abs().max())
        if rounding > _FINE * float((places.amax(dim=0) - places.amin(dim=0)).norm()):
            return (f"positions of points to better than {rounding:.2g}",)
    return ()


def _find(path: Path) -> Path | None:
    """The interchange file at or in ``path``; failing that a project archive, which is refused by its name."""
    try:
        files = sorted(path.glob("*.mvs")) if path.is_dir() else [path]
    except (OSError, ValueError):
        return None
    files = [file for file in files if is_interface(file)] or [file for file in files if is_project(file)]
    return min(files, key=lambda file: _FIRST.index(file.name) if file.name in _FIRST else len(_FIRST), default=None)


def _paths(written: list[str]) -> tuple[list[PurePosixPath], tuple[str, ...]]:
    """The photos as the file names them, of names that lead out the last part, and a note for the user then."""
    paths = [PurePosixPath(name.replace("\\", "/")) for name in written]
    outside = [
        path.is_absolute() or ".." in path.parts or (path.parts[:1] != () and path.parts[0].endswith(":"))
        for path in paths
    ]
    inside = [PurePosixPath(path.name) if out else path for path, out in zip(paths, outside, strict=True)]
    if not any(outside):
        return inside, ()
    first = written[outside.index(True)]
    return inside, (f"{sum(outside)} photos are outside the scene's folder ({first}): their file names are looked for",)


def _without_folder(paths: list[PurePosixPath]) -> tuple[tuple[str, ...], PurePosixPath]:
    """The names without the folder that all of them are in, and that folder."""
    shared = paths[0].parent
    while not all(path.is_relative_to(shared) for path in paths):
        shared = shared.parent
    return tuple(path.relative_to(shared).as_posix() for path in paths), shared


def _lenses(scene: Scene, images: list[Image], photos: list[Path], file: Path) -> tuple[tuple[Lens, ...], torch.Tensor]:
    """A lens for each camera that is used, for each size of photo where it does not say its own."""
    place: dict[tuple[int, int, int, int], int] = {}
    lenses, index = [], []
    for image, photo in zip(images, photos, strict=True):
        camera = _camera(scene, image, file)
        width, height = (camera.width, camera.height) if camera.width and camera.height else check_picture(photo)[::-1]
        key = (image.platform, image.camera, width, height)
        if key not in place:
            place[key] = len(lenses)
            lenses.append(_lens(camera, width, height, f"{file}: camera of {image.name!r}"))
        index.append(place[key])
    return tuple(lenses), torch.tensor(index, dtype=torch.int64)


def _camera(scene: Scene, image: Image, file: Path) -> Camera:
    """The camera of an image, its numbers looked at first."""
    if image.platform < len(scene.platforms):
        platform = scene.platforms[image.platform]
        if image.camera < len(platform.cameras) and image.pose < len(platform.poses):
            return platform.cameras[image.camera]
    got = f"platform {image.platform}, camera {image.camera}, pose {image.pose}"
    raise CaptureError(f"image {image.name!r}", where=file, expected="numbers of what is in the file", got=got)


def _lens(camera: Camera, width: int, height: int, where: str) -> Lens:
    k = camera.k
    rest = torch.stack([k[1, 0], k[2, 0], k[2, 1], k[2, 2] - 1])
    if max(width, height) > 1 << 24 or not bool(k.isfinite().all()) or float(rest.abs().max()) > _SKEW:
        raise CaptureError("no matrix of a camera", where=where, expected="fx s cx / 0 fy cy / 0 0 1", got=k.tolist())
    if abs(float(k[0, 1])) > _SKEW * float(k[0, 0].abs()):
        raise CaptureError("K has a skew, which no lens of ours has", where=where, expected="0", got=float(k[0, 1]))
    fx, fy, cx, cy = (float(k[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))
    longer = max(width, height)
    try:
        if camera.width and camera.height:
            return make_lens("PINHOLE", width, height, [fx, fy, cx + 0.5, cy + 0.5])
        return make_lens("PINHOLE", width, height, [longer * fx, longer * fy, *_center(cx, cy, width, height)])
    except CaptureError as error:
        raise CaptureError(str(error), where=where) from None


def _center(cx: float, cy: float, width: int, height: int) -> tuple[float, float]:
    """The centre [pixels] from one in longer sides.

    (0, 0) stands for the middle. OpenMVS scales about the corner of the photo, so that such a number lies about 0;
    others just divide pixels, and theirs about 0.5. What is half a photo nearer to the middle is meant.
    """
    if (cx, cy) == (0, 0):
        return width / 2, height / 2
    longer = max(width, height)
    ways = ((longer * (cx + 0.5), longer * (cy + 0.5)), (longer * cx + 0.5, longer * cy + 0.5))
    return min(ways, key=lambda way: abs(way[0] - width / 2) + abs(way[1] - height / 2))


def _camera_from_world(scene: Scene, image: Image) -> torch.Tensor:
    platform = scene.platforms[image.platform]
    mount, pose = platform.cameras[image.camera].mount, platform.poses[image.pose]
    rotation = mount.rotation @ pose.rotation
    center = pose.rotation.T @ mount.center + pose.center
    return rigid(rotation, -(rotation @ center))


def _ids(images: list[Image], cameras: int, points: int) -> Ids | None:
    """The images' numbers, where all have one of their own."""
    numbers = [image.number for image in images]
    if NO_ID in numbers or len(set(numbers)) < len(numbers):
        return None
    return replace(Ids.counted(0, cameras, points), images=torch.tensor(numbers, dtype=torch.int64))


def _notes(scene: Scene, posed: list[Image], file: Path) -> tuple[str, ...]:
    notes = []
    if len(posed) < len(scene.images):
        notes.append(f"{len(scene.images) - len(posed)} photos without a pose left out")
    if scene.transformed:
        notes.append("the file has a transform from another frame; coordinates are kept as they are")
    if masks := sum(bool(image.mask) for image in posed):
        notes.append(f"segmentations of {masks} photos are no masks and left alone")
    others = sorted(other.name for other in file.parent.glob("*.mvs") if other != file)
    if others:
        notes.append(f"using {file.name}; beside it lie {', '.join(others[:4])}")
    return tuple(notes)


def _camera_out(lens: Lens) -> Camera:
    """The camera of one of ``OPENMVS_LENSES``."""
    *focal, cx, cy = lens.params.tolist()
    k = torch.tensor([[focal[0], 0, cx - 0.5], [0, focal[-1], cy - 0.5], [0, 0, 1]], dtype=torch.float64)
    still = Pose(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    return Camera(lens.model, lens.width, lens.height, k, still)


def _seen_by(reconstruction: Reconstruction) -> tuple[tuple[int, ...], ...]:
    """Of each point, the views that saw it."""
    seen = reconstruction.observations
    views: list[set[int]] = [set() for _ in range(len(reconstruction.points))]
    if seen is not None:
        for view, point in zip(seen.view.tolist(), seen.point.tolist(), strict=True):
            if point >= 0:
                views[point].add(view)
    return tuple(tuple(sorted(of_point)) for of_point in views)
