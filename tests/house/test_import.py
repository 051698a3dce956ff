"""``import unrender`` asks for no GPU and brings no library that only some calls need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

# Readers, writers, metrics and the command line bring these when they are used.
ONLY_WHEN_USED = {
    "flip_evaluator",
    "lpips",
    "matplotlib",
    "OpenEXR",
    "plyfile",
    "pycolmap",
    "rich",
    "scipy",
    "torchvision",
    "tyro",
}


def modules_after(statement: str, source: Path) -> set[str]:
    """The top-level modules that a fresh Python without a visible GPU holds after ``statement``."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(source.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_importing_brings_only_what_every_call_needs(source: Path):
    brought = modules_after("import unrender", source)
    assert "torch" in brought
    assert not brought & ONLY_WHEN_USED


def test_the_check_sees_what_is_brought(source: Path):
    assert "scipy" in modules_after("import scipy", source) & ONLY_WHEN_USED


def test_no_gpu_is_touched(source: Path):
    modules_after("import unrender, torch\nassert not torch.cuda.is_initialized()", source)
