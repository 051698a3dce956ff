"""FLIP: the difference that a viewer sees when flipping between two images (Andersson et al. 2020)."""

from __future__ import annotations

import flip_evaluator
import numpy as np
import torch

from unrender.metrics.weights import blackened, weighted_mean

__all__ = ["DEFINITION", "PIXELS_PER_DEGREE", "flip", "flip_picture"]

PIXELS_PER_DEGREE = 67.0
"""What a viewer sees 0.7 m from a 0.7 m wide display of 3840 pixels."""

DEFINITION = (
    "mean LDR-FLIP of sRGB images clamped to 0..1, 67 pixels per degree, by the authors' flip-evaluator; "
    "0 is equal, 1 the largest difference; with a mask unused pixels are made black in both, and the mean is over "
    "pixels by how much each may be used"
)


def flip(image: torch.Tensor, reference: torch.Tensor, weight: torch.Tensor | None = None) -> float:
    """Mean FLIP in 0..1 of two images [3, H, W] in 0..1; ``weight`` [1, H, W]: how much each pixel may be used.

    See ``DEFINITION``.
    """
    errors, mean, _ = _evaluate(blackened(image, weight), blackened(reference, weight), picture=False)
    if weight is None:
        return float(mean)
    return weighted_mean(torch.from_numpy(np.array(errors, dtype=np.float64)).permute(2, 0, 1), weight.cpu())


def flip_picture(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """FLIP per pixel in the Magma colours, black where equal: [3, H, W] float32 sRGB in 0..1, to be looked at."""
    colours = np.array(_evaluate(image, reference, picture=True)[0], dtype=np.float32)
    return torch.from_numpy(colours).permute(2, 0, 1).contiguous()


def _evaluate(image: torch.Tensor, reference: torch.Tensor, *, picture: bool) -> tuple[np.ndarray, float, dict]:
    parameters = {"ppd": PIXELS_PER_DEGREE}
    return flip_evaluator.evaluate(_array(reference), _array(image), "LDR", applyMagma=picture, parameters=parameters)


def _array(image: torch.Tensor) -> np.ndarray:
    return image.detach().clamp(0, 1).float().permute(1, 2, 0).contiguous().cpu().numpy()
