"""CUDA kernels on the CPU: a C++ compiler and ``host_cuda.h`` stand in for the GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from ctypes import CDLL, CFUNCTYPE, c_uint, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import pytest

COMPILER = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), "")


class HostKernels:
    """Stands in for ``nvrtc.Kernels`` and ``nvrtc.Launch``."""

    processors = 1

    def __init__(self, library: CDLL, barriers: set[str]) -> None:
        self._library, self._barriers = library, barriers

    def queue(self) -> nullcontext[HostKernels]:
        """The same."""
        return nullcontext(self)

    def __call__(self, name: str, grid: tuple[int, int], *arguments: Any) -> None:
        """Run a kernel to its end."""
        address = getattr(self._library, f"host_{name}")
        address.restype = c_void_p
        types = [c_void_p if isinstance(argument, int) else type(argument) for argument in arguments]
        run = CFUNCTYPE(None, c_uint, c_uint, c_uint, *types)(address())
        run(*grid, name in self._barriers, *arguments)


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., HostKernels]:
    """What ``nvrtc.kernels`` is on a GPU. Skips without a C++ compiler."""
    if not COMPILER:
        pytest.skip("no C++ compiler")

    @cache
    def build(source: Path, _device: object, defines: tuple[tuple[str, str], ...] = ()) -> HostKernels:
        folder = tmp_path_factory.mktemp("kernels")
        names = re.findall(r"__global__ void (?:__launch_bounds__\(.*\)\s+)?(\w+)\(", source.read_text())
        exported = "\n".join(f"HOST_KERNEL({name})" for name in names)
        shim = Path(__file__).with_name("host_cuda.h")
        (folder / "all.cpp").write_text(f'#include "{shim}"\n#include "{source}"\n{exported}\n')
        flags = ["-std=c++20", "-O1", "-ffp-contract=off", "-fPIC", "-shared", "-w"]
        options = [f"-D{name}={value}" for name, value in defines]
        subprocess.run([COMPILER, *flags, *options, "all.cpp", "-o", "all.so"], cwd=folder, check=True)
        barriers = {name for name in names if name in ("largest", "blend", "move")}
        return HostKernels(CDLL(str(folder / "all.so")), barriers)

    return build
