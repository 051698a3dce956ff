"""The script that makes the environment refuses in one line, and lets through what is fine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import make_environment  # noqa: E402  # pyright: ignore[reportMissingImports]

CPU_REPORT = ["torch", "numpy", "filelock", "cudaless", "tritone"]
CUDA_REPORT = ["torch", "nvidia-cublas", "numpy"]


def test_a_cpu_build_passes():
    make_environment.refuse_cuda(CPU_REPORT)


@pytest.mark.parametrize("name", ["nvidia-cublas-cu12", "cuda-toolkit", "cuda_bindings", "triton", "pytorch-triton"])
def test_a_cuda_build_is_refused_with_what_to_do(name: str):
    with pytest.raises(make_environment.Refusal) as refusal:
        make_environment.refuse_cuda(["torch", name])
    line = str(refusal.value)
    assert name in line
    assert "TORCH_PIP_ARGS" in line
    assert "\n" not in line


@pytest.mark.parametrize(("version", "fine"), [((3, 9), False), ((3, 10), True), ((3, 14), True), ((4, 0), True)])
def test_old_pythons_are_refused(version: tuple[int, int], fine: bool):
    if fine:
        make_environment.refuse_old_python(version)
    else:
        with pytest.raises(make_environment.Refusal, match=r"3\.10 or newer, got 3\.9"):
            make_environment.refuse_old_python(version)


@pytest.fixture
def stand_in_for_python(tmp_path: Path) -> Path:
    """A folder that looks like an environment; its Python notes how it was called and answers a dry run."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    report = json.dumps({"install": [{"metadata": {"name": name}} for name in CUDA_REPORT]})
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncase "$*" in *--dry-run*) echo \'{report}\';; esac\n')
    python.chmod(0o755)
    return python


def test_nothing_is_installed_when_pip_would_bring_cuda(
    stand_in_for_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(make_environment.shutil, "which", lambda name: None)
    monkeypatch.setenv("TORCH_PIP_ARGS", "--index-url 'somewhere else'")
    with pytest.raises(make_environment.Refusal, match="nvidia-cublas"):
        make_environment.install(stand_in_for_python.parents[1])
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "--index-url somewhere else" in calls[-1]
    assert "--dry-run" in calls[-1]
    assert not any("--editable" in call for call in calls)


def test_a_cuda_build_is_welcome_beside_an_nvidia_card(
    stand_in_for_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(make_environment.shutil, "which", lambda name: "/usr/bin/" + name)
    make_environment.install(stand_in_for_python.parents[1])
    assert "--editable" in (tmp_path / "calls").read_text().splitlines()[-1]


def test_an_interrupted_environment_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = []
    folder = tmp_path / "venv"
    folder.mkdir()
    monkeypatch.setattr(make_environment, "has_pip", lambda folder: True)
    monkeypatch.setattr(make_environment, "make_empty", made.append)

    def stop(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(make_environment, "install", stop)
    with pytest.raises(KeyboardInterrupt):
        make_environment.main(folder)
    assert made == []
    monkeypatch.setattr(make_environment, "install", lambda folder: None)
    make_environment.main(folder)
    make_environment.main(folder)
    assert made == [folder]


def test_a_python_without_any_pip_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(make_environment.Refusal, match="python3-venv") as refusal:
        make_environment.make_empty(tmp_path / "venv")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "venv").exists()
