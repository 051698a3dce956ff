"""A lens in the words of another family: exactly where there are some, else as near as that family comes."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import least_squares

from unrender.cameras.lens import LENSES, Lens, make_lens
from unrender.errors import CaptureError

__all__ = ["nearest_lens"]

_FIT, _CHECK = 24, 61  # places along the longer side of the photo that are fitted and looked at
_STEP = 1e-6  # of finite differences, relative to what a parameter may be
_BEYOND = 10.0  # widths of the photo beyond which a pixel is simply far off
_AHEAD = 0.1  # cosine from the axis from which on perspective lenses are fitted: beyond, numbers are steep
_TRIES = 100
_DEFAULTS = {"alpha": 0.5, "beta": 1.0, "omega": 0.5}
_ALSO = {"k": "k1", "k1": "k"}  # COLMAP calls k what others call k1


def nearest_lens(lens: Lens, model: str) -> tuple[Lens, float]:
    """The lens of family ``model`` that images most like ``lens``, and the largest distance in the photo [pixels].

    Where the family has the parameters of ``lens`` and perhaps more (SIMPLE_RADIAL in OPENCV), these are taken over and
    the distance is 0. Else the sum of squared distances over the photo is made least. Where the family cannot see what
    a pixel of the photo shows, the distance is infinite. Raises CaptureError for an unknown model, and for OCAM, whose
    number of coefficients is not given by its name, unless ``lens`` is one.
    """
    if lens.model == model:
        return lens, 0.0
    if model == "OCAM":
        raise CaptureError("no lens is fitted to OCAM: its number of coefficients is open")
    if model not in LENSES:
        raise CaptureError(f"unknown camera model {model}", expected=f"one of {', '.join(LENSES)}")
    same = _same(lens, model)
    if same is not None:
        return same, 0.0
    best = min((_fitted(lens, model, start) for start in _starts(lens, model)), key=lambda one: _off(lens, one))
    return best, _off(lens, best)


_FAMILIES = (
    ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"),
    ("SIMPLE_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "OPENCV_FISHEYE", "THIN_PRISM_FISHEYE"),
    ("SIMPLE_DIVISION", "DIVISION"),
)
"""Models of one formula: parameters of one name mean the same in all of a row, and one that is lacking is 0."""


def _same(lens: Lens, model: str) -> Lens | None:
    """The lens in ``model`` when it can say the same, else None."""
    if not any(lens.model in family and model in family for family in _FAMILIES):
        return None
    named = _named(lens)
    wanted = LENSES[model].parameter_names
    if "f" in wanted and named["fx"] != named["fy"]:
        return None
    lacking = [name for name, value in named.items() if name[0] not in "fc" and value != 0 and name not in wanted]
    if any(_ALSO.get(name) not in wanted for name in lacking):
        return None
    return make_lens(model, lens.width, lens.height, [_taken(named, name) for name in wanted])


def _named(lens: Lens) -> dict[str, float]:
    """Parameters by name, with both focal lengths."""
    named = dict(zip(lens.parameter_names, lens.params.detach().tolist(), strict=True))
    if "f" in named:
        named["fx"] = named["fy"] = named.pop("f")
    return named


def _taken(named: dict[str, float], name: str) -> float:
    """A parameter of that name from those of another lens."""
    if name == "f":
        return 0.5 * (named["fx"] + named["fy"])
    return named.get(name, named.get(_ALSO.get(name, name), _DEFAULTS.get(name, 0.0)))


def _starts(lens: Lens, model: str) -> list[np.ndarray]:
    """Parameters to start from: the focal lengths that hold in the middle and out towards the rim, no distortion."""
    if model == "EQUIRECTANGULAR":
        return [np.array([lens.width, lens.height], dtype=np.float64)]
    middle = torch.tensor([[lens.width / 2, lens.height / 2]], dtype=torch.float64)
    rays = torch.nn.functional.normalize(lens.unproject(middle), dim=1)
    focal = max(float(lens.magnification(rays)), 1e-3 * lens.width)
    named = _named(lens)
    center = {"cx": named.get("cx", lens.width / 2), "cy": named.get("cy", lens.height / 2)}
    if lens.model == "OCAM":
        center = {"cx": named["cy"], "cy": named["cx"]}  # rows first there
    starts = []
    for share in (1.0, 0.6):
        own = center | {"fx": focal * share, "fy": focal * share}
        starts.append(np.array([_taken(own, name) for name in LENSES[model].parameter_names]))
    return starts


def _fitted(lens: Lens, model: str, start: np.ndarray) -> Lens:
    """The least-squares lens from one start, or that of the start where its numbers make no lens."""
    pixels, rays = _looks(lens, _FIT)
    if not LENSES[model].depth_is_distance:
        ahead = rays[:, 2] > _AHEAD
        pixels, rays = pixels[ahead], rays[ahead]
    target = pixels.numpy()
    scale = np.array([_scale(name, value) for name, value in zip(LENSES[model].parameter_names, start, strict=True)])

    def residuals(params: np.ndarray) -> np.ndarray:
        try:
            found, _ = make_lens(model, lens.width, lens.height, (params * scale).tolist()).project(rays)
        except CaptureError:
            return np.full(target.size, _BEYOND * lens.width)
        off = (found.numpy() - target) / lens.width
        return np.nan_to_num(off, nan=_BEYOND).clip(-_BEYOND, _BEYOND).ravel() * lens.width

    solved = least_squares(
        residuals, start / scale, x_scale="jac", diff_step=_STEP, xtol=1e-13, ftol=1e-13, max_nfev=_TRIES
    )
    try:
        return make_lens(model, lens.width, lens.height, (solved.x * scale).tolist())
    except CaptureError:
        return make_lens(model, lens.width, lens.height, start.tolist())


def _scale(name: str, value: float) -> float:
    """What is a large change of a parameter."""
    return max(abs(value), 1.0) if name[0] in "fcwh" else 0.1


def _looks(lens: Lens, places: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels [N, 2] all over the photo that the lens images, its edges included, and unit directions there [N, 3]."""
    step = max(lens.width, lens.height) / places
    across, down = (max(2, math.ceil(side / step) + 1) for side in (lens.width, lens.height))
    grid = torch.cartesian_prod(
        torch.linspace(0, lens.width, across, dtype=torch.float64),
        torch.linspace(0, lens.height, down, dtype=torch.float64),
    )
    rays = torch.nn.functional.normalize(lens.unproject(grid), dim=1)
    back, inside = lens.project(rays)
    kept = inside & ((back - grid).abs().amax(dim=1) < 1e-6)
    return grid[kept], rays[kept]


def _off(lens: Lens, other: Lens) -> float:
    """Largest distance [pixels] between where both image what the photo of ``lens`` shows."""
    pixels, rays = _looks(lens, _CHECK)
    found, inside = other.project(rays)
    if len(pixels) == 0 or not bool(inside.all()):
        return math.inf
    return float((found - pixels).norm(dim=1).max())
