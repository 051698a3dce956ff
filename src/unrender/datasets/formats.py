"""The one table of formats that photos with poses come in and go out in, and the front door to it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from unrender.cameras.lens import LENSES, Lens
from unrender.cameras.lens.nearest import nearest_lens
from unrender.datasets.adop import ADOP_LENSES, adop_losses, is_adop, is_ocam, read_adop, write_adop
from unrender.datasets.beside_cameras import Beside, lost_beside_cameras
from unrender.datasets.blender import is_blender, read_blender
from unrender.datasets.bundler import BUNDLER_LENSES, bundler_losses, is_bundler, is_radial, read_bundler, write_bundler
from unrender.datasets.colmap import COLMAP_LENSES, is_colmap, read_colmap, write_colmap_folder
from unrender.datasets.llff import is_llff, read_llff
from unrender.datasets.metashape import (
    METASHAPE_LENSES,
    holds_sensor,
    is_metashape,
    read_metashape,
    write_metashape,
)
from unrender.datasets.openmvs import OPENMVS_LENSES, is_openmvs, openmvs_losses, read_openmvs, write_openmvs
from unrender.datasets.opensfm import (
    OPENSFM_LENSES,
    has_camera_for,
    is_opensfm,
    read_opensfm,
    write_opensfm,
)
from unrender.datasets.realitycapture import (
    REALITYCAPTURE_LENSES,
    holds_row,
    is_realitycapture,
    read_realitycapture,
    write_realitycapture,
)
from unrender.datasets.reconstruction import Reconstruction
from unrender.datasets.transforms import is_transforms, read_transforms
from unrender.datasets.transforms_lens import TRANSFORMS_LENSES, holds_lens
from unrender.datasets.write_transforms import write_transforms
from unrender.errors import CaptureError, SettingsError

__all__ = ["FORMATS", "Format", "find_format", "read_reconstruction", "with_lenses", "writable", "write_reconstruction"]


_SAME = 1e-6
"""Pixels by which two lenses may differ and be the same."""


class Reader(Protocol):
    """Reads what is at ``path``; ``images``: folder of the photos when not where the format says; ``observations``:
    these too, where the format has them. Raises CaptureError, one line, for anything that is no such reconstruction.
    """

    def __call__(self, path: Path, *, images: Path | None = None, observations: bool = False) -> Reconstruction:
        """What is at ``path``."""
        ...


@dataclass(frozen=True)
class Format:
    """One row of the table.

    ``title``: what users know it as; ``looks_like``: the file or folder that it is recognised by, for users;
    ``recognises(path)``: whether a folder or file is of this format, without raising; ``read``: see ``Reader``;
    ``write(folder, reconstruction)``: None where cameras cannot go back; the photos are in ``images`` under the folder
    by their names; ``lenses``: names of the lenses that it holds whatever their numbers, best first;
    ``also_holds(lens)``: whether it holds just this lens of another model, without loss;
    ``holds``: what it has room for besides; ``losses(reconstruction)``: what else of it the format cannot hold, one
    short text each.
    """

    title: str
    looks_like: str
    recognises: Callable[[Path], bool]
    read: Reader
    write: Callable[[Path, Reconstruction], None] | None = None
    lenses: tuple[str, ...] = ()
    also_holds: Callable[[Lens], bool] = lambda _: False
    holds: tuple[Beside, ...] = ()
    losses: Callable[[Reconstruction], tuple[str, ...]] = lambda _: ()


FORMATS: dict[str, Format] = {
    "colmap": Format(
        title="COLMAP sparse model",
        looks_like="cameras, images and points3D (.bin or .txt) in sparse/0, sparse, dense/sparse or the folder itself",
        recognises=is_colmap,
        read=read_colmap,
        write=write_colmap_folder,
        lenses=COLMAP_LENSES,
        holds=("masks",),
    ),
    "transforms": Format(
        title="nerfstudio or instant-ngp transforms.json",
        looks_like="transforms.json in the folder",
        recognises=is_transforms,
        read=read_transforms,
        write=write_transforms,
        lenses=TRANSFORMS_LENSES,
        also_holds=holds_lens,
        holds=("normals", "masks", "exposures", "split", "alpha"),
    ),
    "blender": Format(
        title="NeRF-synthetic scene",
        looks_like="transforms_train.json in the folder",
        recognises=is_blender,
        read=read_blender,
    ),
    "adop": Format(
        title="ADOP or TRIPS scene",
        looks_like="dataset.ini, images.txt and poses.txt in the folder",
        recognises=is_adop,
        read=read_adop,
        write=write_adop,
        lenses=ADOP_LENSES,
        also_holds=is_ocam,
        holds=("normals", "masks", "exposures"),
        losses=adop_losses,
    ),
    "opensfm": Format(
        title="OpenSfM or OpenDroneMap reconstruction",
        looks_like="reconstruction.json in the folder or in opensfm in it",
        recognises=is_opensfm,
        read=read_opensfm,
        write=write_opensfm,
        lenses=OPENSFM_LENSES,
        also_holds=has_camera_for,
        holds=("masks",),
    ),
    "openmvs": Format(
        title="OpenMVS scene",
        looks_like="a .mvs file",
        recognises=is_openmvs,
        read=read_openmvs,
        write=write_openmvs,
        lenses=OPENMVS_LENSES,
        holds=("normals",),
        losses=openmvs_losses,
    ),
    "bundler": Format(
        title="Bundler reconstruction",
        looks_like="bundle.out with list.txt",
        recognises=is_bundler,
        read=read_bundler,
        write=write_bundler,
        lenses=BUNDLER_LENSES,
        also_holds=is_radial,
        losses=bundler_losses,
    ),
    "realitycapture": Format(
        title="RealityCapture or RealityScan cameras",
        looks_like="a CSV file that begins with #name,x,y,alt,heading,pitch,roll,f, or XMP files beside the photos",
        recognises=is_realitycapture,
        read=read_realitycapture,
        write=write_realitycapture,
        lenses=REALITYCAPTURE_LENSES,
        also_holds=holds_row,
        holds=("normals",),
    ),
    "metashape": Format(
        title="Agisoft Metashape cameras",
        looks_like="cameras.xml, or another XML file with a document and a chunk",
        recognises=is_metashape,
        read=read_metashape,
        write=write_metashape,
        lenses=METASHAPE_LENSES,
        also_holds=holds_sensor,
        holds=("normals",),
    ),
    "llff": Format(title="LLFF poses", looks_like="poses_bounds.npy", recognises=is_llff, read=read_llff),
}
"""Name -> format. Where a folder looks like several, the first counts."""


def find_format(path: Path, name: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The name of the format of ``path``, the given one or the one that is recognised, and notes for the user.

    Raises SettingsError for a name that is none, CaptureError when ``path`` is not there or looks like no format.
    """
    if name is not None:
        _row(name)
    if not path.exists():
        raise CaptureError("no such file or folder", where=path, expected="photos with poses")
    if name is not None:
        return name, ()
    alike = [name for name, kind in FORMATS.items() if kind.recognises(path)]
    if not alike:
        empty = path.is_dir() and not any(path.iterdir())
        raise CaptureError(
            "this folder is empty" if empty else "no poses here that unrender knows",
            where=path,
            expected=" or ".join(f"{kind.title} ({kind.looks_like})" for kind in FORMATS.values()),
            do="reconstruct the photos first, for example with COLMAP, or say what this is (--format)",
        )
    others = ", ".join(alike[1:])
    return alike[0], (f"read as {alike[0]}; it looks like {others} too (--format)",) if others else ()


