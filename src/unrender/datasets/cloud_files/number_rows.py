"""Lines of numbers, read in blocks so that large files take neither Python loops nor their own size in memory."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

__all__ = ["LONGEST_LINE", "Separator", "is_number", "number_rows"]

LONGEST_LINE = 1 << 16
"""Bytes that one line may have; the longest of a point cloud has a few hundred."""
_BLOCK = 1 << 24
_COMMENT = re.compile(rb"(?:#|//)[^\n]*")
_COMMA_IS_POINT = bytes.maketrans(b",", b".")


@dataclass(frozen=True)
class Separator:
    """What stands between numbers: ``between``, or any white space for None. Then a comma may be the decimal point."""

    between: str | None = None
    decimal_comma: bool = False

    def split(self, line: str) -> list[str]:
        """The fields of one line."""
        line = line.replace(",", ".") if self.decimal_comma else line
        return [field.strip() for field in line.strip().split(self.between)]


def number_rows(
    stream: BinaryIO,
    width: int,
    separator: Separator,
    *,
    columns: Sequence[int] | None = None,
    first_line: int = 1,
    most: int | None = None,
) -> Iterator[np.ndarray]:
    """The lines from here on, each of ``width`` fields, as blocks [n, width] float64; at most ``most`` rows.

    ``columns``: only these, [n, len(columns)]; what is in the others does not matter. Empty lines and comments (# and
    //) are passed over. Raises ValueError, naming the line, for one that is made otherwise; ``first_line`` is the
    number of the first.
    """
    line, left = first_line, most
    for block in _blocks(stream):
        text = _COMMENT.sub(b"", block) if b"#" in block or b"//" in block else block
        text = text.translate(_COMMA_IS_POINT) if separator.decimal_comma else text
        if not text.isspace():
            try:
                rows = _parse(text, width, columns, separator, left)
            except ValueError:
                raise ValueError(_first_fault(block, width, columns, separator, line)) from None
            yield rows
            left = None if left is None else left - len(rows)
            if left == 0:
                return
        line += block.count(b"\n")


def _parse(
    text: bytes, width: int, columns: Sequence[int] | None, separator: Separator, most: int | None
) -> np.ndarray:
    rows = np.loadtxt(
        io.BytesIO(text),
        dtype=np.float64,
        comments=None,
        delimiter=separator.between,
        usecols=columns,
        max_rows=most,
        ndmin=2,
        encoding="latin1",
    )
    if columns is None and rows.shape[1] != width:
        raise ValueError
    return rows


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """The rest of a stream in pieces that end with a line."""
    rest = b""
    while block := stream.read(_BLOCK):
        cut = block.rfind(b"\n") + 1
        if cut == 0 and len(rest) + len(block) > LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE} bytes")
        if cut > 0:
            yield rest + block[:cut]
            rest = b""
        rest += block[cut:]
    if rest:
        yield rest


def _first_fault(block: bytes, width: int, columns: Sequence[int] | None, separator: Separator, line: int) -> str:
    """What is wrong with a block that could not be read, for the user."""
    for number, content in enumerate(block.split(b"\n"), line):
        text = _COMMENT.sub(b"", content).decode("latin1").strip()
        fields = separator.split(text)
        right = len(fields) == width if columns is None else len(fields) > max(columns)
        if text and not (right and all(is_number(fields[column]) for column in columns or range(width))):
            return f"line {number}: not {width} numbers like the first: {text[:60]!r}"
    return f"no numbers from line {line} on"


def is_number(field: str) -> bool:
    """Whether a field is a number, NaN and infinity among them."""
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field
