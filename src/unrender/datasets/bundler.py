"""Bundler's bundle.out (v0.3) with its list of photos.

Each camera is ``f k1 k2``, R and t: P = R X + t, camera axes x right, y up, looking along -z; p = -P / P.z and
p' = f (1 + k1 |p|^2 + k2 |p|^4) p in pixels from the middle of the photo, x right, y up. So R and t are
diag(1, -1, -1) times ours, and the lens is RADIAL with its centre in the middle. A camera with f = 0 was not
reconstructed. A point is its position, its colour (0 to 255) and its views: camera, key, x, y. Sizes of photos are not
in it. Source: N. Snavely, Bundler v0.4 User's Manual, section VI.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.beside_cameras import check_names
from unrender.datasets.brown_family import BROWN_LENSES, rational_of
from unrender.datasets.clouds import PointCloud
from unrender.datasets.listed_photos import find_listed, photo_sizes, share_lenses
from unrender.datasets.reconstruction import Observations, Reconstruction
from unrender.errors import CaptureError
from unrender.geometry.transforms import rigid

__all__ = ["BUNDLER_LENSES", "bundler_losses", "is_bundler", "is_radial", "read_bundler", "write_bundler"]

BUNDLER_LENSES = ("RADIAL", "SIMPLE_RADIAL", "SIMPLE_PINHOLE")
"""The lenses that a bundle can hold, but for a centre that is not in the middle."""
_MAGIC = b"# Bundle file v"
_VERSION = b"0.3"
_CAMERA, _POINT, _VIEW = 15, 7, 4
"""Numbers that a camera has, a point without its views, and a view."""
_FLIP = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
_COLUMNS = re.compile(r"\s+\d+(?:\s+[-+.\deE]+)?\s*$")
"""A flag and a focal length, which may follow a photo in the list."""
_CENTERED = 1e-9
"""How far from the middle, in pixels, a principal point is in the middle."""
_DO = "copy it again, or write it again with the program that made it"


def is_bundler(path: Path) -> bool:
    """Whether this is a bundle file or a folder with one."""
    return _find(path) is not None


def read_bundler(path: Path, *, images: Path | None = None, observations: bool = False) -> Reconstruction:
    """The reconstruction in a bundle file, or in a folder with ``bundle.out``, ``bundle/bundle.out`` or ``*.out``.

    Photos are named in ``list.txt`` (``NAME.list.txt`` for ``NAME.bundle.out``, or a ``.lst``) beside the bundle or
    above it, one a line; they must be there, as only they say how large they are. Cameras that were not reconstructed
    are left out. Equal cameras become one. Raises CaptureError, one line, when something is missing or damaged.
    """
    file = _find(path)
    if file is None:
        raise CaptureError("no bundle here", where=path, expected="bundle.out, which begins with '# Bundle file v0.3'")
    bundle = _load(file)
    list_file = _list_of(file)
    root = path if path.is_dir() and list_file.is_relative_to(path) else list_file.parent
    listed = find_listed(_photos(list_file, len(bundle.cameras)), list_file, root, images, split=True)
    there = np.flatnonzero(bundle.cameras[:, 0, 0] != 0)
    names = tuple(listed.names[place] for place in there)
    sizes = photo_sizes(names, listed.folder, list_file)
    cameras = bundle.cameras[there]
    lenses, index = share_lenses([_lens(*camera, file) for camera in zip(there.tolist(), cameras, sizes, strict=True)])
    rotation, translation = (torch.from_numpy(cameras[:, part]) for part in (slice(1, 4), 4))
    missing = len(bundle.cameras) - len(there)
    return Reconstruction(
        names=names,
        image_folder=listed.folder,
        camera_from_world=rigid(_FLIP[:, None] * rotation, _FLIP * translation),
        camera_index=index,
        lenses=lenses,
        points=bundle.cloud(),
        observations=bundle.observations(there, sizes, file) if observations else None,
        notes=(*listed.notes, *((f"{missing} photos that were not reconstructed are left out",) if missing else ())),
    )


def write_bundler(folder: Path, reconstruction: Reconstruction) -> None:
    """Write bundle.out and list.txt, which names photos as ``images/NAME``.

    Points have a view for each observation; its key is the place among those of its photo. Colours are 0 where there
    are none. Centres go to the middle. Raises CaptureError for a lens that a bundle cannot hold.
    """
    check_names(reconstruction, folder, "\\")
    with (folder / "bundle.out").open("w", encoding="ascii", newline="\n") as out:
        out.write(f"# Bundle file v0.3\n{len(reconstruction)} {len(reconstruction.points)}\n")
        out.writelines(_camera_lines(reconstruction, folder))
        out.writelines(_point_lines(reconstruction))
    lines = "".join(f"images/{name}\n" for name in reconstruction.names)
    (folder / "list.txt").write_text(lines, encoding="utf-8", newline="\n")


def bundler_losses(reconstruction: Reconstruction) -> tuple[str, ...]:
    """What of its cameras a bundle cannot hold: centres that are not in the middle, with how far."""
    off = [_off_center(lens) for lens in reconstruction.lenses if is_radial(lens)]
    if far := [distance for distance in off if distance > _CENTERED]:
        return (f"the principal point of {len(far)} cameras, up to {max(far):.4g} pixels off the middle",)
    return ()


def is_radial(lens: Lens) -> bool:
    """Whether a lens is one focal length, k1 and k2, whatever its model."""
    if lens.model not in BROWN_LENSES:
        return False
    numbers = rational_of(lens)
    return numbers.fx == numbers.fy and not any(numbers.radial[2:]) and not any(numbers.tangential)


def _off_center(lens: Lens) -> float:
    numbers = rational_of(lens)
    return float(np.hypot(numbers.cx - lens.width / 2, numbers.cy - lens.height / 2))


def _find(path: Path) -> Path | None:
    try:
        if not path.is_dir():
            return path if path.is_file() and _begins(path) else None
        usual = [path / "bundle.out", path / "bundle" / "bundle.out"]
        return next((file for file in (*usual, *sorted(path.glob("*.out"))) if file.is_file() and _begins(file)), None)
    except (OSError, ValueError):
        return None


def _begins(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_MAGIC)) == _MAGIC


def _list_of(file: Path) -> Path:
    """The list of photos that belongs to a bundle."""
    stem = file.stem.removesuffix(".bundle")
    above = [file.parent.parent / "list.txt"] if file.parent.name == "bundle" else []
    named = [file.with_name(f"{stem}.list.txt"), file.with_name(f"{stem}.lst"), file.with_name("list.txt"), *above]
    for place in (*named, *sorted(file.parent.glob("*.lst"))):
        if place.is_file():
            return place
    raise CaptureError("no list of photos beside the bundle", where=file, expected="list.txt", do="copy it here")


def _photos(file: Path, count: int) -> list[str]:
    """The photos in a list, without what may follow them."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CaptureError(f"this list of photos is not UTF-8 ({error.reason})", where=file, do=_DO) from None
    photos = [_COLUMNS.sub("", line).strip() if " " in line or "\t" in line else line for line in lines if line.strip()]
    if len(photos) != count:
        raise CaptureError(
            "this list does not belong to the bundle", where=file, expected=f"{count} photos", got=len(photos), do=_DO
        )
    return photos


