"""One coarsely lit room for all tests of the synthetic capture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from unrender.datasets.synthetic import light
from unrender.datasets.synthetic.light import LitRoom, bake
from unrender.datasets.synthetic.room import build_room


@pytest.fixture(autouse=True, scope="session")
def few_rays() -> Iterator[None]:
    """Tests look at laws, not at beauty: baking takes a tenth of the rays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(light, "WINDOW_CELLS", (2, 1))
        patch.setattr(light, "LAMP_SAMPLES", 1)
        patch.setattr(light, "BOUNCE_RAYS", 4)
        yield


@pytest.fixture(scope="session")
def lit_room() -> LitRoom:
    return bake(build_room(0), texel=0.5)
