"""Kernels compiled at first use: what is kept where, and what is said when the compiler is missing."""

from __future__ import annotations

import sys
import warnings
from contextlib import nullcontext
from ctypes import c_float
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from unrender.errors import SettingsError
from unrender.kernels import loader, nvrtc
from unrender.kernels.rasterize_points.cuda import SOURCE


@pytest.fixture
def no_extra(monkeypatch):
    """As without ``unrender[cuda]``."""
    for name in ("cuda", "cuda.core", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    for function in (nvrtc.compiler_version, nvrtc.available):
        function.cache_clear()
    monkeypatch.delenv("UNRENDER_KERNELS", raising=False)
    yield
    for function in (nvrtc.compiler_version, nvrtc.available):
        function.cache_clear()


@pytest.mark.usefixtures("no_extra")
def test_a_missing_extra_is_named_once():
    with pytest.raises(SettingsError, match=r"pip install \"unrender\[cuda\]\""):
        nvrtc.compile_cubin(SOURCE, "sm_90", {})
    with pytest.warns(RuntimeWarning, match=r"slower PyTorch reference.*unrender\[cuda\]"):
        assert not loader.gpu()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not loader.gpu()


@pytest.mark.usefixtures("no_extra")
def test_says_nothing_to_who_asked_for_the_reference(monkeypatch):
    monkeypatch.setenv("UNRENDER_KERNELS", "reference")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not loader.gpu()


def test_a_source_is_one_text_with_each_header_once():
    text = nvrtc.flatten(SOURCE)
    assert '#include "' not in text.replace("<math.h>", "")
    for definition in ("struct LensOf {", "struct View {", "struct Block {", "struct Task {"):
        assert text.count(definition) == 1
    assert text.index("struct LensOf {") < text.index("struct View {") < text.index("struct Block {")


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """A compiler that counts what it is asked for."""
    asked = []

    def compile_it(text, name, arch, defines):
        asked.append((arch, dict(defines)))
        return f"{len(text)} {name} {arch} {sorted(defines.items())}".encode()

    monkeypatch.setenv("UNRENDER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(nvrtc, "compiler_version", lambda: "13.0")
    monkeypatch.setattr(nvrtc, "_compile", compile_it)
    return asked


def test_the_same_is_compiled_once(compiler, monkeypatch, tmp_path):
    first = nvrtc.compile_cubin(SOURCE, "sm_90", {"D": "4"})
    assert nvrtc.compile_cubin(SOURCE, "sm_90", {"D": "4"}) == first
    assert len(compiler) == 1
    for change in (
        lambda: nvrtc.compile_cubin(SOURCE, "sm_89", {"D": "4"}),
        lambda: nvrtc.compile_cubin(SOURCE, "sm_90", {"D": "5"}),
        lambda: (
            monkeypatch.setattr(nvrtc, "compiler_version", lambda: "13.1")
            or nvrtc.compile_cubin(SOURCE, "sm_90", {"D": "4"})
        ),
    ):
        before = len(compiler)
        change()
        assert len(compiler) == before + 1
    other = tmp_path / "rasterize_points" / "cuda.cu"
    other.parent.mkdir()
    other.write_text("// another")
    nvrtc.compile_cubin(other, "sm_90", {"D": "4"})
    assert len(compiler) == 5
    assert len(list((tmp_path / "cache").iterdir())) == 5


def test_a_cache_that_cannot_be_written_is_done_without(compiler, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNRENDER_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        assert nvrtc.compile_cubin(SOURCE, "sm_90", {"D": "4"})
    assert len(compiler) == 2


def test_the_cache_lies_where_the_user_says_or_the_system(monkeypatch, tmp_path):
    monkeypatch.setenv("UNRENDER_CACHE", str(tmp_path))
    assert nvrtc.cache_folder() == tmp_path
    monkeypatch.delenv("UNRENDER_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert nvrtc.cache_folder() == tmp_path / "xdg" / "unrender"


def test_kernels_go_to_the_stream_that_pytorch_is_at(monkeypatch):
    """With a stand-in for NVIDIA's library and for a device."""
    core, handle = MagicMock(), 0
    monkeypatch.setattr(nvrtc, "_core", lambda: core)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(multi_processor_count=3))
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=handle))
    nvrtc._stream.cache_clear()
    made = nvrtc.Kernels(b"code", torch.device("cuda", 1))
    core.Device.assert_called_once_with(1)
    core.ObjectCode.from_cubin.assert_called_once_with(b"code")
    kernel = core.ObjectCode.from_cubin().get_kernel
    for handle, stream in ((0, core.LEGACY_DEFAULT_STREAM), (7, core.Stream.from_handle())):  # noqa: B007
        with made.queue() as launch:
            assert launch.processors == 3
            launch("blend", (4, 2), 1, c_float(2.0))
        used, config, called, address, _ = core.launch.call_args.args
        assert (used, config, called, address) == (stream, core.LaunchConfig(), kernel(), 1)
        core.LaunchConfig.assert_any_call(grid=(4, 2), block=256)
    core.Stream.from_handle.assert_called_with(7)
    nvrtc._stream.cache_clear()
