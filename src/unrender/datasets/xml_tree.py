"""XML that a stranger wrote: elements and their text, without document types, entities, or anything from elsewhere."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from unrender.errors import CaptureError

__all__ = ["number", "numbers", "parse_xml", "whole"]

_DEEPEST = 64


def parse_xml(file: Path, do: str) -> Element:
    """The root element of an XML file; names in a namespace are ``{uri}name``.

    Raises CaptureError, ending with ``do``, when the file is no XML, has a document type (which is where entities that
    grow without end are declared) or elements in elements beyond all reason.
    """
    builder, depth = TreeBuilder(), 0
    parser = expat.ParserCreate(namespace_separator="}")

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise CaptureError(f"elements within elements, more than {_DEEPEST}", where=file, do=do)
        builder.start(_full(name), {_full(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_full(name))

    def document_type(*_: object) -> None:
        raise CaptureError("an XML file with a document type is not read", where=file, do=do)

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, document_type
    try:
        parser.Parse(file.read_bytes(), True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError, AssertionError) as error:
        raise CaptureError(f"this is no XML ({error})", where=file, do=do) from None


def number(text: str | None, what: str, where: object) -> float:
    """A finite number. Raises CaptureError that says ``what`` should have been one."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in (text or ""):
        raise CaptureError(f"{what} is no number", where=where, expected="a finite number", got=repr((text or "")[:30]))
    return value


def numbers(text: str | None, count: int, what: str, where: object) -> list[float]:
    """``count`` finite numbers between white space. Raises CaptureError as ``number``."""
    words = (text or "").split()
    if len(words) != count:
        raise CaptureError(f"{what} is cut short or too long", where=where, expected=f"{count} numbers", got=len(words))
    return [number(word, what, where) for word in words]


def whole(text: str | None, what: str, where: object, *, least: int = 0) -> int:
    """A whole number from ``least`` to 2^31. Raises CaptureError as ``number``."""
    value = number(text, what, where)
    if value != int(value) or not least <= value < 2**31:
        raise CaptureError(f"{what} is none", where=where, expected=f"a whole number of at least {least}", got=value)
    return int(value)


def _full(name: str) -> str:
    return f"{{{name}" if "}" in name else name
