"""How far two images are apart in the eyes of VGG-19, for those who have its weights.

The layers and their plain sum are those of ADOP (and NPBG before it). ADOP used the Caffe weights on 0..255 images, so
its published values are much larger than these.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from unrender.errors import UnrenderError
from unrender.losses.photometric import checked_weight, seen

__all__ = ["VGGLoss"]

# Output channels of each convolution, between the pools, up to relu5_1; every one of them is compared.
STAGES = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512,))
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class VGGLoss(nn.Module):
    """Sum over relu1_1, 1_2, 2_1, 2_2, 3_1..3_4, 4_1..4_4, 5_1 of the mean absolute difference of the activations.

    Max pooling is replaced by average pooling, and sRGB images in 0..1 are standardised with the ImageNet
    mean and deviation, as torchvision's weights expect. The weights are constants.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, weights: Path | str) -> None:
        """Read ``weights``: torchvision's vgg19 state dict (.pth, .safetensors). Raises UnrenderError."""
        super().__init__()
        tensors, index, inputs = _read(Path(weights)), 0, 3
        self.stages = nn.ModuleList()
        for stage in STAGES:
            convolutions = nn.ModuleList()
            for outputs in stage:
                convolutions.append(_convolution(tensors, index, inputs, outputs, weights))
                index, inputs = index + 2, outputs  # torchvision counts the ReLU between two convolutions
            self.stages.append(convolutions)
            index += 1  # and the pool between two stages
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """[B, 3, H, W] sRGB in 0..1 -> scalar. Pixels of ``weight`` 0 [B, 1, H, W] are black in both."""
        weight = checked_weight(image, target, weight)
        if weight is not None:
            image, target = seen(image, weight), seen(target, weight)
        with torch.no_grad():
            expected = self.activations(target)
        parts = [functional.l1_loss(a, b) for a, b in zip(self.activations(image), expected, strict=True)]
        return torch.stack(parts).sum()

    def activations(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The thirteen compared maps of [B, 3, H, W], finest first."""
        x, out = (image - self.mean) / self.deviation, []
        for number, stage in enumerate(self.stages):
            x = functional.avg_pool2d(x, 2) if number else x
            for convolution in stage.children():
                x = functional.relu(convolution(x))
                out.append(x)
        return out


def _convolution(
    tensors: Mapping[str, torch.Tensor], index: int, inputs: int, outputs: int, path: Path | str
) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, device="meta")
    for part, expected in (("weight", [outputs, inputs, 3, 3]), ("bias", [outputs])):
        name = f"features.{index}.{part}"
        got = list(tensors[name].shape) if name in tensors else "nothing"
        if got != expected:
            what = f"these are not the weights of torchvision's vgg19: {name}"
            raise UnrenderError(what, where=path, expected=expected, got=got)
        setattr(convolution, part, nn.Parameter(tensors[name].float()))
    return convolution


def _read(path: Path) -> dict[str, torch.Tensor]:
    advice = "set loss.vgg to 0, or give loss.vgg_weights a file with torchvision's vgg19 state dict"
    if not path.is_file():
        raise UnrenderError("no VGG-19 weights here", where=path, do=advice)
    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception:  # noqa: BLE001  torch's unpickler meets rubbish with whatever its opcodes make of it
        tensors = None
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise UnrenderError(
            "cannot read VGG-19 weights", where=path, expected="a .pth or .safetensors state dict", do=advice
        )
    return dict(tensors)
