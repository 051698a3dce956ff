"""LPIPS, for those who have the lpips package and its weights (Zhang et al. 2018)."""

from __future__ import annotations

import importlib
import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from unrender.errors import UnrenderError

__all__ = ["DEFINITION", "lpips"]

DEFINITION = (
    "LPIPS 0.1 with AlexNet, by the authors' lpips package, sRGB images clamped to 0..1 and mapped to -1..1, "
    "whole image; 0 is equal"
)


def lpips(image: torch.Tensor, reference: torch.Tensor, weights: Path | str) -> float:
    """LPIPS of two images [3, H, W] in 0..1. See ``DEFINITION``.

    ``weights``: the state dict of ``lpips.LPIPS(net="alex")``, .pth or .safetensors. Nothing is ever downloaded.
    Raises UnrenderError when the package or the weights are missing or do not fit.
    """
    network = _network(str(weights))
    pair = (2.0 * x.detach().clamp(0, 1).float().cpu()[None] - 1.0 for x in (image, reference))
    with torch.no_grad():
        return float(network(*pair))


@lru_cache(maxsize=1)
def _network(path: str) -> Any:
    try:
        package = importlib.import_module("lpips")
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that was built for another torch
        raise UnrenderError(
            "LPIPS needs the lpips package and the torchvision that fits torch", do="pip install lpips torchvision"
        ) from error
    if not Path(path).is_file():
        raise UnrenderError(
            "no LPIPS weights here", where=path, do='save lpips.LPIPS(net="alex").state_dict() there once'
        )
    network = package.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    try:
        network.load_state_dict(_read(path))
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, TypeError, EOFError, OSError) as error:
        raise UnrenderError(
            "cannot use these LPIPS weights", where=path, expected='the state dict of lpips.LPIPS(net="alex")'
        ) from error
    return network.eval()


def _read(path: str) -> dict[str, torch.Tensor]:
    return load_file(path) if path.endswith(".safetensors") else torch.load(path, map_location="cpu", weights_only=True)
