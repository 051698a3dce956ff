"""How the image changes when points move: the approximated derivative of one-pixel rasterisation (ADOP section IV-B).

The problem: a point lies in the pixel that its position is rounded to, so the true derivative of the image by that
position is zero almost everywhere. In its place stands what happens when the point is moved by one whole pixel of a
layer to the right, left, down and up, and half the difference of opposite moves (Eq. 9 and 10; the move to the left
carries a minus sign, which Eq. 10 leaves out):

    d image / d u = (change by the move to the right - change by the move to the left) / 2

A point with descriptor T and depth z that arrives in a pixel q, which shows I(q), the mean of W points nearest at depth
D, or the environment (W = 0), changes it by a share of the difference. The four cases of Eq. 11 are four shares:

    change = share (T - I(q))        share = 1             q is empty, or the point is in front: z (1 + alpha) < D
                                             0             the point is behind: z > (1 + alpha) D
                                             1 / (W + 1)   it is blended in: (W I(q) + T) / (W + 1) - I(q)

All of W, D and I are those of the neighbour q; Eq. 11 writes the point's own pixel in its first case.

This looks at one point that moves ``alone``. When a camera moves, whole surfaces do, and the sum over lonely points is
biased: at the rim of an object what covers the background is counted and what uncovers it is not, and a slanted surface
is in front of itself on one side and behind itself on the other. ``together`` is our correction, see ``_together``;
``replace`` is what the authors' program does by default, a share of 1 everywhere.

What all of them leave out is said at ``spatial_gradient``. Letters as in ``reference.py``, and K moved points, M of
them that arrive in the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, Literal

import torch
from torch.autograd.function import once_differentiable

from unrender.kernels.rasterize_points.reference import (
    Hits,
    draws,
    in_image,
    layer_sizes,
    pixel_numbers,
    pyramid_offsets,
)

__all__ = ["Movers", "Moves", "Shown", "layers_drawn", "let_move", "near_image", "spatial_gradient"]

Moves = Literal["together", "alone", "replace"]
"""What a point's move is compared with: its whole surface moves, it alone does (Eq. 11), or depth is not looked at."""

_CHUNK = 1 << 18
"""Points looked at together: bounds the memory that the backward pass takes beyond its result."""
_AXES = (0, 1)
_SIGNS = (1, -1)


@dataclass(frozen=True)
class Shown:
    """What a pyramid's pixels show: ``count`` [P] blended points and ``depth`` [P] of the nearest, as in ``Hits``."""

    count: torch.Tensor
    depth: torch.Tensor


@dataclass(frozen=True)
class Movers:
    """Points of one view whose moves count; none of it carries a derivative.

    ``pixels`` [K, 2] fine pixels; ``depth`` [K] scene units; ``drawn`` [K] int64: see ``layers_drawn``;
    ``relief`` [K]: relative change of depth from one fine pixel to the next that is still one surface, for moves
    ``together``; ``descriptors`` [K, D] linear, T.
    """

    pixels: torch.Tensor
    depth: torch.Tensor
    drawn: torch.Tensor
    relief: torch.Tensor
    descriptors: torch.Tensor

    def __len__(self) -> int:
        return self.pixels.shape[0]

    def split(self, size: int) -> Sequence[Movers]:
        """The same points in lots of at most ``size``."""
        lots = zip(*(getattr(self, field.name).split(size) for field in fields(self)), strict=True)
        return [Movers(*lot) for lot in lots]


def layers_drawn(radius: torch.Tensor, threshold: torch.Tensor, layers: int, gamma: float | None) -> torch.Tensor:
    """In how many layers, from the finest on, each point [K] is drawn: int64. See ``draws``.

    What is drawn in a layer is drawn in all finer ones, so that one number says it all.
    """
    if gamma is None:
        return torch.full(radius.shape, layers, dtype=torch.int64, device=radius.device)
    return torch.stack([draws(radius, threshold, level, gamma) for level in range(layers)]).sum(0)


def near_image(pixels: torch.Tensor, size: tuple[int, int], layers: int) -> torch.Tensor:
    """Whether positions ``pixels`` [N, 2] are in the image or could enter it by one pixel of the coarsest layer."""
    margin = 2 ** (layers - 1)
    return in_image(pixels + margin, (size[0] + 2 * margin, size[1] + 2 * margin))


@torch.no_grad()
def spatial_gradient(
    movers: Movers,
    image: torch.Tensor,
    gradient: torch.Tensor,
    hits: Shown | Hits,
    size: tuple[int, int],
    layers: int,
    alpha: float,
    moves: Moves = "together",
) -> torch.Tensor:
    """d loss / d position [K, 2] (u, v), per fine pixel: Eq. 9 to 11, summed over layers and channels.

    Not included: anything finer than a whole pixel; what becomes visible where a rendered point was, but for the rims
    of moves ``together`` (two opposite moves of one point uncover the same, so for one point it cancels; for a surface
    that moves as a whole it does not); points that drop out of the depth band of a nearer arrival; any change of depth,
    of culling or of discarding.

    ``image`` [P, D]: the finished pyramid, environment in it; ``gradient`` [P, D]: d loss / d image; ``hits``: of the
    points in the image; ``size`` (height, width). A pixel of layer l is 2^l fine pixels, so its change counts 2^-l. The
    result is a plain sum: nothing is normalised, step sizes are the optimiser's business.

    A point takes part in the layers that draw it. A point alone counts wherever it could arrive: also when it is hidden
    where it is, for it is seen after the move, and also from just outside the image. Arriving outside changes nothing.
    """
    offsets = pyramid_offsets(layer_sizes(*size, layers))
    total = image.new_zeros(len(movers), 2)
    for lot, sums in zip(movers.split(_CHUNK), total.split(_CHUNK), strict=True):
        for level, axis, sign in product(range(layers), _AXES, _SIGNS):
            moved, home, pixel = _arrivals(lot, axis, sign, size, level, offsets[level])
            share, uncovers = _shares(lot, moved, home, pixel, hits, level, alpha, moves)
            counts = torch.nonzero(share)[:, 0]
            moved, home, pixel = moved[counts], home[counts], pixel[counts]
            felt = gradient[pixel] + gradient[home] * uncovers[counts, None]
            change = share[counts].to(image) * ((lot.descriptors[moved].to(image) - image[pixel]) * felt).sum(1)
            sums[moved, axis] += 0.5 * sign * 2.0**-level * change
    return total


