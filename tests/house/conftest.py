"""What the house rules look at: our own folders and the Python files in them."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the project."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def source(repository: Path) -> Path:
    """The folder of the package."""
    return repository / "src" / "unrender"
