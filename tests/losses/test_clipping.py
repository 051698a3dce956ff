"""What a clipped photo says: a rendering beyond the clip agrees, one short of it does not."""

from __future__ import annotations

import pytest
import torch

from unrender.losses import LossSettings, total

SIZE = (1, 3, 24, 24)
PARTS = {
    "l1": LossSettings(l1=1, dssim=0, gradient=0),
    "dssim": LossSettings(l1=0, dssim=1, gradient=0),
    "gradient": LossSettings(l1=0, dssim=0, gradient=1),
    "all": LossSettings(),
}


def half_clipped(value: float) -> torch.Tensor:
    """A photo of noise whose right half is clipped at ``value``."""
    photo = 0.2 + 0.6 * torch.rand(SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    photo[..., 12:] = value
    return photo


def loss_and_gradient(image: torch.Tensor, photo: torch.Tensor, settings: LossSettings) -> tuple[float, torch.Tensor]:
    image = image.clone().requires_grad_()
    loss = total(image, photo, None, settings)
    loss.backward()
    assert image.grad is not None
    return loss.item(), image.grad


@pytest.mark.parametrize("settings", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize(("value", "beyond"), [(1.0, 0.009), (254 / 255, 1 / 255), (0.0, -0.3), (1 / 255, -1 / 255)])
def test_beyond_the_clip_no_part_sees_a_difference(settings: LossSettings, value: float, beyond: float) -> None:
    photo = half_clipped(value)
    image = photo.clone()
    image[..., 12:] += beyond
    loss, gradient = loss_and_gradient(image, photo, settings)
    assert loss == pytest.approx(0, abs=1e-12)
    assert float(gradient[..., 12:].abs().max()) < 1e-12


@pytest.mark.parametrize(("value", "short"), [(1.0, -0.2), (254 / 255, -0.2), (0.0, 0.2)])
def test_short_of_the_clip_the_pull_is_towards_it(value: float, short: float) -> None:
    photo = half_clipped(value)
    image = photo.clone()
    image[..., 12:] += short
    loss, gradient = loss_and_gradient(image, photo, PARTS["l1"])
    assert loss == pytest.approx(0.1)
    assert bool((torch.sign(gradient[..., 12:]) == torch.sign(torch.tensor(short))).all())


def test_what_is_not_clipped_is_compared_as_ever() -> None:
    photo = half_clipped(0.9)
    image = (photo + 0.2).clamp(max=1.01)
    with_, without = (loss_and_gradient(image, photo, LossSettings(clipping=on)) for on in (True, False))
    assert with_[0] == without[0]
    assert torch.equal(with_[1], without[1])