def _arrivals(
    movers: Movers, axis: int, sign: int, size: tuple[int, int], level: int, offset: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which movers [M] arrive in the image when all move by one pixel of ``level`` along ``axis``; the number of the
    pixel [M] that they leave, -1 outside the image, and of that [M] in which they arrive.
    """
    cell = movers.pixels.floor().to(torch.int64)
    target = cell.clone()
    target[:, axis] += sign * 2**level
    moved = torch.nonzero((movers.drawn > level) & in_image(target, size))[:, 0]
    cell, target = cell[moved], target[moved]
    home = torch.where(in_image(cell, size), pixel_numbers(cell, size, level) + offset, -1)
    return moved, home, pixel_numbers(target, size, level) + offset


def _shares(
    movers: Movers,
    moved: torch.Tensor,
    home: torch.Tensor,
    pixel: torch.Tensor,
    hits: Shown | Hits,
    level: int,
    alpha: float,
    moves: Moves,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The share [M] of its difference that each arrival brings, and whether [M] it uncovers as much where it was."""
    depth = movers.depth[moved].float()  # as the forward pass compares
    nothing = torch.zeros_like(moved, dtype=torch.bool)
    if moves == "replace":
        return torch.ones_like(depth, dtype=torch.float64), nothing
    if moves == "alone":
        return arrival_share(depth, hits.depth[pixel], hits.count[pixel], alpha), nothing
    band = alpha + 2**level * movers.relief[moved].float()
    return _together(depth, home, pixel, hits, alpha, band)


def arrival_share(
    depth: torch.Tensor, nearest: torch.Tensor, count: torch.Tensor, band: torch.Tensor | float
) -> torch.Tensor:
    """How much of its difference a point of ``depth`` [M] brings to a pixel (Eq. 11), [M] float64 in 0..1.

    ``nearest`` [M] and ``count`` [M]: depth (+inf where empty) and blended points of the pixel it arrives in; ``band``:
    relative width of what counts as equal depth.
    """
    in_front = depth * (1 + band) < nearest  # an empty pixel is infinitely far
    behind = depth > (1 + band) * nearest
    return torch.where(in_front, 1.0, (~behind).double() / (count + 1))


def _together(
    depth: torch.Tensor, home: torch.Tensor, pixel: torch.Tensor, hits: Shown | Hits, alpha: float, band: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Eq. 11 for a point whose neighbours move along: the same four cases, with three differences.

    - The depth band grows by what a slanted surface changes within one pixel, so that a surface is neither in front of
      itself nor behind.
    - A point that arrives in front is at a rim. The others of its pixel ``home`` arrive with it: its share is that of
      one among them. Moved the other way, they uncover what was behind, which is taken to look like the neighbour: the
      change at home is the same, with the same sign (as in EdgeGrad, Pidhorskyi et al. 2024, for meshes).
    - A point that is not seen at home is not part of the surface whose rim that is, and does not count.
    """
    seen = (home >= 0) & (depth <= (1 + alpha) * hits.depth[home])
    in_front = depth * (1 + band) < hits.depth[pixel]
    others = hits.count[home]
    share = arrival_share(depth, hits.depth[pixel], hits.count[pixel], band)
    return torch.where(in_front, 1 / (others.double() + 1), share) * seen, in_front & (others > 0)


def let_move(
    image: torch.Tensor,
    positions: torch.Tensor,
    movers: Movers,
    hits: Shown | Hits,
    size: tuple[int, int],
    layers: int,
    alpha: float,
    moves: Moves = "together",
) -> torch.Tensor:
    """``image`` [P, D] as it is, with ``spatial_gradient`` as its derivative by ``positions``.

    ``positions`` [K, 2]: the pixels of ``movers`` once more, as a differentiable function of whatever is to be fitted;
    only their derivative is used. In float64 they make all sums behind them float64. For the rest see
    ``spatial_gradient``.
    """
    return _Moving.apply(image, positions, movers, hits, (size, layers, alpha, moves))


class _Moving(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image: torch.Tensor, positions: torch.Tensor, movers: Movers, hits: Shown | Hits, how: Any
    ) -> Any:
        ctx.save_for_backward(image)
        ctx.seen, ctx.how, ctx.dtype = (movers, hits), how, positions.dtype
        return image.view_as(image)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (image,), (movers, hits) = ctx.saved_tensors, ctx.seen
        moves = spatial_gradient(movers, image, gradient, hits, *ctx.how).to(ctx.dtype)
        return gradient, moves, None, None, None
