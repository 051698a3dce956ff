"""The small text files of an ADOP scene: ini files, and lists with one line per photo."""

from __future__ import annotations

import configparser
import math
from pathlib import Path

from unrender.errors import CaptureError

__all__ = ["Ini", "finite", "read_ini", "read_lines", "whole"]

_LARGEST_INI, _LARGEST_LIST = 1 << 20, 1 << 28
"""Bytes that a file of settings and a list may have."""
_DO = "copy it again, or write it again with colmap2adop"


class Ini:
    """The settings of one section of an ini file, by name; ``path`` is for what is said about them."""

    def __init__(self, path: Path, section: str, values: dict[str, str]) -> None:
        self.path, self._section, self._values = path, section, values

    def text(self, name: str, default: str = "") -> str:
        """A value as it is written; ``default`` where it is absent or empty."""
        return self._values.get(name, "").strip() or default

    def has(self, name: str) -> bool:
        """Whether there is such a value, empty ones too."""
        return name in self._values

    def floats(self, name: str, count: int | None = None) -> list[float]:
        """Finite numbers with spaces between them; ``count`` None: any number of them, none included."""
        words = self._values.get(name, "").split()
        numbers = finite(words)
        if numbers is None or count not in (None, len(numbers)):
            expected = "finite numbers" if count is None else f"{count} finite numbers"
            raise self.wrong(name, expected)
        return numbers

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number; ``default`` where it is absent, unless that is None."""
        text = self.text(name, "" if default is None else str(default))
        number = whole(text)
        if number is None:
            raise self.wrong(name, "a whole number")
        return number

    def wrong(self, name: str, expected: str) -> CaptureError:
        """What to raise for a value that is not as expected."""
        got = repr(self._values[name][:80]) if name in self._values else "nothing"
        return CaptureError(f"{name} in [{self._section}]", where=self.path, expected=expected, got=got, do=_DO)


def read_ini(path: Path, section: str) -> Ini:
    """One section of an ini file. Raises CaptureError when the file is not there, no such text, or without it."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, default_section="")
    parser.optionxform = str  # type: ignore[assignment]  # names keep their case: K is not k
    try:
        parser.read_string(_text(path, _LARGEST_INI))
    except configparser.Error as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise CaptureError(f"this is no ini file ({reason})", where=path, do=_DO) from None
    if not parser.has_section(section):
        raise CaptureError(f"no section [{section}] in it", where=path, do=_DO)
    return Ini(path, section, dict(parser.items(section)))


def read_lines(path: Path) -> list[str]:
    """The lines of a list without their ends. Raises CaptureError when it is not there or not UTF-8."""
    lines = _text(path, _LARGEST_LIST).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line.rstrip("\r") for line in lines]


def finite(words: list[str]) -> list[float] | None:
    """The numbers, or None unless all of them are finite."""
    try:
        numbers = [float(word) for word in words if "_" not in word]
    except ValueError:
        return None
    return numbers if len(numbers) == len(words) and all(map(math.isfinite, numbers)) else None


def whole(text: str) -> int | None:
    """A whole number of at most nine digits, or None."""
    digits = text.strip().removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else None


def _text(path: Path, largest: int) -> str:
    try:
        if path.stat().st_size > largest:
            raise CaptureError(f"more than {largest} bytes", where=path, expected="a short text", do=_DO)
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise CaptureError("no such file", where=path, do=_DO) from None
    except UnicodeDecodeError as error:
        raise CaptureError(f"this text is not UTF-8 ({error.reason})", where=path, do=_DO) from None
    except OSError as error:
        raise CaptureError(f"cannot be read ({error.strerror})", where=path, do=_DO) from None
