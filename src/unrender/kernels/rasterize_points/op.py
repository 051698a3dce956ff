"""One-pixel point rasterisation: one call, and whichever implementation is there behind it.

``rasterize_points`` runs the compiled kernel of the tensors' device where there is one and they are float32, and the
PyTorch reference otherwise. All give the same hits to the bit and the same features to rounding.

Letters: N points, V views, L layers, P pixels of the whole pyramid (``reference.pyramid_offsets``), D channels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from unrender.kernels.loader import gpu, native
from unrender.kernels.rasterize_points import cuda
from unrender.kernels.rasterize_points.cuda_blocks import sort_points
from unrender.kernels.rasterize_points.projection import ghosts, project
from unrender.kernels.rasterize_points.reference import blend, find_hits, layer_sizes, pyramid_offsets

__all__ = ["Geometry", "Pyramids", "Rules", "rasterize_points"]


class Geometry(NamedTuple):
    """``position``, ``normal`` [N, 3], ``radius``, ``threshold`` [N] of a point scene, relative to its origin.

    The compiled kernel sorts them at the first call and keeps the result while these tensors live and are not changed
    through PyTorch; a change made behind its back (``.data``, NumPy) is not seen.
    """

    position: torch.Tensor
    normal: torch.Tensor
    radius: torch.Tensor
    threshold: torch.Tensor


@dataclass(frozen=True)
class Rules:
    """``height``, ``width`` of the finest of ``layers`` layers; ``alpha``: relative width of the fuzzy depth band
    (Eq. 6); ``gamma``: of stochastic discarding (Eq. 12), None draws every point; ``ghosts``: share of points left out.
    """

    height: int
    width: int
    layers: int
    alpha: float
    gamma: float | None
    ghosts: float = 0.0


class Pyramids(NamedTuple):
    """``features`` [V, P, D] mean descriptors, zero where no point is; ``counts`` [V, P] int32 blended points;
    ``depths`` [V, P] float32 of the nearest point, +inf where none is.
    """

    features: torch.Tensor
    counts: torch.Tensor
    depths: torch.Tensor


def rasterize_points(
    geometry: Geometry, descriptors: torch.Tensor, views: torch.Tensor, rules: Rules, seed: torch.Tensor | None = None
) -> Pyramids:
    """The pyramids of ``views`` [V, R] (rows of ``pack_views``), Eq. 2 to 7 of ADOP, with ``descriptors`` [N, D].

    ``seed``: int64 scalar tensor that says which points are ghosts. Points that are not finite are never seen.
    Gradient: exact to the descriptors; none to geometry and views. Same inputs, same bits, whatever the number of
    threads (``torch.get_num_threads()`` of them work). Descriptors may be float16 or
    bfloat16: features and the sums behind them are float32 then.
    """
    seed = torch.zeros((), dtype=torch.int64) if seed is None else seed
    tensors = (*geometry, descriptors)
    if _compiled(geometry, descriptors):
        gamma = -1.0 if rules.gamma is None else rules.gamma
        numbers = (rules.height, rules.width, rules.layers, rules.alpha, gamma, rules.ghosts)
        return Pyramids(*torch.ops.unrender.rasterize_points(*tensors, views, seed, *numbers))
    return _reference(geometry, descriptors, views, rules, seed)


_PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


def _compiled(geometry: Geometry, descriptors: torch.Tensor) -> bool:
    """Whether a compiled kernel takes these tensors."""
    devices = {tensor.device for tensor in (*geometry, descriptors)}
    if len(devices) != 1 or any(tensor.dtype != torch.float32 for tensor in geometry):
        return False
    match devices.pop().type:
        case "cpu":
            return descriptors.dtype in _PRECISIONS and native() is not None
        case "cuda":
            return descriptors.dtype in _PRECISIONS and gpu()
    return False


def _reference(
    geometry: Geometry, descriptors: torch.Tensor, views: torch.Tensor, rules: Rules, seed: torch.Tensor
) -> Pyramids:
    """The same in PyTorch, view by view."""
    descriptors = descriptors.float() if descriptors.dtype in _PRECISIONS else descriptors
    size = (rules.height, rules.width)
    fixed = Geometry(*(tensor.detach() for tensor in geometry))
    drawn = []
    for number, view in enumerate(views):
        seen = project(*fixed, view)
        keep = seen.keep
        if rules.ghosts > 0:
            points = torch.arange(len(keep), device=keep.device)
            keep = keep & ~ghosts(int(seed), number, points, rules.ghosts)
        certain = torch.zeros_like(seen.reach)  # beta is in the reach
        hits = find_hits(
            seen.pixels, seen.depth, seen.reach, certain, keep, size, rules.layers, rules.alpha, rules.gamma
        )
        drawn.append((blend(descriptors, hits), hits.count.int(), hits.depth))
    if not drawn:
        pixels = pyramid_offsets(layer_sizes(*size, rules.layers))[-1]
        none = torch.zeros(0, pixels, device=descriptors.device)
        return Pyramids(descriptors.new_zeros(0, pixels, descriptors.shape[1]), none.int(), none)
    return Pyramids(*(torch.stack(parts) for parts in zip(*drawn, strict=True)))


# The compiled kernel as an operator of PyTorch, for autograd and torch.compile.

_RULES = "int height, int width, int layers, float alpha, float gamma, float ghosts"
_POINTS = "Tensor position, Tensor normal, Tensor radius, Tensor threshold"


@torch.library.custom_op(
    "unrender::rasterize_points",
    mutates_args=(),
    device_types="cpu",
    schema=f"({_POINTS}, Tensor descriptors, Tensor views, Tensor seed, {_RULES}) -> (Tensor, Tensor, Tensor)",
)
def _forward(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    *geometry, descriptors, views, seed = (t.detach() for t in arguments[:7])
    module = _module()
    shape = (len(views), _pixels(*arguments[7:10]))
    features = _floats(module, (*shape, descriptors.shape[1]))
    count, depth = _ints(module, shape), _floats(module, shape)
    if len(views):
        _sorted(module.Rasterizer, *geometry).forward(
            views.contiguous(),
            descriptors.contiguous(),
            features,
            count,
            depth,
            *arguments[7:],
            int(seed),
            torch.get_num_threads(),
        )
    return features, count, depth


@_forward.register_kernel("cuda")
def _(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    *geometry, descriptors, views, seed = (t.detach() for t in arguments[:7])
    return cuda.forward(_sorted(None, *geometry), descriptors, views, seed, cuda.Numbers(*arguments[7:]))


@_forward.register_fake
def _(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    descriptors, views = arguments[4], arguments[5]
    shape = (views.shape[0], _pixels(*arguments[7:10]))
    features, depth = (descriptors.new_empty(s, dtype=torch.float32) for s in ((*shape, descriptors.shape[1]), shape))
    return features, descriptors.new_empty(shape, dtype=torch.int32), depth


@torch.library.custom_op(
    "unrender::rasterize_points_backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor gradient, Tensor count, Tensor depth, {_POINTS}, Tensor views, Tensor seed, {_RULES}) -> Tensor",
)
def _backward(gradient: torch.Tensor, count: torch.Tensor, depth: torch.Tensor, *arguments: Any) -> torch.Tensor:
    *geometry, views, seed = (t.detach() for t in arguments[:6])
    module, threads = _module(), torch.get_num_threads()
    into = _floats(module, (len(geometry[0]), gradient.shape[2]))
    module.clear(into, threads)
    if len(views):
        cloud = _sorted(module.Rasterizer, *geometry)
        cloud.backward(views, gradient, count, depth, into, *arguments[6:], int(seed), threads)
    return into


@_backward.register_kernel("cuda")
def _(gradient: torch.Tensor, count: torch.Tensor, depth: torch.Tensor, *arguments: Any) -> torch.Tensor:
    *geometry, views, seed = (t.detach() for t in arguments[:6])
    return cuda.backward(_sorted(None, *geometry), gradient, count, depth, views, seed, cuda.Numbers(*arguments[6:]))


@_backward.register_fake
def _(gradient: torch.Tensor, *arguments: Any) -> torch.Tensor:
    position = arguments[2]
    return gradient.new_empty(position.shape[0], gradient.shape[2])


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
    _, count, depth = output
    ctx.mark_non_differentiable(count, depth)
    ctx.set_materialize_grads(False)  # no zeros for what has no gradient
    ctx.save_for_backward(count, depth, *inputs[:4], *inputs[5:7])
    ctx.numbers, ctx.dtype = inputs[7:], inputs[4].dtype


def _pull_back(ctx: Any, gradient: torch.Tensor | None, *_: Any) -> tuple[torch.Tensor | None, ...]:
    if gradient is None or not ctx.needs_input_grad[4]:
        return (None,) * 13
    into = torch.ops.unrender.rasterize_points_backward(gradient, *ctx.saved_tensors, *ctx.numbers)
    return (None,) * 4 + (into.to(ctx.dtype),) + (None,) * 8


_forward.register_autograd(_pull_back, setup_context=_keep_for_backward)


def _pixels(height: int, width: int, layers: int) -> int:
    """P."""
    return pyramid_offsets(layer_sizes(height, width, layers))[-1]


def _module() -> ModuleType:
    module = native()
    if module is None:
        raise RuntimeError("torch.ops.unrender needs the compiled kernels; rasterize_points does without")
    return module


_LARGE = 2**18  # numbers; what is smaller than a mebibyte is quickly made anew


def _floats(module: ModuleType, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor with any contents, in memory that was used before where it is large."""
    large = torch.Size(shape).numel() >= _LARGE
    return module.floats(shape) if large else torch.empty(shape)


