"""The public surface: every name can be had, is listed once, and costs nothing before it is used."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import unrender

REPOSITORY = Path(__file__).resolve().parents[2]
TREE = ast.parse((REPOSITORY / "src" / "unrender" / "__init__.py").read_text("utf-8"))


def names_for_type_checkers():
    (block,) = (node for node in TREE.body if isinstance(node, ast.If))
    return {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_type_checkers_and_python_see_the_same_names():
    assert names_for_type_checkers() == unrender._HOME


@pytest.mark.parametrize("name", sorted(unrender._HOME))
def test_every_name_can_be_had_and_says_what_it_is(name):
    assert getattr(unrender, name).__doc__
    assert name in dir(unrender)


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        unrender.nonsense  # noqa: B018


def test_the_ten_lines_run(tiny_capture, tmp_path):
    script = REPOSITORY / "examples" / "01_fit_a_capture.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, script, tiny_capture, tmp_path / "run", "0.02"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "held out, exposure from EXIF: {'psnr':" in done.stdout
    assert (tmp_path / "run" / "new_view.png").is_file()
