"""A rendering that is far too bright or too dark comes back to the photo, whatever the start."""

from __future__ import annotations

import pytest
import torch

from unrender.cameras.sensor import Sensor
from unrender.losses import total

STEPS = 400


@pytest.mark.parametrize("clipped_share", [0.0, 0.2])
@pytest.mark.parametrize("stops", [-6.0, -4.0, 4.0, 6.0])
def test_no_start_is_stuck(stops: float, clipped_share: float) -> None:
    """Radiance per pixel, from ``stops`` beside the truth; every pixel of a start 6 stops bright is white."""
    chance = torch.Generator().manual_seed(0)
    true = 0.05 * torch.exp2(3 * torch.rand(1, 3, 32, 32, generator=chance))
    true[:, :, : int(32 * clipped_share)] = 40.0
    sensor, where, index = Sensor.start(torch.zeros(1)), torch.zeros(1, 2, 32, 32), torch.zeros(1, dtype=torch.int64)
    photo = (sensor.record(true, where, index) * 255).round() / 255
    log_radiance = (true.log() + stops * 0.693).requires_grad_()
    optimizer = torch.optim.Adam([log_radiance], lr=0.05, betas=(0.9, 0.99), eps=1e-12)
    for _ in range(STEPS):
        optimizer.zero_grad()
        total(sensor.record(log_radiance.exp(), where, index, leak=True), photo).backward()
        optimizer.step()
    ours = sensor.record(log_radiance.detach().exp(), where, index)
    assert float((ours - photo).abs().mean()) < 0.02
    assert float(ours.mean() - photo.mean()) == pytest.approx(0, abs=0.01)
