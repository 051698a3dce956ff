"""Benchmarks in this process, so that tests are quick."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from unrender.bench import measure as measuring
from unrender.bench.measure import Errand, measure


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[[Errand], Iterator[dict[str, Any]]]:
    """Measures an errand in this process; copying is not measured but settled."""
    monkeypatch.setattr(measuring, "copy_speed", lambda device: 1e10)

    def run(errand: Errand) -> Iterator[dict[str, Any]]:
        assert Errand.read(errand.text()) == errand
        if errand.backend in ("native", "reference"):
            monkeypatch.setenv("UNRENDER_KERNELS", errand.backend)
        yield from list(measure(errand))
        monkeypatch.delenv("UNRENDER_KERNELS", raising=False)

    return run