@dataclass(frozen=True)
class _Bundle:
    """``cameras`` [C, 5, 3]: f k1 k2, R, t; all ``numbers`` of the file; ``starts`` [N]: where points begin in them;
    ``counts`` [N]: their views.
    """

    cameras: np.ndarray
    numbers: np.ndarray
    starts: np.ndarray
    counts: np.ndarray

    def cloud(self) -> PointCloud:
        """Positions and colours."""
        rows = self.numbers[self.starts[:, None] + np.arange(6)]
        colors = (rows[:, 3:] / 255).clip(0, 1).astype(np.float32)
        return PointCloud(torch.from_numpy(rows[:, :3].copy()), torch.from_numpy(colors))

    def observations(self, there: np.ndarray, sizes: list[tuple[int, int]], file: Path) -> Observations:
        """The views of all points by the cameras ``there``, camera by camera."""
        before = np.cumsum(self.counts) - self.counts
        place = np.repeat(self.starts + _POINT, self.counts)
        place = place + _VIEW * (np.arange(len(place)) - np.repeat(before, self.counts))
        cameras = self.numbers[place]
        if not ((cameras >= 0) & (cameras < len(self.cameras)) & (cameras == np.floor(cameras))).all():
            raise CaptureError(
                "a point is seen by a camera that is not there",
                where=file,
                expected=f"whole numbers below {len(self.cameras)}",
                do=_DO,
            )
        index = np.full(len(self.cameras), -1)
        index[there] = np.arange(len(there))
        views = index[cameras.astype(np.int64)]
        order = np.argsort(views, kind="stable")
        order = order[views[order] >= 0]
        middle = np.array(sizes, dtype=np.float64).reshape(-1, 2)[views[order]] / 2
        from_middle = np.stack([self.numbers[place + 2], -self.numbers[place + 3]], axis=1)[order]
        points = np.repeat(np.arange(len(self.starts)), self.counts)[order]
        return Observations(*(torch.from_numpy(rows) for rows in (views[order], middle + from_middle, points)))


def _load(file: Path) -> _Bundle:
    """A bundle file whose numbers are as many as it says."""
    text = file.read_bytes()
    header, _, body = text.partition(b"\n")
    version = header.removeprefix(_MAGIC).strip()
    if version != _VERSION:
        raise CaptureError("another version of bundle file", where=file, expected="v0.3", got=f"v{version[:9]!r}")
    numbers = _numbers(body, file)
    cameras, points = _counts(numbers, file)
    starts, counts = _points(numbers, 2 + _CAMERA * cameras, points, file)
    return _Bundle(numbers[2 : 2 + _CAMERA * cameras].reshape(cameras, 5, 3), numbers, starts, counts)


