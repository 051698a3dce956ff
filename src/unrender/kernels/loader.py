"""The one place that looks for the compiled kernels.

``unrender.kernels._native`` is built on install where there is a C++20 compiler. Without it every operation runs on its
PyTorch reference: the same results to rounding, several times slower. ``UNRENDER_KERNELS=reference`` asks for that.
"""

from __future__ import annotations

import importlib
import os
import warnings
from functools import cache
from types import ModuleType

from unrender.errors import SettingsError

__all__ = ["native"]


def native() -> ModuleType | None:
    """The compiled kernels; None where they were not built (said once) or ``UNRENDER_KERNELS`` asks for the reference.

    Raises SettingsError when ``UNRENDER_KERNELS`` is neither ``native`` nor ``reference``.
    """
    wanted = os.environ.get("UNRENDER_KERNELS", "native")
    if wanted not in ("native", "reference"):
        raise SettingsError("UNRENDER_KERNELS", expected="native or reference", got=wanted)
    return _load() if wanted == "native" else None


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
