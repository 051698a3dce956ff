"""Lenses, one file per family, all behind the same few functions."""

from unrender.cameras.lens.lens import Lens

__all__ = ["Lens"]
