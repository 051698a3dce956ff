"""The derivative of an image by what moves its points, as one call, and whichever implementation is there behind it.

``let_points_move`` hands an image on as it is; behind it, in the backward pass, stands the compiled kernel where
tensors are on the CPU and float32, and the readable twin of ``spatial.py`` otherwise. What the derivative means and
what it leaves out is said there.

Letters as in ``op.py``: N points, V views, P pixels of the whole pyramid, D channels.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, Literal, get_args

import torch
from torch.autograd.function import once_differentiable

from unrender.kernels.loader import gpu, native
from unrender.kernels.rasterize_points import cuda
from unrender.kernels.rasterize_points.op import _POINTS, _RULES, Geometry, Pyramids, Rules, _floats, _module, _sorted
from unrender.kernels.rasterize_points.projection import ghosts, project
from unrender.kernels.rasterize_points.spatial import Movers, Moves, Shown, layers_drawn, let_move, near_image

__all__ = ["Carriers", "Motion", "let_points_move"]

Carriers = Literal["ghosts", "rendered", "both"]
"""Which points say how the image changes when positions, poses or lenses do."""


@dataclass(frozen=True)
class Motion:
    """``carriers``: the points that carry the derivative; ``moves``: what a move is compared with, see ``spatial.py``;
    ``slope``: for moves together, tangent of the steepest tilt against the image plane that is still one surface.
    """

    carriers: Carriers = "ghosts"
    moves: Moves = "together"
    slope: float = 4.0


def let_points_move(
    image: torch.Tensor,
    position: torch.Tensor,
    views: torch.Tensor,
    geometry: Geometry,
    descriptors: torch.Tensor,
    seen: Pyramids,
    rules: Rules,
    seed: torch.Tensor | None,
    motion: Motion,
) -> torch.Tensor:
    """``image`` [V, P, D] as it is, with an approximated derivative by ``position`` [N, 3] and ``views`` [V, R].

    Not included: what ``spatial_gradient`` leaves out; and of a view's row the eye, the scale and the valid slope,
    which cull and discard. ``image``: finished, the environment in it; ``seen``: what ``rasterize_points`` gave for the
    same geometry, ``descriptors`` [N, D], ``rules`` and ``seed``. Sums over points are in float64. Same inputs, same
    bits, whatever the number of threads.
    """
    seed = torch.zeros((), dtype=torch.int64) if seed is None else seed
    if _compiled(image, geometry):
        fixed = (*geometry, descriptors.detach().float(), seen.counts, seen.depths, seed)
        return _Moving.apply(image, position, views, fixed, rules, motion)
    moved = [
        _reference(image[view], position, row, geometry, descriptors, Shown(count, depth), rules, (seed, view), motion)
        for view, (row, count, depth) in enumerate(zip(views, seen.counts, seen.depths, strict=True))
    ]
    return torch.stack(moved) if moved else image


def _compiled(image: torch.Tensor, geometry: Geometry) -> bool:
    """Whether a compiled kernel takes these tensors."""
    devices = {tensor.device for tensor in (image, *geometry)}
    if len(devices) != 1 or any(tensor.dtype != torch.float32 for tensor in (image, *geometry)):
        return False
    kind = devices.pop().type
    return (kind == "cpu" and native() is not None) or (kind == "cuda" and gpu())


def _reference(
    image: torch.Tensor,
    position: torch.Tensor,
    row: torch.Tensor,
    geometry: Geometry,
    descriptors: torch.Tensor,
    shown: Shown,
    rules: Rules,
    chance: tuple[torch.Tensor, int],
    motion: Motion,
) -> torch.Tensor:
    """The same in PyTorch, for one view: ``image`` [P, D], its ``row`` [R]; ``chance``: seed and number of the view.

    The points that can change the image are projected a second time, in float64 and with a graph.
    """
    size = (rules.height, rules.width)
    with torch.no_grad():
        seen = project(*geometry, row)
        ghost = torch.zeros_like(seen.keep)
        if rules.ghosts > 0:
            ghost = ghosts(int(chance[0]), chance[1], torch.arange(len(ghost), device=ghost.device), rules.ghosts)
        chosen = {"ghosts": seen.keep & ghost, "rendered": seen.keep & ~ghost, "both": seen.keep}[motion.carriers]
        moving = torch.nonzero(chosen & near_image(seen.pixels, size, rules.layers))[:, 0]
    place, normal = (t.index_select(0, moving).double() for t in (position, geometry.normal))
    one = place.new_ones(len(moving))
    exact = project(place, normal, one, 0 * one, row)  # of points of radius 1: their reach is the magnification
    reach = seen.reach[moving]  # beta is in it
    movers = Movers(
        pixels=seen.pixels[moving],
        depth=seen.depth[moving],
        drawn=layers_drawn(reach, torch.zeros_like(reach), rules.layers, rules.gamma),
        relief=(motion.slope / (exact.depth * exact.reach)).detach(),
        descriptors=descriptors.detach()[moving],
    )
    return let_move(image, exact.pixels, movers, shown, size, rules.layers, rules.alpha, motion.moves)


class _Moving(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image: torch.Tensor, _position: torch.Tensor, views: torch.Tensor, fixed: Any, rules: Any, motion: Any
    ) -> Any:
        ctx.save_for_backward(image, views, *fixed)
        ctx.how = (rules, motion)
        return image.view_as(image)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        image, views, *geometry, descriptors, counts, depths, seed = ctx.saved_tensors
        rules, motion = ctx.how
        _, by_position, by_view = ctx.needs_input_grad[:3]
        position, rows = torch.ops.unrender.spatial_gradient(
            image,
            gradient,
            counts,
            depths,
            *geometry,
            descriptors,
            views,
            seed,
            *_numbers(rules),
            get_args(Carriers).index(motion.carriers),
            get_args(Moves).index(motion.moves),
            motion.slope,
            by_position,
            by_view,
        )
        return gradient, position if by_position else None, rows if by_view else None, None, None, None


def _numbers(rules: Rules) -> tuple[Any, ...]:
    height, width, layers, alpha, gamma, rate = astuple(rules)
    return height, width, layers, alpha, -1.0 if gamma is None else gamma, rate


@torch.library.custom_op(
    "unrender::spatial_gradient",
    mutates_args=(),
    device_types="cpu",
    schema=(
        f"(Tensor image, Tensor gradient, Tensor count, Tensor depth, {_POINTS}, Tensor descriptors, Tensor views,"
        f" Tensor seed, {_RULES}, int carriers, int moves, float slope, bool by_position, bool by_view)"
        " -> (Tensor, Tensor)"
    ),
)
def _gradient(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """d loss / d position [N, 3] and d loss / d row [V, R] float64; empty what is not asked for."""
    image, gradient, count, depth, *geometry, descriptors, views, seed = (t.detach() for t in arguments[:11])
    *rules, carriers, moves, slope, by_position, by_view = arguments[11:]
    module, threads = _module(), torch.get_num_threads()
    position = _floats(module, (len(geometry[0]) if by_position else 0, 3))
    module.clear(position, threads)
    rows = torch.zeros(len(views) if by_view else 0, views.shape[1], dtype=torch.float64)
    if len(views) and (by_position or by_view):
        _sorted(module.Rasterizer, *geometry).spatial_gradient(
            *(t.contiguous() for t in (views, image, gradient, count, depth, descriptors)),
            position if by_position else None,
            rows if by_view else None,
            carriers,
            moves,
            slope,
            *rules,
            int(seed),
            threads,
        )
    return position, rows


@_gradient.register_kernel("cuda")
def _(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
    image, gradient, count, depth, *geometry, descriptors, views, seed = (t.detach() for t in arguments[:11])
    *rules, carriers, moves, slope, by_position, by_view = arguments[11:]
    cloud, shown, how = _sorted(None, *geometry), (image, gradient, count, depth), (carriers, moves, slope)
    numbers, asked = cuda.Numbers(*rules), (by_position, by_view)
    position, rows = cuda.spatial(cloud, shown, descriptors, views, seed, numbers, how, asked)
    return position, rows.to(views.device)  # rows of few views may be on the CPU


@_gradient.register_fake
def _(image: torch.Tensor, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
    position, views, (by_position, by_view) = arguments[3], arguments[8], arguments[-2:]
    rows = views.new_empty(views.shape[0] if by_view else 0, views.shape[1], dtype=torch.float64)
    return image.new_empty(position.shape[0] if by_position else 0, 3), rows
