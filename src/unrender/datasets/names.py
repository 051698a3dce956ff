"""From the name that a reconstruction gives a photo to a file, across systems.

Names were often written elsewhere: with backslashes, with the whole path on another computer, or with letters that
another system composes differently (``é`` is one sign in NFC and two in NFD). These are found. Other spellings, upper
and lower case among them, are not guessed: two photos may differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from unicodedata import normalize

__all__ = ["PictureFolder", "is_file", "leads_out", "naming_notes", "some_of"]

_NAMED = 3
"""How many names a note gives before it only counts."""


class PictureFolder:
    """A folder in which files are looked up by the names of a reconstruction; every listing is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[Path, dict[str, str | None]] = {}

    def find(self, name: str) -> Path | None:
        """The file of that name; else the one that it means on another system; None where there is none."""
        readings = [*_readings(name)]
        exact = (path for reading in readings if is_file(path := self.root / reading))
        alike = (path for reading in readings if (path := self._composed_otherwise(reading)) is not None)
        return next(exact, None) or next(alike, None)

    def _composed_otherwise(self, name: str) -> Path | None:
        """The one file whose name differs in nothing but how its letters are composed."""
        if name.isascii():
            return None
        place = self.root
        for part in PurePosixPath(name).parts:
            entry = self._listing(place).get(normalize("NFC", part))
            if entry is None:
                return None
            place = place / entry
        return place if is_file(place) else None

    def _listing(self, folder: Path) -> dict[str, str | None]:
        """Entries by their name in NFC, None where there are several."""
        if folder not in self._listings:
            found: dict[str, str | None] = {}
            for entry in folder.iterdir() if folder.is_dir() else ():
                composed = normalize("NFC", entry.name)
                found[composed] = None if composed in found else entry.name
            self._listings[folder] = found
        return self._listings[folder]


def leads_out(name: str) -> bool:
    """Whether a name may lead out of the folder of the photos. The path of a Windows drive does not: see ``find``."""
    path = PurePosixPath(name.replace("\\", "/"))
    return ".." in path.parts or "\0" in name or (path.is_absolute() and not _is_on_drive(name))


def naming_notes(photos: Mapping[str, Path], folder: Path) -> tuple[str, ...]:
    """For the user: which photos were found under another name than the reconstruction gives them."""
    composed, moved = [], []
    for name, path in photos.items():
        found = path.relative_to(folder).as_posix()
        if found not in (name, name.replace("\\", "/")):
            (moved if _is_on_drive(name) else composed).append(name)
    notes = []
    if composed:
        what = "are named alike on disk, with letters composed otherwise (Unicode NFC, NFD)"
        notes.append(f"{len(composed)} photos {what}: {some_of(composed)}")
    if moved:
        notes.append(f"{len(moved)} photos of another computer are found by the end of their path: {some_of(moved)}")
    return tuple(notes)


def some_of(names: list[str] | tuple[str, ...]) -> str:
    """The first few names."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _readings(name: str) -> Iterator[str]:
    """What a name may mean below a folder, best first: itself, with Windows' separators, ever less of a whole path."""
    yield name
    if _is_on_drive(name):
        parts = PureWindowsPath(name).parts[1:]
        yield from ("/".join(parts[start:]) for start in range(len(parts)))
    elif "\\" in name:
        yield name.replace("\\", "/")


def _is_on_drive(name: str) -> bool:
    r"""``C:\photos\a.jpg``, ``C:/photos/a.jpg`` or ``\\server\photos\a.jpg``."""
    return bool(PureWindowsPath(name).drive) and not name.startswith("/")


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that the system cannot hold names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
