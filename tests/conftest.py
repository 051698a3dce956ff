"""What all tests share: checked shapes, one thread, seeded randomness, and the real capture where it lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("unrender", "shape_checks.check_stated")  # must precede the first import of ours

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Compute in one thread: the tests are small, run side by side, and give the same bits on every machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data: $UNRENDER_DATA, or ``shared/data`` beside the repository. Skips where it is absent."""
    folder = Path(os.environ.get("UNRENDER_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set UNRENDER_DATA to the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def plush(data: Path) -> Path:
    """97 phone photos with EXIF and a COLMAP text model (SIMPLE_RADIAL). Skips where it is absent."""
    folder = data / "plush"
    if not folder.is_dir():
        pytest.skip(f"no plush capture in {data}")
    return folder


@pytest.fixture
def generator() -> torch.Generator:
    """A source of random numbers that starts anew in every test."""
    return torch.Generator().manual_seed(0)
