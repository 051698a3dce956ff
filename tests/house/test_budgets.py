"""Nothing grows beyond what a reader can hold: lines of a file, lines of a function, parameters of a public call.

An offender is mended, or gets a line in ``EXCEPTIONS`` with the reason why it must be so.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE_LINES = 400
TEST_LINES = 500
FILE_LINES = {**dict.fromkeys(("src", "tools", "examples", "benchmarks"), SOURCE_LINES), "tests": TEST_LINES}
NATIVE_LINES = 600
NATIVE = {".cpp", ".cu", ".h"}
FUNCTION_LINES = 40
PARAMETERS = 10

# "path" or "path:function" -> why it may be larger
EXCEPTIONS: dict[str, str] = {}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Every function with its dotted name; methods under their class, inner functions under their outer one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function | ast.ClassDef):
            if isinstance(node, Function):
                yield prefix + node.name, node
            yield from functions(node, f"{prefix}{node.name}.")
        else:
            yield from functions(node, prefix)


def parameter_count(function: Function) -> int:
    """The parameters that a caller sees."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(argument.arg not in ("self", "cls") for argument in named)


def is_public(name: str) -> bool:
    """Whether no part of a dotted name starts with an underscore; ``__init__`` and ``__call__`` are public calls."""
    return not any(part.startswith("_") and part not in ("__init__", "__call__") for part in name.split("."))


def function_offences(place: str, text: str) -> Iterator[tuple[str, str]]:
    """(key, line to print) of the functions of one file that are too long or take too much."""
    for name, function in functions(ast.parse(text)):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > FUNCTION_LINES:
            yield f"{place}:{name}", f"{place}:{function.lineno}: {name} has {lines} lines, at most {FUNCTION_LINES}"
        count = parameter_count(function)
        if is_public(name) and count > PARAMETERS:
            yield f"{place}:{name}", f"{place}:{function.lineno}: {name} takes {count} parameters, at most {PARAMETERS}"


def native_offences(root: Path) -> Iterator[tuple[str, str]]:
    """The same of C++ and CUDA files, whose functions are not looked at."""
    for file in sorted(file for file in (root / "src").rglob("*") if file.suffix in NATIVE):
        lines = len(file.read_text("utf-8").splitlines())
        if lines > NATIVE_LINES:
            place = file.relative_to(root).as_posix()
            yield place, f"{place} has {lines} lines, at most {NATIVE_LINES}"


def offences(root: Path, exceptions: dict[str, str]) -> list[str]:
    """One line for everything under ``root`` beyond its budget, and for every exception that is not needed."""
    found = []
    for folder, most in FILE_LINES.items():
        for file in sorted((root / folder).rglob("*.py")):
            place, text = file.relative_to(root).as_posix(), file.read_text("utf-8")
            lines = len(text.splitlines())
            if lines > most:
                found.append((place, f"{place} has {lines} lines, at most {most}"))
            found.extend(function_offences(place, text))
    found.extend(native_offences(root))
    keys = {key for key, _ in found}
    needless = [f"{key} needs no exception" for key in exceptions if key not in keys]
    return [line for key, line in found if key not in exceptions] + needless


def test_everything_is_within_its_budget(repository: Path):
    found = offences(repository, EXCEPTIONS)
    assert not found, "beyond the budget:\n" + "\n".join(found)


def test_every_exception_has_a_reason():
    assert all(len(reason.split()) >= 3 for reason in EXCEPTIONS.values())


def bad_tree(root: Path) -> Path:
    """A project with one offender of each kind, and their largest lawful neighbours."""
    (root / "src").mkdir()
    (root / "tests").mkdir()
    (root / "src" / "long.py").write_text("x = 0\n" * (SOURCE_LINES + 1))
    (root / "src" / "full.py").write_text("x = 0\n" * SOURCE_LINES)
    (root / "tests" / "test_long.py").write_text("x = 0\n" * (TEST_LINES + 1))
    (root / "src" / "long.h").write_text("\n" * (NATIVE_LINES + 1))
    (root / "src" / "full.cpp").write_text("\n" * NATIVE_LINES)
    letters = ", ".join("abcdefghijk")
    (root / "src" / "calls.py").write_text(
        "class Kettle:\n"
        + f"    def boil(self, {letters[:-3]}): pass\n"
        + f"    def pour(self, {letters}): pass\n"
        + f"def _private({letters}): pass\n"
        + "async def endless():\n"
        + "    pass\n" * FUNCTION_LINES
        + "def lawful():\n"
        + "    pass\n" * (FUNCTION_LINES - 1)
    )
    return root


def test_the_check_finds_every_kind_of_offence(tmp_path: Path):
    assert offences(bad_tree(tmp_path), {}) == [
        "src/calls.py:3: Kettle.pour takes 11 parameters, at most 10",
        "src/calls.py:5: endless has 41 lines, at most 40",
        "src/long.py has 401 lines, at most 400",
        "tests/test_long.py has 501 lines, at most 500",
        "src/long.h has 601 lines, at most 600",
    ]


def test_an_exception_excuses_one_offender_and_must_be_needed(tmp_path: Path):
    excused = {"src/calls.py:endless": "", "src/long.py": "", "src/gone.py": ""}
    assert offences(bad_tree(tmp_path), excused) == [
        "src/calls.py:3: Kettle.pour takes 11 parameters, at most 10",
        "tests/test_long.py has 501 lines, at most 500",
        "src/long.h has 601 lines, at most 600",
        "src/gone.py needs no exception",
    ]
