"""The one-pixel rasteriser on the GPU: launches the kernels of ``cuda.cu``.

Nothing here waits for the GPU. Letters: N points, V views, P pixels of the whole pyramid, D channels.
"""

from __future__ import annotations

from ctypes import c_float, c_int, c_int64, c_uint32
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unrender.kernels.nvrtc import THREADS, Kernels, Launch, kernels
from unrender.kernels.rasterize_points.cuda_blocks import SortedPoints
from unrender.kernels.rasterize_points.reference import layer_sizes, pyramid_offsets
from unrender.kernels.rasterize_points.views import FIELDS

__all__ = ["backward", "forward", "spatial"]

SOURCE = Path(__file__).with_name("cuda.cu")
_BLOCKS_PER_PROCESSOR = 8
_FAMILY_AT = sum(FIELDS[name] for name in list(FIELDS)[: list(FIELDS).index("family")])


class Numbers(NamedTuple):
    """The operator's numbers; ``gamma`` below 0 draws every point."""

    height: int
    width: int
    layers: int
    alpha: float
    gamma: float
    ghosts: float

    @property
    def pixels(self) -> int:
        """P."""
        return pyramid_offsets(layer_sizes(self.height, self.width, self.layers))[-1]


def forward(
    cloud: SortedPoints, descriptors: torch.Tensor, views: torch.Tensor, seed: torch.Tensor, numbers: Numbers
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features [V, P, D], counts [V, P] int32 and depths [V, P] of ``views``; see ``rasterize_points``."""
    shape, channels, device = (len(views), numbers.pixels), descriptors.shape[1], descriptors.device
    depth = torch.full(shape, torch.inf, device=device)
    count = torch.zeros(shape, dtype=torch.int32, device=device)
    if not (len(views) and len(cloud.index) and channels):
        return torch.zeros(*shape, channels, device=device), count, depth
    descriptors = descriptors.contiguous()
    sums = torch.zeros(shape[0] * shape[1] * channels + 1, dtype=torch.int64, device=device)
    features, most = torch.empty(*shape, channels, device=device), sums[-1]
    room, pixels = c_int(62 - cloud.scene_points.bit_length()), c_uint32(shape[1])
    with _kernels(views, device, channels, numbers.layers, descriptors.dtype).queue() as launch:
        call = _call(launch, cloud, views, seed, numbers)
        launch("largest", call.grid, *call.arguments, _at(descriptors), _at(most))
        launch("nearest", call.grid, *call.arguments, _at(depth), pixels)
        image = (_at(descriptors), _at(depth), pixels, _at(most), _band(numbers), room, _at(sums), _at(count))
        launch("blend", call.grid, *call.arguments, *image)
        launch("finish", _over(shape), _at(sums), _at(most), room, _at(count), pixels, _at(features))
    return features, count, depth


def backward(
    cloud: SortedPoints,
    gradient: torch.Tensor,
    count: torch.Tensor,
    depth: torch.Tensor,
    views: torch.Tensor,
    seed: torch.Tensor,
    numbers: Numbers,
) -> torch.Tensor:
    """d loss / d descriptors [N, D] float32, from d loss / d features ``gradient`` [V, P, D] in any layout."""
    shape, channels, device = (len(views), numbers.pixels), gradient.shape[2], gradient.device
    into = torch.zeros(cloud.scene_points, channels, device=device)
    if not (len(views) and len(cloud.index) and channels):
        return into
    scaled, pixels = torch.empty(*shape, channels, device=device), c_uint32(shape[1])
    with _kernels(views, device, channels, numbers.layers).queue() as launch:
        call = _call(launch, cloud, views, seed, numbers)
        steps = [c_int64(step) for step in gradient.stride()]
        launch("unmean", _over(shape), _at(gradient), *steps, _at(count), pixels, _at(scaled))
        tensors = (_at(scaled), _at(depth), pixels, _band(numbers))
        for view in range(len(views)):
            launch("pull", (call.grid[0], 1), *call.arguments, *tensors, c_uint32(view), _at(into))
    return into


def spatial(
    cloud: SortedPoints,
    shown: tuple[torch.Tensor, ...],
    descriptors: torch.Tensor,
    views: torch.Tensor,
    seed: torch.Tensor,
    numbers: Numbers,
    how: tuple[int, int, float],
    asked: tuple[bool, bool],
) -> tuple[torch.Tensor, torch.Tensor]:
    """d loss / d position [N, 3] and d loss / d row [V, R] float64 on the GPU; empty what is not ``asked`` for.

    ``shown``: image and its gradient [V, P, D], counts and depths [V, P]; ``how``: carriers, moves and slope.
    """
    device, (by_position, by_view) = cloud.points.device, asked
    position = torch.zeros(cloud.scene_points if by_position else 0, 3, device=device)
    rows = torch.zeros(len(views) if by_view else 0, views.shape[1], dtype=torch.float64, device=device)
    if not (len(views) and len(cloud.index) and any(asked)):
        return position, rows
    images, descriptors = [tensor.contiguous() for tensor in shown], descriptors.float().contiguous()
    carriers, moves, slope = c_int(how[0]), c_int(how[1]), c_float(how[2])
    bands = (_band(numbers), c_float(numbers.alpha))
    with _kernels(views, device, descriptors.shape[1], numbers.layers).queue() as launch:
        call = _call(launch, cloud, views, seed, numbers, rim=2 ** (numbers.layers - 1))
        for view in range(len(views)):
            parts = torch.zeros(len(cloud.blocks) if by_view else 0, views.shape[1], dtype=torch.float64, device=device)
            tensors = (*(_at(image[view]) for image in images), _at(descriptors))
            into = (_at(position) if by_position else 0, _at(parts) if by_view else 0)
            rule = (carriers, moves, slope, *bands, c_uint32(view))
            launch("move", (call.grid[0], 1), *call.arguments, *tensors, *rule, *into)
            if by_view:
                rows[view] = parts.sum(0)
    return position, rows


class _Call(NamedTuple):
    """``arguments``: what kernels that look at points are told; ``grid``: one that fills the GPU; ``holds``: tensors
    that the arguments point to.
    """

    arguments: tuple[Any, ...]
    grid: tuple[int, int]
    holds: tuple[torch.Tensor, ...]


def _call(
    launch: Launch, cloud: SortedPoints, views: torch.Tensor, seed: torch.Tensor, numbers: Numbers, rim: int = 0
) -> _Call:
    """Finds the blocks that may be seen, with a ``rim`` of pixels around each view."""
    device, blocks, points = cloud.points.device, len(cloud.blocks), cloud.points.shape[1]
    # Small, so that CUDA copies them before it returns: nothing waits, also where they come from the CPU.
    rows = views.to(device, torch.float32, non_blocking=True).contiguous()
    seed = seed.to(device, non_blocking=True)
    tasks = torch.empty(len(views), blocks, 2, dtype=torch.int32, device=device)
    made = torch.zeros(len(views), dtype=torch.int32, device=device)
    size = (c_int(numbers.height), c_int(numbers.width))
    sorted_blocks = (_at(cloud.blocks), c_uint32(blocks), c_uint32(points))
    grid = (-(-blocks // THREADS), len(views))
    launch("cull", grid, *sorted_blocks, _at(rows), *size, c_int(rim), c_float(numbers.gamma), _at(tasks), _at(made))
    ghosts = min(int(max(numbers.ghosts, 0.0) * 2**32), 2**32 - 1)
    arguments = (
        *(_at(cloud.points), _at(cloud.index), c_uint32(points)),
        *(_at(tasks), _at(made), c_uint32(blocks)),
        *(_at(rows), _at(seed), *size, c_float(numbers.gamma), c_uint32(ghosts)),
    )
    enough = max(1, _BLOCKS_PER_PROCESSOR * launch.processors // len(views))
    return _Call(arguments, (min(blocks, enough), len(views)), (rows, seed, tasks, made))


def _over(shape: tuple[int, int]) -> tuple[int, int]:
    """The grid with one thread for every pixel [V, P]."""
    return -(-shape[1] // THREADS), shape[0]


def _band(numbers: Numbers) -> c_float:
    return c_float(1 + numbers.alpha)


def _at(tensor: torch.Tensor) -> int:
    return tensor.data_ptr()


_PRECISIONS = {torch.float32: "32", torch.float16: "16", torch.bfloat16: "8"}


def _kernels(
    views: torch.Tensor, device: torch.device, channels: int, layers: int, dtype: torch.dtype = torch.float32
) -> Kernels:
    sizes = (("UNRENDER_CHANNELS", str(channels)), ("UNRENDER_LAYERS", str(layers)))
    return kernels(SOURCE, device, (*sizes, ("UNRENDER_PRECISION", _PRECISIONS[dtype]), *_family(views)))


def _family(views: torch.Tensor) -> tuple[tuple[str, str], ...]:
    """The family of all lenses; nothing where they are of several, or on the GPU, which would have to be waited for."""
    if views.device.type != "cpu":
        return ()
    families = set(views[:, _FAMILY_AT].tolist())
    return (("UNRENDER_FAMILY", str(int(families.pop()))),) if len(families) == 1 else ()
