"""Names say what is inside, and nothing in the project knows the machine it was written on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("src", "tests", "tools", "docs", "examples", "benchmarks", ".ci")
TELLS_NOTHING = re.compile(r"(utils?|common|core|misc|helpers?|internal)", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.}/])/(?:work|root|home|Users|opt)/\w|/[t]mp/v\b")
REGISTRY = re.compile(r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|npmjs\.org")
PICKLE = re.compile(r"\bpickle\b|torch\.(save|load)\(")


def files(root: Path) -> Iterator[Path]:
    """What we wrote: every file of our folders and every file beside them, caches left out."""
    yield from (file for file in sorted(root.glob("*")) if file.is_file())
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


def names_that_tell_nothing(root: Path) -> list[str]:
    """Files and folders whose stem is one of the words that fit everything."""
    places = (file.relative_to(root) for file in files(root))
    return [str(place) for place in places if any(TELLS_NOTHING.fullmatch(part.split(".")[0]) for part in place.parts)]


def lines_with(pattern: re.Pattern[str], root: Path) -> list[str]:
    """Every line of our text files in which ``pattern`` is found."""
    found = []
    for file in files(root):
        try:
            lines = file.read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        place = file.relative_to(root)
        found.extend(f"{place}:{n}: {line.strip()}" for n, line in enumerate(lines, start=1) if pattern.search(line))
    return found


def test_every_name_tells_something(repository: Path):
    found = names_that_tell_nothing(repository)
    assert not found, "names that tell nothing:\n" + "\n".join(found)


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY], ids=["machine path", "registry"])
def test_the_project_knows_no_machine(repository: Path, pattern: re.Pattern[str]):
    found = lines_with(pattern, repository)
    assert not found, "only true on one machine:\n" + "\n".join(found)


def test_nothing_is_pickled(source: Path):
    found = lines_with(PICKLE, source.parent)
    assert not found, "a pickle runs whatever it was given:\n" + "\n".join(found)


def test_the_checks_find_offenders(tmp_path: Path):
    for name in ("src/pkg/utils.py", "tests/helpers/test_a.py", "docs/corelation.md", "src/pkg/__pycache__/misc.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("fine: /usr/bin, ../shared/data, https://a.org/home/page, {x}/" + "work/y\n")
    here = "/".join(["", "work", "main"])
    (tmp_path / "setup.cfg").write_text(f"a\nindex = {here}\n")
    assert names_that_tell_nothing(tmp_path) == ["src/pkg/utils.py", "tests/helpers/test_a.py"]
    assert lines_with(MACHINE_PATH, tmp_path) == [f"setup.cfg:2: index = {here}"]
