"""CUDA C++ compiled at first use, for the GPU at hand, and kept on disk.

Needs the extra ``[cuda]`` (``cuda-core`` and NVIDIA's run-time compiler), and no ``nvcc``. Compiling needs no GPU.

What is compiled is kept in ``$UNRENDER_CACHE``, else where the system keeps caches, under a name made of everything
that it depends on; the folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import get_ident
from typing import Any

import torch

from unrender.errors import SettingsError

__all__ = ["Kernels", "Launch", "available", "cache_folder", "compile_cubin", "compiler_version", "flatten", "kernels"]

THREADS = 256
"""Per block, in every kernel of ours."""
_INCLUDE = re.compile(r'^#include "(.*)"$', re.MULTILINE)
_INSTALL = 'pip install "unrender[cuda]"'


@cache
def available() -> bool:
    """Whether kernels can be compiled; says once what is missing where not."""
    try:
        compiler_version()
    except SettingsError as error:
        warnings.warn(f"unrender runs on its slower PyTorch reference: {error}", RuntimeWarning, stacklevel=3)
        return False
    return True


@cache
def kernels(source: Path, device: torch.device, defines: tuple[tuple[str, str], ...] = ()) -> Kernels:
    """The kernels of a ``.cu`` file, ready to be launched on ``device``. Raises SettingsError without the extra."""
    major, minor = torch.cuda.get_device_capability(device)
    return Kernels(compile_cubin(source, f"sm_{major}{minor}", dict(defines)), device)


class Kernels:
    """The kernels of one compiled file on one device."""

    def __init__(self, cubin: bytes, device: torch.device) -> None:
        self.device = device
        self.processors = torch.cuda.get_device_properties(device).multi_processor_count
        _core().Device(device.index).set_current()
        self._code = _core().ObjectCode.from_cubin(cubin)

    @cache  # noqa: B019 - there are few, and they live as long as the process
    def find(self, name: str) -> Any:
        """A kernel that can be launched."""
        return self._code.get_kernel(name)

    @contextmanager
    def queue(self) -> Iterator[Launch]:
        """What launches them on PyTorch's current stream of their device."""
        with torch.cuda.device(self.device):
            yield Launch(self, _stream(torch.cuda.current_stream().cuda_stream))


class Launch:
    """``launch(name, grid, *arguments)`` queues a kernel in ``grid`` blocks of ``THREADS`` threads.

    ``arguments``: addresses as ``int``, numbers as ``ctypes`` scalars of the type that the kernel states.
    ``processors``: of the GPU.
    """

    def __init__(self, kernels: Kernels, stream: Any) -> None:
        self._kernels, self._stream = kernels, stream
        self.processors = kernels.processors

    def __call__(self, name: str, grid: tuple[int, int], *arguments: Any) -> None:
        """Queue a kernel."""
        core = _core()
        config = core.LaunchConfig(grid=grid, block=THREADS)
        core.launch(self._stream, config, self._kernels.find(name), *arguments)


@cache
def _stream(handle: int) -> Any:
    """A stream of PyTorch's, which never destroys one."""
    return _core().Stream.from_handle(handle) if handle else _core().LEGACY_DEFAULT_STREAM


def _core() -> Any:
    """NVIDIA's library, which names what it holds only when it runs."""
    return import_module("cuda.core")


def compile_cubin(source: Path, arch: str, defines: Mapping[str, str]) -> bytes:
    """Machine code of a ``.cu`` file for ``arch`` (such as ``sm_90``), from the cache where it was made before.

    Sums and products are rounded one by one (no contraction), divisions and roots correctly: as on the CPU. Raises
    SettingsError without the extra.
    """
    version, text = compiler_version(), flatten(source)
    options = ["c++17", "fma=false", arch, *(f"{name}={value}" for name, value in sorted(defines.items()))]
    key = hashlib.sha256("\0".join([text, version, *options]).encode()).hexdigest()
    kept = cache_folder() / f"{source.parent.name}-{key[:32]}.cubin"
    if kept.is_file():
        return kept.read_bytes()
    cubin = _compile(text, source.name, arch, defines)
    _keep(kept, cubin)
    return cubin


@cache
def compiler_version() -> str:
    """Of the compiler. Raises SettingsError where it, or what speaks to it, is missing."""
    try:
        _core()
        _, major, minor = import_module("cuda.bindings.nvrtc").nvrtcVersion()
    except (ImportError, RuntimeError) as error:
        reason = f"the CUDA kernels cannot be compiled ({type(error).__name__}: {error})"
        raise SettingsError(reason, do=_INSTALL) from error
    return f"{major}.{minor}"


def flatten(source: Path) -> str:
    """A source with the headers of ours that it includes, each once, in their places."""
    seen: set[Path] = set()

    def insert(file: Path) -> str:
        if file in seen:
            return ""
        seen.add(file)
        text = file.read_text("utf-8").replace("#pragma once", "")
        return _INCLUDE.sub(lambda found: insert((file.parent / found[1]).resolve()), text)

    return insert(source.resolve())


def cache_folder() -> Path:
    """Where compiled kernels are kept."""
    if wanted := os.environ.get("UNRENDER_CACHE"):
        return Path(wanted)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "unrender"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "unrender" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unrender"


def _compile(text: str, name: str, arch: str, defines: Mapping[str, str]) -> bytes:
    core = _core()
    options = core.ProgramOptions(
        name=name,
        arch=arch,
        std="c++17",
        fma=False,
        define_macro=list(defines.items()),
        device_as_default_execution_space=True,  # lambdas say nothing of where they run, and older compilers ask
    )
    return bytes(core.Program(text, "c++", options).compile("cubin").code)


def _keep(file: Path, content: bytes) -> None:
    """Write a file whole or not at all; a cache that cannot be written to is done without."""
    partial = file.with_suffix(f".{os.getpid()}-{get_ident()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(file)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
