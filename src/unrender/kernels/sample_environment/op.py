"""The environment behind empty pixels: one call, and whichever implementation is there behind it.

``fill_environment`` runs the compiled kernel where tensors are on the CPU and float32, and the PyTorch reference
otherwise. Both agree to rounding.

Letters: V views, P pixels of the whole pyramid (``rasterize_points.reference.pyramid_offsets``), D channels, He We
size of the environment map.
"""

from __future__ import annotations

from typing import Any

import torch

from unrender.kernels.loader import native
from unrender.kernels.rasterize_points.op import _floats, _module
from unrender.kernels.sample_environment import reference

__all__ = ["fill_environment"]


def fill_environment(
    features: torch.Tensor,
    counts: torch.Tensor,
    texture: torch.Tensor,
    views: torch.Tensor,
    size: tuple[int, int],
    layers: int,
) -> torch.Tensor:
    """``features`` [V, P, D], to which every pixel whose ``counts`` [V, P] int32 is 0 has its environment added (it
    holds 0 before): the bilinear sample of ``texture`` [D, He, We] along the ray through the pixel's centre.

    ``views`` [V, R] float64: rows of ``pack_views``; ``size``: (height, width) [pixels] of the finest of ``layers``
    layers. The texture is equirectangular (``geometry/equirect.py``); columns wrap around, rows end at the poles.
    Gradient: exact to features and texture; none to views. Same inputs, same bits, whatever the number of threads.
    """
    if _compiled(features, counts, texture, views):
        return torch.ops.unrender.fill_environment(features, counts, texture, views.detach(), *size, layers)
    return reference.fill_environment(features, counts, texture, views, size, layers)


def _compiled(features: torch.Tensor, counts: torch.Tensor, texture: torch.Tensor, views: torch.Tensor) -> bool:
    """Whether the compiled kernel takes these tensors."""
    if any(tensor.device.type != "cpu" for tensor in (features, counts, texture, views)):
        return False
    types = (features.dtype, counts.dtype, texture.dtype, views.dtype)
    return types == (torch.float32, torch.int32, torch.float32, torch.float64) and native() is not None


# The compiled kernel as an operator of PyTorch, for autograd and torch.compile.

_SIZE = "int height, int width, int layers"


@torch.library.custom_op(
    "unrender::fill_environment",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor features, Tensor counts, Tensor texture, Tensor views, {_SIZE}) -> Tensor",
)
def _forward(
    features: torch.Tensor, counts: torch.Tensor, texture: torch.Tensor, views: torch.Tensor, *numbers: int
) -> torch.Tensor:
    module = _module()
    filled = _floats(module, tuple(features.shape))
    tensors = (tensor.detach().contiguous() for tensor in (features, counts, texture, views))
    module.fill_environment(*tensors, filled, *numbers, torch.get_num_threads())
    return filled


@_forward.register_fake
def _(features: torch.Tensor, *_: Any) -> torch.Tensor:
    return features.new_empty(features.shape)


@torch.library.custom_op(
    "unrender::fill_environment_backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor gradient, Tensor counts, Tensor views, int map_height, int map_width, {_SIZE}) -> Tensor",
)
def _backward(
    gradient: torch.Tensor, counts: torch.Tensor, views: torch.Tensor, map_height: int, map_width: int, *numbers: int
) -> torch.Tensor:
    module, threads = _module(), torch.get_num_threads()
    into = _floats(module, (gradient.shape[2], map_height, map_width))
    module.clear(into, threads)
    module.pull_environment(gradient.detach(), counts.contiguous(), views.contiguous(), into, *numbers, threads)
    return into


@_backward.register_fake
def _(gradient: torch.Tensor, _counts: Any, _views: Any, map_height: int, map_width: int, *_: int) -> torch.Tensor:
    return gradient.new_empty(gradient.shape[2], map_height, map_width)


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001
    _, counts, texture, views, *numbers = inputs
    ctx.save_for_backward(counts, views)
    ctx.numbers = (*texture.shape[1:], *numbers)


def _pull_back(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    into = None
    if ctx.needs_input_grad[2]:
        into = torch.ops.unrender.fill_environment_backward(gradient, *ctx.saved_tensors, *ctx.numbers)
    return (gradient, None, into) + (None,) * 4


_forward.register_autograd(_pull_back, setup_context=_keep_for_backward)
