"""The neural shader: rendered feature layers in, linear radiance out.

Holes between points, points that should be hidden, and the look of a surface between its points are all settled here.
In a scene of many stops the network reads and writes logarithms: convolutions that see 1000 beside 0.001 see only the
former.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import nn

from unrender.errors import RunError, ShapeError
from unrender.parameters import Parameter
from unrender.render.frame import Frame
from unrender.render.shade.decoder import Decoder
from unrender.render.shade.gated import upsample_to
from unrender.render.shade.settings import DecoderSettings, Precision, UNetSettings
from unrender.render.shade.unet import UNet

__all__ = ["DecoderSettings", "NetworkShader", "UNetSettings", "faster_precision", "radiance_from_raw"]

MID_GREY = 0.2
"""Radiance of an untrained network: photos are exposed for about this."""

LOG_RANGE = math.log(1e4)
"""Thirteen stops either side of mid-grey: within them radiance is kept as a logarithm."""

DIMMEST = MID_GREY * 1e-8
"""Least feature whose logarithm is told apart: 27 stops below mid-grey."""

Scale = Literal["linear", "log"]
"""What a head is once the frame is known."""

PREFIX = "shader.network."


class NetworkShader:
    """A convolutional network that reads every layer of a Frame; see UNetSettings and DecoderSettings.

    The same settings and seed give the same bits, and the global random state is left alone.
    """

    def __init__(self, settings: UNetSettings | DecoderSettings | None = None, *, seed: int = 0) -> None:
        self._settings = DecoderSettings() if settings is None else settings
        with torch.device("meta"):
            network = _build(self._settings)
        self._network = network.to_empty(device="cpu")
        _initialise(self._network, torch.Generator().manual_seed(seed))

    def __call__(self, frame: Frame) -> torch.Tensor:
        """Linear radiance [B, 3, H, W] float32, > 0.

        Raises ShapeError unless the frame has L = ``settings().levels`` feature layers of D channels,
        finest first, of ceil(H / 2^l) x ceil(W / 2^l) pixels.
        """
        head, layers = self._head(frame), self._checked(frame)
        if head == "log" and frame.logarithmic:
            layers = tuple((layer.clamp(min=DIMMEST) / MID_GREY).log2() for layer in layers)
        layers = tuple(layer.contiguous(memory_format=torch.channels_last) for layer in layers)
        with torch.autocast(layers[0].device.type, torch.bfloat16, enabled=self._settings.precision == "bfloat16"):
            maps = self._network(layers)
        # The last layer is always float32: eight bits of mantissa would show as bands in a smooth sky.
        # A 1x1 convolution is a matrix product over pixels; said so, it escapes a slow path of PyTorch's (measured).
        raw = self._network.final(maps.float().permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()
        if self._settings.skip:
            raw = raw + raw_from_radiance(filled_colors(frame), head)
        return radiance_from_raw(raw, head)

    def settings(self) -> UNetSettings | DecoderSettings:
        """What this shader was built from; with ``state`` it is all that a file needs."""
        return self._settings

    def parameters(self) -> tuple[Parameter, ...]:
        """Every weight and bias as ``shader.network.<torch name>``, in a fixed order."""
        return tuple(Parameter(PREFIX + name, raw) for name, raw in self._network.named_parameters())

    def state(self) -> dict[str, torch.Tensor]:
        """Copies of all tensors under the names of ``parameters``, ready for a file."""
        return {p.name: p.raw.detach().clone() for p in self.parameters()}

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy tensors in by name, in place. Raises RunError when names or shapes are not those of ``parameters``."""
        own = {p.name: p.raw for p in self.parameters()}
        given = {name for name in tensors if name.startswith(PREFIX)}
        if given != set(own):
            odd = sorted(given.symmetric_difference(own))
            raise RunError(
                "the stored network is another one", expected=f"{len(own)} tensors", got=f"{len(given)}, e.g. {odd[0]}"
            )
        for name, raw in own.items():
            if tensors[name].shape != raw.shape:
                got = list(tensors[name].shape)
                raise RunError("the stored network is another one", where=name, expected=list(raw.shape), got=got)
        with torch.no_grad():
            for name, raw in own.items():
                raw.copy_(tensors[name])

    def to(self, device: torch.device | str) -> NetworkShader:
        """Move the weights, in place; returns itself."""
        self._network.to(device)
        return self

    def with_precision(self, precision: Precision) -> NetworkShader:
        """The same network (shared weights, not a copy), its convolutions in ``precision``."""
        other = object.__new__(NetworkShader)
        other._settings = replace(self._settings, precision=precision)
        other._network = self._network
        return other

    def _head(self, frame: Frame) -> Scale:
        if self._settings.head == "auto":
            return "log" if frame.logarithmic else "linear"
        return self._settings.head

    def _checked(self, frame: Frame) -> tuple[torch.Tensor, ...]:
        layers, levels, channels = frame.features, self._settings.levels, self._settings.channels
        if layers is None:
            raise ShapeError("the frame has no features to shade", do="render a scene that has descriptors")
        if len(layers) != levels:
            raise ShapeError(
                "the frame and the network differ in layers",
                expected=f"L = {levels}",
                got=len(layers),
                do="rasterise with as many layers as the network has levels",
            )
        if self._settings.skip and frame.hits is None:
            raise ShapeError("a network with skip needs to know which pixels were hit", expected="frame.hits", got=None)
        batch, _, height, width = layers[0].shape
        for index, layer in enumerate(layers):
            expected = (batch, channels, -(-height // 2**index), -(-width // 2**index))
            if layer.shape != expected:
                got = list(layer.shape)
                raise ShapeError(
                    "wrong shape", where=f"features[{index}]", expected=f"[B, D, H, W] {expected}", got=got
                )
        return layers


def radiance_from_raw(raw: torch.Tensor, head: Scale) -> torch.Tensor:
    """Positive radiance from the network's unbounded output; raw 0 is mid-grey m = 0.2 under both heads.

    With t = raw / m (``linear``) or t = raw (``log``), and a range a..b of -log(10^4)..0 or -log(10^4)..log(10^4):
    m exp(t) within the range, its tangent line above, and a hyperbola of the same slope below. So the derivative is
    continuous. Within the range it is proportional to the radiance, so that an error of one stop pulls as hard in
    shadow as in light. Above, nothing overflows; below, it fades like 1 / t^2 and never dies, as ReLU would at
    once and an exponential soon after.
    """
    t, top = (raw / MID_GREY, 0.0) if head == "linear" else (raw, LOG_RANGE)
    within = t.clamp(-LOG_RANGE, top)
    return MID_GREY * torch.exp(within) * (1.0 + torch.relu(t - top)) / (1.0 + torch.relu(-LOG_RANGE - t))


def raw_from_radiance(radiance: torch.Tensor, head: Scale) -> torch.Tensor:
    """The raw output that ``radiance_from_raw`` turns into ``radiance``, which counts as no less than a hundredth of
    mid-grey (``linear``) or a 10^4-th (``log``).
    """
    relative = radiance / MID_GREY
    if head == "log":
        return relative.clamp(min=math.exp(-LOG_RANGE)).log()
    return MID_GREY * torch.where(relative < 1, relative.clamp(min=0.01).log(), relative - 1)


def filled_colors(frame: Frame) -> torch.Tensor:
    """The first three channels of the scene without holes, [B, 3, H, W]: of layer 1 where a point hit it, else of the
    first coarser layer that was hit, else the environment.

    Not of layer 0: few of its pixels are hit, and by single points, whose noise a network then has to undo.
    """
    if frame.features is None or frame.hits is None:
        raise ShapeError(
            "only a frame with features and hits has holes to fill", expected="features and hits", got=None
        )
    layers, hits = frame.features, frame.hits
    colors = layers[-1][:, :3]
    for layer, hit in zip(reversed(layers[1:-1]), reversed(hits[1:-1]), strict=True):
        colors = torch.where(hit > 0, layer[:, :3], upsample_to(colors, layer))
    return upsample_to(colors, layers[0]) if len(layers) > 1 else colors


def faster_precision(shader: NetworkShader, size: tuple[int, int], *, repeats: int = 5) -> Precision:
    """The precision in which one forward and backward pass at ``size`` = (H, W) is faster on this machine.

    Both are timed in turns and the fastest pass of each counts, so that other work on the machine disturbs little.
    ``bfloat16`` must win by a tenth, because it rounds. Measure once and write the answer into the run:
    two precisions give different bits. Gradients of the shader are left as they were.
    """
    frame = _random_frame(shader, size)
    best: dict[Precision, float] = {}
    for attempt in range(repeats + 1):
        for precision in ("float32", "bfloat16"):
            seconds = _seconds_of_a_pass(shader.with_precision(precision), frame)
            if attempt > 0:  # the first pass of each pays for allocation and code generation
                best[precision] = min(seconds, best.get(precision, seconds))
    return "bfloat16" if best["bfloat16"] < 0.9 * best["float32"] else "float32"


def _seconds_of_a_pass(shader: NetworkShader, frame: Frame) -> float:
    leaves = [p.raw for p in shader.parameters()] + list(frame.features or ())
    begin = time.perf_counter()
    torch.autograd.grad(shader(frame).mean(), leaves)
    if leaves[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def _random_frame(shader: NetworkShader, size: tuple[int, int]) -> Frame:
    settings, device = shader.settings(), shader.parameters()[0].raw.device
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, settings.channels, -(-size[0] // 2**n), -(-size[1] // 2**n)) for n in range(settings.levels)]
    layers = (torch.rand(shape, generator=generator).to(device).requires_grad_() for shape in shapes)
    hits = (torch.ones(1, 1, *shape[2:], dtype=torch.int32, device=device) for shape in shapes)
    return Frame(features=tuple(layers), hits=tuple(hits))


def _build(settings: UNetSettings | DecoderSettings) -> UNet | Decoder:
    if isinstance(settings, UNetSettings):
        return UNet(settings.channels, settings.widths)
    return Decoder(settings.channels, settings.levels, settings.width)


def _initialise(network: UNet | Decoder, generator: torch.Generator) -> None:
    """Uniform in +-1 / sqrt(fan-in), zero biases; the last layer a tenth of that, so that the start is mid-grey."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = module.weight[0].numel() ** -0.5 * (0.1 if name == "final" else 1.0)
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
