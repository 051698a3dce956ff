"""The one place that looks for the compiled kernels.

``unrender.kernels._native`` is built on install where there is a C++20 compiler. Without it every operation runs on its
PyTorch reference: the same results to rounding, several times slower. ``UNRENDER_KERNELS=reference`` asks for that.
Kernels for the GPU are compiled when they are first used: see ``nvrtc.py``.
"""

from __future__ import annotations

import importlib
import os
import warnings
from functools import cache
from types import ModuleType

from unrender.errors import SettingsError
from unrender.kernels import nvrtc

__all__ = ["gpu", "native"]


def native() -> ModuleType | None:
    """The compiled kernels; None where they were not built (said once) or ``UNRENDER_KERNELS`` asks for the reference.

    Raises SettingsError when ``UNRENDER_KERNELS`` is neither ``native`` nor ``reference``.
    """
    return _load() if _wanted() else None


def gpu() -> bool:
    """Whether there are kernels for tensors on a GPU (said once where not); False where ``UNRENDER_KERNELS`` asks for
    the reference. Raises SettingsError as ``native`` does.
    """
    return _wanted() and nvrtc.available()


def _wanted() -> bool:
    wanted = os.environ.get("UNRENDER_KERNELS", "native")
    if wanted not in ("native", "reference"):
        raise SettingsError("UNRENDER_KERNELS", expected="native or reference", got=wanted)
    return wanted == "native"


@cache
def _load() -> ModuleType | None:
    try:
        return importlib.import_module("unrender.kernels._native")
    except ImportError as error:
        warnings.warn(
            f"unrender runs on its slower PyTorch reference: no compiled kernels ({error}); install a C++20 compiler,"
            " then unrender again",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
