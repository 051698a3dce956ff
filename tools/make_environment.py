"""Make the virtual environment that the Makefile works in, without root and without surprises.

    python3 tools/make_environment.py .venv

Debian's Python may come without ``ensurepip``, an earlier call may have been interrupted, and on Linux pip's newest
PyTorch brings several gigabytes of CUDA libraries that a machine without an NVIDIA card cannot use. Each of these ends
in a working environment or in one line that says what to do. Only the standard library is used.

``TORCH_PIP_ARGS`` in the process environment is handed to the pip call that installs PyTorch (and to no other).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 10)
CUDA_PACKAGE = re.compile(r"(nvidia|cuda|triton|pytorch-triton)([-_.].*)?", re.IGNORECASE)
ROOT = Path(__file__).resolve().parent.parent


class Refusal(Exception):  # noqa: N818 - it is not an error of ours
    """The environment cannot be made; the message is the one line that the user needs."""


def main(folder: Path) -> None:
    """Make or complete the environment in ``folder``."""
    refuse_old_python(sys.version_info[:2])
    unfinished = folder / "unfinished"
    if unfinished.exists() or not has_pip(folder):
        make_empty(folder)
    unfinished.touch()
    install(folder)
    unfinished.unlink()


def refuse_old_python(version: tuple[int, ...]) -> None:
    """Raise Refusal when ``version`` (major, minor) is older than unrender supports."""
    if version < OLDEST_PYTHON:
        got, oldest = ".".join(map(str, version)), ".".join(map(str, OLDEST_PYTHON))
        raise Refusal(
            f"unrender needs Python {oldest} or newer, got {got}; name another one: make PYTHON=python3.11 ..."
        )


def has_pip(folder: Path) -> bool:
    """Whether the environment's pip answers."""
    python = folder / "bin" / "python"
    return python.exists() and succeeds([str(python), "-m", "pip", "--version"])


def make_empty(folder: Path) -> None:
    """Make an environment that holds pip and nothing else; what was in ``folder`` is gone.

    Where Python has no ``ensurepip``, another pip, virtualenv or uv that is already there puts pip in.
    """
    venv = [sys.executable, "-m", "venv", "--clear"]
    inside = str(folder / "bin" / "python")
    ways = [
        [[*venv, str(folder)]],
        [
            [*venv, "--without-pip", str(folder)],
            [sys.executable, "-m", "pip", "--python", inside, "install", "--quiet", "pip"],
        ],
        [[sys.executable, "-m", "virtualenv", "--quiet", "--clear", str(folder)]],
        [["uv", "venv", "--quiet", "--clear", "--seed", "--python", sys.executable, str(folder)]],
    ]
    if not any(all(succeeds(command) for command in way) and has_pip(folder) for way in ways):
        shutil.rmtree(folder, ignore_errors=True)
        raise Refusal(
            f"{sys.executable} can make no virtual environment with pip in it; install Debian's python3-venv or uv,"
            " or name a Python that comes with pip: make PYTHON=/path/to/python3 ..."
        )


def install(folder: Path) -> None:
    """Install PyTorch, then unrender itself (editable) with what its development needs."""
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    torch = ["--constraint", str(ROOT / "constraints.txt"), *shlex.split(os.environ.get("TORCH_PIP_ARGS", "")), "torch"]
    run([*pip, "install", "--quiet", "pip>=22.2"])  # the first that can report what it would install
    if shutil.which("nvidia-smi") is None:
        refuse_cuda(would_install([*pip, "install", *torch]))
    run([*pip, "install", *torch])
    run([*pip, "install", "--constraint", str(ROOT / "constraints.txt"), "--editable", f"{ROOT}[dev]"])


def would_install(command: list[str]) -> list[str]:
    """The names of the packages that a ``pip install`` command would fetch; nothing is installed."""
    answer = run([*command, "--dry-run", "--quiet", "--report", "-"], stdout=subprocess.PIPE)
    return [package["metadata"]["name"] for package in json.loads(answer)["install"]]


def refuse_cuda(names: list[str]) -> None:
    """Raise Refusal when the packages of these names include a CUDA build's libraries."""
    found = [name for name in names if CUDA_PACKAGE.fullmatch(name)]
    if found:
        raise Refusal(
            f"pip would bring a CUDA build of PyTorch ({', '.join(found[:3])}, ...) to a machine without nvidia-smi;"
            " point pip at PyTorch's CPU wheels: make TORCH_PIP_ARGS='--index-url URL' ...,"
            " with the URL that pytorch.org shows under 'Get started' for Pip and CPU"
        )


def run(command: list[str], stdout: int | None = None) -> str:
    """The command's standard output when captured. Raises Refusal when it fails; its own words are on the screen."""
    done = subprocess.run(command, stdout=stdout, text=True, check=False)
    if done.returncode:
        raise Refusal(f"this failed with status {done.returncode}, see above: {shlex.join(command)}")
    return done.stdout or ""


def succeeds(command: list[str]) -> bool:
    """Whether a command exists and ends well; it says nothing."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Refusal as refusal:
        sys.exit(f"unrender: {refusal}")
