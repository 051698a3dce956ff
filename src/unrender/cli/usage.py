"""What is wrong with a command line, in one line like every other error.

Tyro draws a box: what is wrong, what may have been meant, where the help is, rules between them, and indented below
each option its help.
"""

from __future__ import annotations

import re

__all__ = ["usage_line"]

_OPTION = 4
"""Blanks before the name of an option; before its help there are more."""
_PLAINER = {
    r"^For full helptext, (run|see):?": "see",
    r"no type matching (?:{None}\|)?(\S+) could be instantiated from \[(.*?)\]\..*": r"expected \1, got \2",
    r"invalid literal for int\(\) with base 10:": "expected INT, got",
}


def usage_line(box: str) -> str:
    """``box`` as one line: what is wrong, then what may have been meant, then the help to read."""
    said = [part for part in map(_joined, _parts(box)) if part and not part.startswith("Argument helptext")]
    return "; ".join(said) or " ".join(box.split())


def _parts(box: str) -> list[list[str]]:
    """The lines between the rules, without the frame, which only UTF-8 has, and without the title above the first."""
    framed, parts = "│" in box, [[]]
    for line in box.splitlines():
        if re.search("─{4}|-{4}", line):
            parts.append([])
        else:
            parts[-1].append((line.strip().strip("│")[1:] if framed else line[2:]).rstrip())
    return parts[1:]


def _joined(lines: list[str]) -> str:
    """Sentences run on; options are listed behind what announces them, without their help."""
    said = " ".join(line.strip() for line in lines if not line.startswith(" "))
    options = [line.strip() for line in lines if re.match(rf" {{{_OPTION}}}\S", line)]
    for pattern, words in _PLAINER.items():
        said = re.sub(pattern, words, said)
    return " ".join(filter(None, [said, ", ".join(options)])).rstrip(".")
