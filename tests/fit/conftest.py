"""A fit small enough to run many times."""

from __future__ import annotations

import pytest

from unrender.fit.settings import CropSettings, FitSettings
from unrender.initialize.points import PointSettings
from unrender.render.shade.settings import DecoderSettings


@pytest.fixture(scope="session")
def small() -> FitSettings:
    """Six steps of a two-level decoder on 32-pixel crops."""
    return FitSettings(
        steps=6,
        crop=CropSettings(size=32),
        points=PointSettings(count=2000),
        network=DecoderSettings(levels=2, width=8, precision="float32"),
    )
