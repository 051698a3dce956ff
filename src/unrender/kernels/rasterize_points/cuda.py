"""The one-pixel rasteriser on the GPU: launches the kernels of ``cuda.cu``.

Nothing here waits for the GPU. Letters: N points, V views, P pixels of the whole pyramid, D channels.
"""

from __future__ import annotations

import math
from ctypes import c_float, c_int, c_int64, c_uint32
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unrender.kernels.nvrtc import THREADS, Kernels, kernels
from unrender.kernels.rasterize_points.cuda_blocks import SortedPoints
from unrender.kernels.rasterize_points.reference import layer_sizes, pyramid_offsets

__all__ = ["backward", "forward"]

SOURCE = Path(__file__).with_name("cuda.cu")
_BLOCKS_PER_PROCESSOR = 8


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
    made = _kernels(device, channels, descriptors.dtype == torch.float16)
    call, grid = _call(made, cloud, views, seed, numbers)
    descriptors = descriptors.contiguous()
    sums = torch.zeros(*shape, channels, dtype=torch.int64, device=device)
    features = torch.empty(*shape, channels, device=device)
    most = torch.zeros(len(views), dtype=torch.int32, device=device)
    room = c_int(min(62 - cloud.scene_points.bit_length(), 46))  # in the halves of a `Patch` 256 fit into 54
    pixels = c_uint32(shape[1])
    points, image = (call.arguments, _at(descriptors), _at(depth), pixels, _at(most)), _over(shape, channels)
    made.launch("nearest", grid, *points[0], *points[1:])
    made.launch("blend", grid, *points[0], *points[1:], _band(numbers), room, _at(sums), _at(count))
    made.launch("finish", image, _at(sums), _at(most), room, _at(count), pixels, _at(features))
    made.launch("unmark", _over(shape, 1), _at(count), pixels)
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
    made = _kernels(device, channels, half=False)
    call, grid = _call(made, cloud, views, seed, numbers)
    scaled = torch.empty(*shape, channels, device=device)
    steps, pixels = [c_int64(step) for step in gradient.stride()], c_uint32(shape[1])
    made.launch("unmean", _over(shape, channels), _at(gradient), *steps, _at(count), pixels, _at(scaled))
    for view in range(len(views)):
        tensors = (_at(scaled), _at(depth), pixels, _band(numbers), c_uint32(view), _at(into))
        made.launch("pull", (grid[0], 1), *call.arguments, *tensors)
    return into


class _Call(NamedTuple):
    """``arguments``: what kernels that look at points are told; ``holds``: tensors that they point to."""

    arguments: tuple[Any, ...]
    holds: tuple[torch.Tensor, ...]


def _call(
    made: Kernels, cloud: SortedPoints, views: torch.Tensor, seed: torch.Tensor, numbers: Numbers
) -> tuple[_Call, tuple[int, int]]:
    """Finds the blocks that may be seen; the call, and a grid that fills the GPU."""
    device, blocks, points = cloud.points.device, len(cloud.blocks), cloud.points.shape[1]
    # Small, so that CUDA copies them before it returns: nothing waits, also where they come from the CPU.
    rows = views.to(device, torch.float32, non_blocking=True).contiguous()
    seed = seed.to(device, non_blocking=True)
    tasks = torch.empty(len(views), blocks, 4, dtype=torch.int32, device=device)
    count = torch.zeros(len(views), dtype=torch.int32, device=device)
    size = (c_int(numbers.height), c_int(numbers.width))
    sorted_points = (_at(cloud.blocks), c_uint32(blocks), c_uint32(points))
    grid = (-(-blocks // THREADS), len(views))
    made.launch("cull", grid, *sorted_points, _at(rows), *size, c_float(numbers.gamma), _at(tasks), _at(count))
    ghosts = min(int(max(numbers.ghosts, 0.0) * 2**32), 2**32 - 1)
    arguments = (
        *(_at(cloud.points), _at(cloud.index), c_uint32(points)),
        *(_at(tasks), _at(count), c_uint32(blocks)),
        *(_at(rows), _at(seed)),
        *(*size, c_int(numbers.layers), c_float(numbers.gamma), c_uint32(ghosts)),
    )
    enough = max(1, math.ceil(_BLOCKS_PER_PROCESSOR * made.processors / len(views)))
    return _Call(arguments, (rows, seed, tasks, count)), (min(blocks, enough), len(views))


def _over(shape: tuple[int, int], channels: int) -> tuple[int, int]:
    """The grid with one thread for every channel of every pixel [V, P]."""
    return -(-shape[1] * channels // THREADS), shape[0]


def _band(numbers: Numbers) -> c_float:
    return c_float(1 + numbers.alpha)


def _at(tensor: torch.Tensor) -> int:
    return tensor.data_ptr()


def _kernels(device: torch.device, channels: int, half: bool) -> Kernels:
    defines = (("UNRENDER_CHANNELS", str(channels)), *((("UNRENDER_HALF", "1"),) if half else ()))
    return kernels(SOURCE, device, defines)
