"""Where the capture of a run lies and how it was read, kept in the run as ``capture.toml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unrender.datasets.capture import Capture
from unrender.datasets.photos import checksums
from unrender.datasets.pictures import Alpha
from unrender.datasets.read_capture import read_capture
from unrender.errors import CaptureError, RunError
from unrender.kernels.rasterize_points.families import check_drawn

__all__ = ["CaptureSource", "Split", "refuse_replaced", "source_from_table", "source_to_table"]

_PLACES = ("images", "masks", "points")
_CHOICES = {"test_every": int, "format": str, "alpha": str}
_KNOWN = ("folder", *_PLACES, *_CHOICES)


@dataclass(frozen=True)
class CaptureSource:
    """A capture on disk and how to read it; see ``read_capture``.

    ``images``, ``masks``, ``points``: where these lie when not in their usual place; ``format``: None to recognise it;
    held out is every ``test_every``-th view, or those of ``test_names`` (names, or a file of them, one a line);
    ``alpha``: what transparency of the photos means, None for what it means in the format.
    """

    folder: Path
    images: Path | None = None
    masks: Path | None = None
    points: Path | None = None
    test_every: int | None = None
    test_names: tuple[str, ...] | Path | None = None
    format: str | None = None
    alpha: Alpha | None = None

    def read(self, width: int | None = None) -> Capture:
        """The capture, at a working ``width`` [pixels] when given.

        Raises CaptureError when it cannot be read, or a lens cannot be rendered.
        """
        capture = read_capture(
            self.folder,
            format=self.format,
            images=self.images,
            masks=self.masks,
            points=self.points,
            test_every=self.test_every,
            test_names=self.test_names,
            alpha=self.alpha,
        )
        for lens in capture.cameras.lenses:
            check_drawn(lens)
        return capture if width is None else capture.at_width(width)

    def absolute(self) -> CaptureSource:
        """The same source, found from any working directory. Raises CaptureError for a path that no file can hold."""
        given = {name: getattr(self, name) for name in ("folder", *_PLACES)}
        paths = {name: Path(path).resolve() for name, path in given.items() if path is not None}
        for path in paths.values():
            if not _is_unicode(str(path)):
                raise CaptureError("this path is not UTF-8, so no run can name it", where=ascii(str(path)))
        return replace(self, **paths)


@dataclass(frozen=True)
class Split:
    """Names of the views that train and of those that are held out."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All views, sorted, as a capture has them."""
        return tuple(sorted(self.train + self.test))


def source_to_table(source: CaptureSource, capture: Capture) -> dict[str, Any]:
    """What ``capture.toml`` says of ``capture``, which was read from ``source``."""
    said = {name: getattr(source, name) for name in _KNOWN if getattr(source, name) is not None}
    return {name: str(value) if isinstance(value, Path) else value for name, value in said.items()} | {
        "train": [capture.names[view] for view in capture.train],
        "test": [capture.names[view] for view in capture.test],
        "checksums": {kind: checksums(files) for kind, files in _pictures(capture, range(len(capture))).items()},
    }


def refuse_replaced(capture: Capture, views: Sequence[int], table: Mapping[str, Any]) -> None:
    """Raises RunError when a picture of ``views`` is not the one that ``capture.toml``, the ``table``, was written of.

    The whole files are read: a copy may keep size and date of what it replaces. A table without checksums knows none.
    """
    known = table.get("checksums", {})
    for kind, files in _pictures(capture, views).items():
        for name, checksum in checksums(files).items():
            if checksum != known.get(kind, {}).get(name, checksum):
                raise RunError(
                    f"this {kind.removesuffix('s')} is not the one that the run began with",
                    where=files[name],
                    do="put the original back, or start a new run with this one",
                )


def _pictures(capture: Capture, views: Sequence[int]) -> dict[str, dict[str, Path]]:
    """The files of some views by kind and name of the view."""
    masks = {capture.names[view]: capture.mask_paths[view] for view in views}
    return {
        "photos": {capture.names[view]: capture.image_paths[view] for view in views},
        "masks": {name: path for name, path in masks.items() if path is not None},
    }


def source_from_table(table: Mapping[str, Any], where: Path) -> tuple[CaptureSource, Split]:
    """The source and split that ``capture.toml`` names.

    What is held out is what was held out when the run began, name by name. Raises RunError when something is missing
    or of another type.
    """
    _check(table, where)
    split = Split(tuple(table["train"]), tuple(table["test"]))
    places = {name: Path(table[name]) for name in ("folder", *_PLACES) if name in table}
    choices = {name: table[name] for name in _CHOICES if name in table}
    return CaptureSource(**places, **choices, test_names=split.test), split


def _check(table: Mapping[str, Any], where: Path) -> None:
    expected = {"folder": str, "train": list, "test": list}
    expected |= {
        name: kind for name, kind in (*dict.fromkeys(_PLACES, str).items(), *_CHOICES.items()) if name in table
    }
    wrong = [name for name, kind in expected.items() if not isinstance(table.get(name), kind)]
    wrong += [name for name in ("train", "test") if name not in wrong and not _is_text(table[name])]
    known = table.get("checksums", {})
    if not isinstance(known, Mapping) or not all(isinstance(entry, Mapping) for entry in known.values()):
        wrong.append("checksums")
    if wrong:
        raise RunError(
            f"the run's capture has no proper {wrong[0]!r}", where=where, do="mend the file, or start the run again"
        )


def _is_unicode(text: str) -> bool:
    """Whether a name holds no bytes that the system could not decode."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_text(names: list[Any]) -> bool:
    return all(isinstance(name, str) for name in names)