def _numbers(body: bytes, file: Path) -> np.ndarray:
    """All numbers of a bundle, finite."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            numbers = np.fromstring(body.decode("ascii"), dtype=np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise _damaged(_first_fault(body), file, expected="a finite number")
    return numbers


def _first_fault(body: bytes) -> str:
    for line, text in enumerate(body.split(b"\n"), 2):
        for word in text.split():
            try:
                good = np.isfinite(float(word)) and b"_" not in word
            except ValueError:
                good = False
            if not good:
                return f"line {line}: {word[:20]!r}"
    return "its numbers cannot be read"


def _counts(numbers: np.ndarray, file: Path) -> tuple[int, int]:
    """How many cameras and points there are, no more than the file has numbers for."""
    if len(numbers) < 2 or (numbers[:2] < 0).any() or (numbers[:2] != np.floor(numbers[:2])).any():
        raise _damaged("no counts of cameras and points", file, expected="two whole numbers in the second line")
    needed = 2 + _CAMERA * numbers[0] + _POINT * numbers[1]
    if needed > len(numbers):
        what = f"{numbers[0]:g} cameras and {numbers[1]:g} points"
        raise _damaged(f"cut short: {what}", file, expected=f"at least {needed:g} numbers", got=len(numbers))
    return int(numbers[0]), int(numbers[1])


def _points(numbers: np.ndarray, at: int, points: int, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Where points begin, and how many views they have."""
    starts, counts = np.empty(points, dtype=np.int64), np.empty(points, dtype=np.int64)
    for point in range(points):
        views = numbers[at + _POINT - 1] if at + _POINT <= len(numbers) else np.inf
        if not (0 <= views <= len(numbers) and views == int(views)) or at + _POINT + _VIEW * views > len(numbers):
            raise _damaged(f"the views of point {point} are cut short, or their count is none", file)
        starts[point], counts[point] = at, views
        at += _POINT + _VIEW * int(views)
    if at != len(numbers):
        raise _damaged("more numbers than cameras and points have", file, expected=at, got=len(numbers))
    return starts, counts


def _damaged(what: str, file: Path, *, expected: object = None, got: object = None) -> CaptureError:
    return CaptureError(what, where=file, expected=expected, got=got, do=_DO)


def _lens(number: int, camera: np.ndarray, size: tuple[int, int], file: Path) -> Lens:
    (focal, k1, k2), (width, height) = camera[0].tolist(), size
    try:
        return make_lens("RADIAL", width, height, [focal, width / 2, height / 2, k1, k2])
    except CaptureError as error:
        raise CaptureError(str(error), where=f"{file}: camera {number}") from None


def _camera_lines(reconstruction: Reconstruction, folder: Path) -> Iterator[str]:
    poses = _FLIP[:, None] * reconstruction.camera_from_world[:, :3]
    for lens, pose in zip(reconstruction.lens_of_view, poses.tolist(), strict=True):
        if not is_radial(lens):
            raise CaptureError(f"a bundle cannot hold the lens {lens.model}", where=folder)
        numbers = rational_of(lens)
        yield _line([numbers.fx, *numbers.radial[:2]])
        yield from (_line(row[:3]) for row in pose)
        yield _line([row[3] for row in pose])


def _point_lines(reconstruction: Reconstruction) -> Iterator[str]:
    cloud, views = reconstruction.points, _views(reconstruction)
    colors = torch.zeros(len(cloud), 3) if cloud.colors is None else cloud.colors
    levels = (colors.clamp(0, 1) * 255).round().to(torch.int64).tolist()
    for point, (position, level) in enumerate(zip(cloud.positions.tolist(), levels, strict=True)):
        yield _line(position)
        yield " ".join(map(str, level)) + "\n"
        yield views(point)


def _views(reconstruction: Reconstruction) -> Callable[[int], str]:
    """From the number of a point to the line of its views."""
    seen = reconstruction.observations
    if seen is None:
        return lambda _: "0\n"
    sizes = torch.tensor([[lens.width, lens.height] for lens in reconstruction.lens_of_view], dtype=torch.float64)
    from_middle = (seen.pixel - sizes[seen.view] / 2) * torch.tensor([1.0, -1.0], dtype=torch.float64)
    first = torch.searchsorted(seen.view, torch.arange(len(reconstruction)))
    keys = torch.arange(len(seen)) - first[seen.view]
    order = torch.argsort(seen.point, stable=True)
    ends = torch.searchsorted(seen.point[order], torch.arange(-1, len(reconstruction.points)), right=True).tolist()
    rows = list(zip(seen.view[order].tolist(), keys[order].tolist(), from_middle[order].tolist(), strict=True))

    def of_point(point: int) -> str:
        mine = rows[ends[point] : ends[point + 1]]
        return " ".join([str(len(mine)), *(f"{view} {key} {x!r} {y!r}" for view, key, (x, y) in mine)]) + "\n"

    return of_point


def _line(numbers: list[float]) -> str:
    return " ".join(map(repr, numbers)) + "\n"
