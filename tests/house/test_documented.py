"""Every public name says what it is and which types it takes and gives."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def public_definitions(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """The public functions and classes of a module, and the public methods of those classes."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node, f"{prefix}{node.name}.")


def untyped_parts(function: Function) -> list[str]:
    """The parameters, and ``return``, that have no annotation."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    untyped = [a.arg for a in named if a is not None and a.annotation is None and a.arg not in ("self", "cls")]
    return untyped + (["return"] if function.returns is None else [])


def has_exports(tree: ast.Module) -> bool:
    """Whether a module assigns ``__all__``."""
    targets = (target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


def module_offences(place: str, tree: ast.Module) -> Iterator[str]:
    """One line for everything that one module leaves unsaid."""
    definitions = list(public_definitions(tree))
    if ast.get_docstring(tree) is None:
        yield f"{place}:1: the module does not say what it is for"
    if definitions and not has_exports(tree):
        yield f"{place}:1: the module does not say what is public in __all__"
    for name, node in definitions:
        if ast.get_docstring(node) is None:
            yield f"{place}:{node.lineno}: {name} has no docstring"
        if isinstance(node, Function) and untyped_parts(node):
            yield f"{place}:{node.lineno}: {name} has no type for {', '.join(untyped_parts(node))}"


def offences(source: Path) -> list[str]:
    """One line for every public name of the package folder ``source`` that lacks a docstring, a type or its export."""
    found = []
    for file in sorted(source.rglob("*.py")):
        found.extend(module_offences(file.relative_to(source).as_posix(), ast.parse(file.read_text("utf-8"))))
    return found


def test_every_public_name_is_documented_and_typed(source: Path):
    found = offences(source)
    assert not found, "undocumented or untyped:\n" + "\n".join(found)


def test_the_check_finds_every_kind_of_offence(tmp_path: Path):
    (tmp_path / "good.py").write_text(
        '"""A module."""\n__all__ = ["Kettle"]\nclass Kettle:\n    """It boils."""\n'
        '    def boil(self, water: float) -> float:\n        """Boil."""\n    def _leak(self, x): ...\n'
    )
    (tmp_path / "bare.py").write_text("def pour(water, *rest: int, **how): ...\n")
    assert offences(tmp_path) == [
        "bare.py:1: the module does not say what it is for",
        "bare.py:1: the module does not say what is public in __all__",
        "bare.py:1: pour has no docstring",
        "bare.py:1: pour has no type for water, how, return",
    ]
