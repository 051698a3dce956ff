"""Write transforms.json so that nerfstudio's own loader takes it; what it asks for: see ``transforms_lens.py``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from unrender.cameras.lens import Lens
from unrender.datasets.clouds import write_ply
from unrender.datasets.mask_files import copy_masks, count_masks
from unrender.datasets.reconstruction import Reconstruction
from unrender.datasets.transforms_frames import ALPHA, EXPOSURE
from unrender.datasets.transforms_lens import intrinsics_of, nerfstudio_model
from unrender.datasets.transforms_points import SPARSE
from unrender.errors import CaptureError
from unrender.geometry.transforms import inverse

__all__ = ["write_transforms"]

_OPENGL_FROM_OPENCV = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)


def write_transforms(folder: Path, reconstruction: Reconstruction) -> None:
    """Write transforms.json, the points as sparse_pc.ply, and masks (copied).

    With several cameras the intrinsics are with the frames. Where some photos have a mask, others get a white one, and
    where some are held out, all three lists of names are written: nerfstudio wants all or none. Raises CaptureError for
    lenses that no file, or not one file, can hold.
    """
    document = {**_shared(reconstruction, folder), "frames": _frames(reconstruction, folder)}
    if reconstruction.alpha is not None:
        document[ALPHA] = reconstruction.alpha
    if len(reconstruction.points):
        write_ply(folder / SPARSE, reconstruction.points)
        document["ply_file_path"] = SPARSE
    text = json.dumps({**document, **_splits(reconstruction)}, ensure_ascii=False, allow_nan=False, indent=1)
    (folder / "transforms.json").write_text(text, encoding="utf-8")


def _shared(reconstruction: Reconstruction, folder: Path) -> dict[str, Any]:
    """What goes for all frames: the kind of lens, and its numbers when there is one camera."""
    models = sorted({nerfstudio_model(lens) for lens in reconstruction.lenses})
    if len(models) > 1:
        raise CaptureError(
            "transforms.json has one kind of lens in a file", where=folder, got=" and ".join(models), do="choose colmap"
        )
    alone = intrinsics_of(reconstruction.lenses[0]) if len(reconstruction.lenses) == 1 else {}
    return {"camera_model": models[0], **alone}


def _frames(reconstruction: Reconstruction, folder: Path) -> list[dict[str, Any]]:
    poses = (inverse(reconstruction.camera_from_world) * _OPENGL_FROM_OPENCV).tolist()
    cameras = _cameras(reconstruction)
    masks = _masks(reconstruction, folder)
    known = reconstruction.exif_ev
    exposures = [math.nan] * len(poses) if known is None else known.tolist()
    frames = []
    for place, name in enumerate(reconstruction.names):
        frame = {"file_path": f"images/{name}", "transform_matrix": poses[place]}
        frame |= cameras[int(reconstruction.camera_index[place])] | ({"mask_path": masks[place]} if masks else {})
        if reconstruction.ids is not None:
            frame["colmap_im_id"] = int(reconstruction.ids.images[place])
        if not math.isnan(exposures[place]):
            frame[EXPOSURE] = exposures[place]
        frames.append(frame)
    return frames


def _cameras(reconstruction: Reconstruction) -> list[dict[str, Any]]:
    """What frames of each camera say of it: our name of the lens, and with several cameras all of it.

    The number keeps cameras apart that have the same lens.
    """
    named = [{"camera_model": _model(lens)} for lens in reconstruction.lenses]
    if len(named) == 1:
        return named
    numbers = reconstruction.numbers.cameras.tolist()
    return [
        {"camera_id": number, **intrinsics_of(lens), **model}
        for number, lens, model in zip(numbers, reconstruction.lenses, named, strict=True)
    ]


def _model(lens: Lens) -> str:
    """Our name of a lens, where the reader takes it from its name."""
    return nerfstudio_model(lens) if lens.model in ("FULL_OPENCV", "RAD_TAN_THIN_PRISM_FISHEYE") else lens.model


def _masks(reconstruction: Reconstruction, folder: Path) -> list[str]:
    """The paths of all masks, white where a photo has none; empty when no photo has one."""
    if not count_masks(reconstruction):
        return []
    names = [f"masks/{name}" if name else "" for name in copy_masks(folder / "masks", reconstruction)]
    for place, lens in enumerate(reconstruction.lens_of_view):
        if not names[place]:
            names[place] = f"masks/white_{lens.width}x{lens.height}.png"
            Image.new("L", (lens.width, lens.height), 255).save(folder / names[place])
    return names


def _splits(reconstruction: Reconstruction) -> dict[str, list[str]]:
    if not reconstruction.held_out:
        return {}
    apart = set(reconstruction.held_out)
    test = [f"images/{name}" for name in reconstruction.names if name in apart]
    train = [f"images/{name}" for name in reconstruction.names if name not in apart]
    return {"train_filenames": train, "val_filenames": test, "test_filenames": test}
