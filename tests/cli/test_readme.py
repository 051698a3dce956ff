"""The README says nothing that the program does not have: names, commands, options, files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text("utf-8")
(PYTHON,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^    (unrender \w+ .*?)(?:\s+#.*)?$", README, re.MULTILINE)


def test_its_python_is_taken_from_the_example_that_runs() -> None:
    """The example runs in another test; here every name of ours must be one that it uses in the same way."""
    example = (REPOSITORY / "examples" / "01_fit_a_capture.py").read_text("utf-8")
    ast.parse(PYTHON)
    names = re.findall(r"(?:unrender|run|model)\.(\w+(?:\.\w+)*)", PYTHON)
    assert len(names) > 8
    for name in names:
        assert f".{name}" in example, name


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_have_these_options(command: str, unrender: object) -> None:
    _, verb, *words = command.split()
    said = unrender(verb, "--help").out  # pyright: ignore[reportCallIssue]
    for word in words:
        if word.startswith("-"):
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", said), word


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target
    assert len(COMMANDS) == 9
