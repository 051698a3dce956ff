"""The XMP files that RealityCapture and RealityScan leave beside photos, one for each.

xcr:Rotation is the rotation camera-from-world row by row, axes as ours, and xcr:Position the camera's place, either of
them an element or an attribute. xcr:FocalLength35mm, xcr:PrincipalPointU and V are as f, px and py of the CSV file, the
coefficients k1 k2 k3 k4 t1 t2. The division model is x / (1 + k1 r^2), which FULL_OPENCV has as its k4. Source: Epic
Games, "Camera Geometry in RealityScan", sections 4 and B.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import torch

from unrender.cameras.lens import Lens
from unrender.datasets.beside_cameras import cloud_beside
from unrender.datasets.brown_family import Rational, simplest_lens
from unrender.datasets.brown_polynomial import Polynomial, nearest_lens_of
from unrender.datasets.listed_photos import complete_labels, photo_sizes, share_lenses
from unrender.datasets.reconstruction import Reconstruction
from unrender.datasets.xml_tree import number, numbers, parse_xml
from unrender.errors import CaptureError
from unrender.geometry.transforms import rigid

__all__ = ["read_sidecars", "sidecars_of"]

_XCR = "http://www.capturingreality.com/ns/xcr/1.1#"
_DESCRIPTION = ".//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
_HEAD, _MOST = 1 << 14, 8
_TERMS = {"brown3": 3, "brown4": 4, "brown3t2": 3, "brown4t2": 4}
"""Radial coefficients of each of Brown's models."""
_DO = "export the XMP files again (Alignment, Metadata)"


def sidecars_of(path: Path) -> tuple[Path, list[Path]] | None:
    """A folder, or ``images`` in it, and its XMP files, when they are RealityCapture's; else None."""
    try:
        for folder, patterns in ((path, ("*.xmp",)), (path / "images", ("*.xmp", "*/*.xmp"))):
            files = sorted(file for pattern in patterns for file in folder.glob(pattern)) if folder.is_dir() else []
            if any(_XCR.encode() in _head(file) for file in files[:_MOST]):
                return folder, files
    except (OSError, ValueError):
        pass
    return None


def _head(file: Path) -> bytes:
    if not file.is_file():
        return b""
    with file.open("rb") as opened:
        return opened.read(_HEAD)


def read_sidecars(path: Path, images: Path | None) -> Reconstruction:
    """The cameras in the XMP files of a folder; see ``read_realitycapture``."""
    there = sidecars_of(path)
    if there is None:
        expected = "a CSV file with #name,x,y,alt,heading,pitch,roll,f, or XMP files beside the photos"
        raise CaptureError("no cameras of RealityCapture here", where=path, expected=expected)
    folder, files = there
    photos = images or folder
    descriptions = {file: found for file in files if (found := _description(file)) is not None}
    if not descriptions:
        raise CaptureError("no XMP file with a pose", where=path, do=_DO)
    labels = [file.relative_to(folder).with_suffix("").as_posix() for file in descriptions]
    names = complete_labels(labels, photos, path)
    sizes = photo_sizes(names, photos, path)
    found = [_lens(entry, size, file) for (file, entry), size in zip(descriptions.items(), sizes, strict=True)]
    lenses, index = share_lenses([lens for lens, _ in found])
    points, dense = cloud_beside(path)
    unplaced, off = len(files) - len(descriptions), max(residual for _, residual in found)
    notes = [f"{unplaced} XMP files without a pose: left out"] if unplaced else []
    notes += [f"lenses have terms that ours lack, which make up to {off:.2g} pixels"] if off else []
    return Reconstruction(
        names=names,
        image_folder=photos,
        camera_from_world=torch.stack([_pose(entry, file) for file, entry in descriptions.items()]),
        camera_index=index,
        lenses=lenses,
        points=points,
        dense=dense,
        notes=tuple(notes),
    )


def _description(file: Path) -> dict[str, str] | None:
    """What a file says in RealityCapture's words, None when it has no pose."""
    root = parse_xml(file, _DO)
    said: dict[str, str] = {}
    places: list[Element] = root.findall(_DESCRIPTION)
    for place in places:
        pairs = [*place.attrib.items(), *((part.tag, part.text or "") for part in place)]
        said |= {key.removeprefix(f"{{{_XCR}}}"): text for key, text in pairs if key.startswith(f"{{{_XCR}}}")}
    return said if "Rotation" in said and "Position" in said else None


def _pose(said: dict[str, str], file: Path) -> torch.Tensor:
    rotation = torch.tensor(numbers(said["Rotation"], 9, "xcr:Rotation", file), dtype=torch.float64).reshape(3, 3)
    center = torch.tensor(numbers(said["Position"], 3, "xcr:Position", file), dtype=torch.float64)
    return rigid(rotation, -(rotation @ center))


def _lens(said: dict[str, str], size: tuple[int, int], file: Path) -> tuple[Lens, float]:
    def of(name: str, default: float) -> float:
        return number(said[name], f"xcr:{name}", file) if name in said else default

    if of("Skew", 0.0):
        raise CaptureError(
            "no lens has skew", where=file, expected="xcr:Skew 0", got=said["Skew"], do="align without K+"
        )
    if "FocalLength35mm" not in said:
        raise CaptureError("no xcr:FocalLength35mm", where=file, do=_DO)
    (width, height), scale, model = size, max(size), said.get("DistortionModel", "none").lower()
    focal = of("FocalLength35mm", 0.0) * scale / 36
    intrinsics = (focal, focal * of("AspectRatio", 1.0))
    center = (width / 2 + scale * of("PrincipalPointU", 0.0), height / 2 + scale * of("PrincipalPointV", 0.0))
    k1, k2, k3, k4, t1, t2 = numbers(said.get("DistortionCoeficients", "0 0 0 0 0 0"), 6, "the coefficients", file)
    if model in ("none", "perspective"):
        return nearest_lens_of(*size, Polynomial(*intrinsics, *center), file)
    if model == "division":
        try:
            return simplest_lens(*size, Rational(*intrinsics, *center, (0.0, 0.0, 0.0, k1, 0.0, 0.0))), 0.0
        except CaptureError as error:
            raise CaptureError(str(error), where=file) from None
    if model not in _TERMS:
        expected = f"none, perspective, division, {', '.join(_TERMS)}"
        raise CaptureError(f"no lens here for the distortion model {model!r}", where=file, expected=expected)
    radial = (k1, k2, k3, k4 if _TERMS[model] == 4 else 0.0)
    tangential = (t2, t1) if model.endswith("t2") else (0.0, 0.0)
    return nearest_lens_of(*size, Polynomial(*intrinsics, *center, radial, tangential), file)
