"""Compiled kernels where they are, the reference where they are not, and a word about it once."""

from __future__ import annotations

import importlib
import warnings

import pytest

from unrender.errors import SettingsError
from unrender.kernels import loader


@pytest.fixture
def unbuilt(monkeypatch):
    """As on a machine without a compiler."""

    def fail(name: str):
        raise ImportError(f"No module named {name!r}")

    loader._load.cache_clear()
    monkeypatch.delenv("UNRENDER_KERNELS", raising=False)
    monkeypatch.setattr(importlib, "import_module", fail)
    yield
    loader._load.cache_clear()


@pytest.mark.usefixtures("unbuilt")
def test_says_once_that_it_will_be_slower():
    with pytest.warns(RuntimeWarning, match=r"C\+\+20"):
        assert loader.native() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loader.native() is None


@pytest.mark.usefixtures("unbuilt")
def test_says_nothing_to_who_asked_for_the_reference(monkeypatch):
    monkeypatch.setenv("UNRENDER_KERNELS", "reference")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loader.native() is None


def test_refuses_what_it_does_not_know(monkeypatch):
    monkeypatch.setenv("UNRENDER_KERNELS", "fast")
    with pytest.raises(SettingsError, match="native or reference"):
        loader.native()