def _ints(module: ModuleType, shape: tuple[int, ...]) -> torch.Tensor:
    large = torch.Size(shape).numel() >= _LARGE
    return module.ints(shape) if large else torch.empty(shape, dtype=torch.int32)


# Sorted point clouds, kept while their tensors live and do not change.


@dataclass(frozen=True)
class _Identity:
    """A tensor's memory and how often it was written to, without holding it."""

    storage: StorageWeakRef
    place: tuple[Any, ...]
    version: int

    @staticmethod
    def of(tensor: torch.Tensor) -> _Identity:
        place = (tensor.storage_offset(), tensor.shape, tensor.stride())
        return _Identity(StorageWeakRef(tensor.untyped_storage()), place, tensor._version)


_MOST_KEPT = 2
_kept: dict[tuple[_Identity, ...], Any] = {}
_kept_lock = threading.Lock()


def _sorted(make: Callable[..., Any] | None, *geometry: torch.Tensor) -> Any:
    """The cloud of ``geometry``, sorted, as ``make`` does it on the CPU or for the GPU; kept for the next call."""
    if any(tensor.is_inference() for tensor in geometry):  # they do not say when they change
        return _sort(make, geometry)
    key = tuple(_Identity.of(tensor) for tensor in geometry)
    with _kept_lock:
        for old in [old for old in _kept if any(part.storage.expired() for part in old)]:
            del _kept[old]
        if key not in _kept:
            while len(_kept) >= _MOST_KEPT:
                del _kept[next(iter(_kept))]
            _kept[key] = _sort(make, geometry)
        _kept[key] = _kept.pop(key)  # the last is the one used last
        return _kept[key]


def _sort(make: Callable[..., Any] | None, geometry: tuple[torch.Tensor, ...]) -> Any:
    contiguous = [tensor.contiguous() for tensor in geometry]
    return sort_points(*contiguous) if make is None else make(*contiguous, torch.get_num_threads())
