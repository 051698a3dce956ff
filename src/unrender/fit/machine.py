"""What a run was computed with: versions and machine, for whoever wants the same bits or the same speed again."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["differences", "machine_table"]

_PACKAGES = ("unrender", "torch", "numpy", "pillow", "pycolmap", "safetensors")
_BITS = (*(f"versions.{package}" for package in _PACKAGES), "machine.processor", "machine.vector_units", "threads")
"""What the bits of a fit depend on, besides its settings and its capture."""


def machine_table() -> dict[str, Any]:
    """Versions, machine and threads of this process, as nested plain values."""
    return {
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()} | {package: _version(package) for package in _PACKAGES},
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count() or 0,
            "vector_units": torch.backends.cpu.get_cpu_capability(),
        },
    }


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Lines on what has changed and may change the last bits of a result."""
    changed = [(name, _entry(before, name), _entry(now, name)) for name in _BITS]
    return [f"{name.split('.')[-1]}: {was}, now {is_now}" for name, was, is_now in changed if was != is_now]


def _entry(table: dict[str, Any], name: str) -> Any:
    value: Any = table
    for word in name.split("."):
        value = value.get(word) if isinstance(value, dict) else None
    return value


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()
