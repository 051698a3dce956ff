"""``import unrender`` brings next to nothing, and every public name comes when it is asked for, without a GPU."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import unrender

# Each of these is brought by the calls that need it.
ONLY_WHEN_USED = {
    "flip_evaluator",
    "laspy",
    "lpips",
    "matplotlib",
    "numpy",
    "OpenEXR",
    "PIL",
    "pycolmap",
    "pye57",
    "rich",
    "scipy",
    "torch",
    "tyro",
}
# The library speaks through messages: what draws them, and what reads a COLMAP model, is not part of its types.
NOT_FOR_TYPES = {"lpips", "pycolmap", "rich", "tyro"}


def modules_after(code: str, source: Path) -> set[str]:
    """The top-level modules that a fresh Python without a visible GPU holds after ``code``."""
    code = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(source.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def promised_names(source: Path) -> set[str]:
    """What the surface tells type checkers that it has."""
    tree = ast.parse((source / "__init__.py").read_text("utf-8"))
    promises = [node for branch in tree.body if isinstance(branch, ast.If) for node in branch.body]
    return {alias.name for node in promises if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_importing_brings_next_to_nothing(source: Path):
    assert not modules_after("import unrender", source) & ONLY_WHEN_USED


def test_the_check_sees_what_is_brought(source: Path):
    assert "scipy" in modules_after("import scipy", source) & ONLY_WHEN_USED


def test_what_type_checkers_see_is_what_there_is(source: Path):
    promised = promised_names(source)
    assert "Capture" in promised
    assert promised == {name for name in dir(unrender) if not name.startswith("_")}


def test_every_public_name_loads_without_a_gpu(source: Path):
    code = "import unrender\nfor name in dir(unrender): getattr(unrender, name)\n"
    brought = modules_after(code + "import torch\nassert not torch.cuda.is_initialized()", source)
    assert not brought & NOT_FOR_TYPES
