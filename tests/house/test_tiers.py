"""Imports point downwards: the table of tiers, and the check that holds the package to it.

Import from a lower tier only; inside a tier, only within one's own top-level folder or along an arrow.
Imports inside functions and under ``TYPE_CHECKING`` count like any other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TIERS = (
    ("parameters", "errors", "messages", "geometry", "images"),
    ("cameras", "kernels"),
    ("datasets", "scenes"),
    ("initialize", "render", "losses", "metrics", "formats"),
    ("fit", "gradcheck"),
    ("viewer", "reports", "bench"),
    ("cli",),
)
ARROWS = {
    ("kernels", "cameras"),
    ("geometry", "errors"),  # everyone may refuse
    ("images", "errors"),
}
TIER = {part: tier for tier, parts in enumerate(TIERS) for part in parts}
SURFACE = "__init__"  # unrender/__init__.py re-exports from everywhere but the command line, which alone imports it


def part_of(module: str) -> str:
    """The top-level part of a dotted name: ``unrender.cameras.lens`` -> ``cameras``, ``unrender`` -> the surface."""
    return [*module.split("."), SURFACE][1]


def absolute(node: ast.ImportFrom, package: list[str]) -> str:
    """The dotted module that a ``from ... import`` inside ``package`` names; leading dots climb."""
    parents = package[: len(package) - node.level + 1] if node.level else []
    return ".".join([*parents, *filter(None, [node.module])])


def imported_modules(node: ast.AST, package: list[str]) -> list[str]:
    """The dotted modules that a statement imports. From ``unrender`` itself: a part, or else the surface."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    module = absolute(node, package)
    if module != "unrender":
        return [module]
    return [f"unrender.{alias.name}" if alias.name in TIER else "unrender" for alias in node.names]


def imported_parts(tree: ast.Module, package: list[str]) -> Iterator[tuple[int, str]]:
    """(line, top-level part) of everything that a module of ``package`` imports from unrender."""
    for node in ast.walk(tree):
        for module in imported_modules(node, package):
            if module.split(".")[0] == "unrender":
                yield getattr(node, "lineno", 0), part_of(module)


def allowed(importer: str, imported: str) -> bool:
    """Whether one top-level part may import another."""
    if importer == imported or (importer, imported) in ARROWS:
        return True
    if importer == SURFACE:
        return imported in TIER and imported != "cli"
    if imported == SURFACE:
        return importer == "cli"
    return imported in TIER and TIER[imported] < TIER[importer]


def offences(source: Path) -> list[str]:
    """One line for every import in the package folder ``source`` that the table forbids, or part it lacks."""
    found = []
    for file in sorted(source.rglob("*.py")):
        place = file.relative_to(source)
        importer = place.parts[0].removesuffix(".py")
        if importer == "__main__":  # `python -m unrender` starts the command line
            importer = "cli"
        if importer != SURFACE and importer not in TIER:
            found.append(f"{place}: {importer} has no tier")
            continue
        package = ["unrender", *place.parent.parts]
        for line, imported in imported_parts(ast.parse(file.read_text("utf-8")), package):
            if not allowed(importer, imported):
                found.append(f"{place}:{line}: {importer} imports {imported}")
    return found


def test_every_import_points_downwards(source: Path):
    found = offences(source)
    assert not found, "imports against the tiers:\n" + "\n".join(found)


def write(folder: Path, files: dict[str, str]) -> Path:
    """A small package with the given texts."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_check_lets_the_good_pass(tmp_path: Path):
    good = {
        "__init__.py": "from unrender.fit.fit import fit",
        "__main__.py": "from unrender.cli.main import main",
        "geometry/rays.py": "from unrender.errors import ShapeError\nfrom unrender.geometry.boxes import Box",
        "kernels/splat.py": "from unrender.cameras.lens import Lens\nfrom . import other\nfrom ..errors import E",
        "cli/main.py": "from unrender import __version__, errors\nimport unrender.reports.page",
    }
    assert offences(write(tmp_path, good)) == []


def test_the_check_finds_every_kind_of_offence(tmp_path: Path):
    bad = {
        "cameras/up.py": "def later():\n    from unrender.render.frame import Frame",
        "cameras/across.py": "import unrender.kernels.splat",
        "datasets/typed.py": "if TYPE_CHECKING:\n    from unrender.scenes.points import PointScene",
        "render/relative.py": "from ..fit import fit",
        "reports/verbs.py": "from unrender.cli import main",
        "losses/surface.py": "from unrender import PointScene",
        "parameters.py": "from unrender.errors import ShapeError",
        "__init__.py": "from unrender.cli.main import main",
        "toolbox/new.py": "",
    }
    assert offences(write(tmp_path, bad)) == [
        "__init__.py:1: __init__ imports cli",
        "cameras/across.py:1: cameras imports kernels",
        "cameras/up.py:2: cameras imports render",
        "datasets/typed.py:2: datasets imports scenes",
        "losses/surface.py:1: losses imports __init__",
        "parameters.py:1: parameters imports errors",
        "render/relative.py:1: render imports fit",
        "reports/verbs.py:1: reports imports cli",
        "toolbox/new.py: toolbox has no tier",
    ]