def read_reconstruction(
    path: Path | str, format: str | None = None, *, images: Path | None = None, observations: bool = False
) -> Reconstruction:
    """The reconstruction at ``path`` in the order of its names, checked; see ``Reader`` and ``find_format``."""
    path = Path(path)
    name, notes = find_format(path, format)
    found = FORMATS[name].read(path, images=images, observations=observations)
    return replace(found.check(path).sorted_by_name(), notes=(*notes, *found.notes))


def write_reconstruction(
    folder: Path | str, reconstruction: Reconstruction, format: str, *, lossy: bool = False
) -> tuple[str, ...]:
    """Write a reconstruction into ``folder`` as ``format``; returns what was lost, for the user.

    The photos are expected in ``images`` under the folder by their names. Raises SettingsError when the format cannot
    be written, CaptureError when it cannot hold something (with ``lossy`` that is left out instead).
    """
    kind = writable(format)
    assert kind.write is not None
    held, lost_lenses = with_lenses(reconstruction, kind)
    lost = (*lost_lenses, *kind.losses(held), *lost_beside_cameras(held, kind.holds))
    if lost and not lossy:
        raise CaptureError(
            f"{kind.title} cannot hold {'; '.join(lost)}", where=folder, do="choose another format, or --lossy"
        )
    Path(folder).mkdir(parents=True, exist_ok=True)
    kind.write(Path(folder), held)
    return lost


def writable(name: str) -> Format:
    """The format ``name``. Raises SettingsError when there is none, or it can only be read."""
    kind = _row(name)
    if kind.write is None:
        others = [name for name, row in FORMATS.items() if row.write is not None]
        raise SettingsError(f"{kind.title} can only be read", expected=" or ".join(others))
    return kind


def with_lenses(reconstruction: Reconstruction, kind: Format) -> tuple[Reconstruction, tuple[str, ...]]:
    """The same through lenses that the format holds, and what that changes: a text for each that is not quite the same.

    A lens that it does not hold becomes the nearest of its own.
    """
    lenses, lost = list(reconstruction.lenses), []
    for camera, lens in enumerate(lenses):
        if lens.model in kind.lenses or kind.also_holds(lens):
            continue
        alike = [model for model in kind.lenses if LENSES[model].depth_is_distance == lens.depth_is_distance]
        candidates = [nearest_lens(lens, model) for model in alike or kind.lenses]
        lenses[camera], residual = min(candidates, key=lambda pair: pair[1])
        if residual > _SAME:
            nearest = f"{lenses[camera].model}, the nearest, is up to {residual:.2g} pixels off"
            lost.append(f"{lens.model} of camera {int(reconstruction.numbers.cameras[camera])} ({nearest})")
    return replace(reconstruction, lenses=tuple(lenses)), tuple(lost)


def _row(name: str) -> Format:
    if name not in FORMATS:
        nearest = difflib.get_close_matches(name, FORMATS, n=1, cutoff=0.4)
        advice = f"did you mean {nearest[0]!r}?" if nearest else None
        raise SettingsError(f"unknown format {name!r}", expected=", ".join(FORMATS), do=advice)
    return FORMATS[name]
