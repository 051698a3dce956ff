"""OpenSfM's tracks.csv: which photo saw which point where, in the normalised coordinates of ``opensfm_cameras.py``.

Cells are separated by tabs: photo, track (the name of its point), feature, x, y, then size, colour and labels, of which
older files have fewer. Source: mapillary/OpenSfM 238744c, tracks_manager.cc.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from unrender.datasets.reconstruction import Observations, Reconstruction
from unrender.errors import CaptureError

__all__ = ["read_tracks", "write_tracks"]

_HEADER = "OPENSFM_TRACKS_VERSION_v"
_CELLS = {0: 8, 1: 9, 2: 11}
"""Cells of a line, by version; files of the first one have no header."""
_DO = "run OpenSfM's create_tracks again"


def read_tracks(path: Path, found: Reconstruction, points: Mapping[str, int]) -> Reconstruction:
    """``found`` with the observations of its photos; ``points``: place of each point by its name.

    Raises CaptureError when a line is none of a track.
    """
    view_of = {name: view for view, name in enumerate(found.names)}
    views: list[int] = []
    places: list[tuple[float, float]] = []
    seen: list[int] = []
    for number, cells in _rows(path):
        view = view_of.get(cells[0].replace("\\", "/"))
        if view is not None:
            views.append(view)
            places.append(_place(path, number, cells[3:5]))
            seen.append(points.get(cells[1], -1))
    order = np.argsort(np.array(views, dtype=np.int64), kind="stable")
    view = torch.tensor(views, dtype=torch.int64)[order]
    longer, half = _scales(found)
    pixels = torch.tensor(places, dtype=torch.float64).reshape(-1, 2)[order] * longer[view] + half[view]
    return replace(found, observations=Observations(view, pixels, torch.tensor(seen, dtype=torch.int64)[order]))


def write_tracks(path: Path, reconstruction: Reconstruction) -> None:
    """Write the observations that saw a point; its name is its id. Sizes of features are not known and 0."""
    seen = reconstruction.observations
    if seen is None:
        return
    longer, half = _scales(reconstruction)
    places = ((seen.pixel - half[seen.view]) / longer[seen.view]).tolist()
    numbers = reconstruction.numbers.points
    colors = torch.zeros(len(numbers), 3) if reconstruction.points.colors is None else reconstruction.points.colors
    levels = (colors.clamp(0, 1) * 255).round().to(torch.int64).tolist()
    names, ids = reconstruction.names, numbers.tolist()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"{_HEADER}2\n")
        for feature, (view, (x, y), point) in enumerate(
            zip(seen.view.tolist(), places, seen.point.tolist(), strict=True)
        ):
            if point >= 0:
                cells = (names[view], ids[point], feature, repr(x), repr(y), 0, *levels[point], -1, -1)
                file.write("\t".join(map(str, cells)) + "\n")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbered lines, cut into cells."""
    count = _CELLS[0]
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                line = line.rstrip("\r\n")
                if number == 1 and line.startswith(_HEADER):
                    count = _version(path, line.removeprefix(_HEADER))
                    continue
                cells = line.split("\t")
                if len(cells) != count:
                    raise _bad_line(path, number, f"{count} cells with tabs between them", len(cells))
                yield number, cells
    except UnicodeDecodeError as error:
        raise CaptureError(f"this text is not UTF-8 ({error.reason})", where=path, do=_DO) from None
    except OSError as error:
        raise CaptureError(f"cannot be read ({error.strerror})", where=path, do=_DO) from None


def _version(path: Path, text: str) -> int:
    if text not in map(str, _CELLS):
        raise CaptureError("the version of these tracks", where=path, expected="0, 1 or 2", got=text[:20])
    return _CELLS[int(text)]


def _place(path: Path, number: int, cells: list[str]) -> tuple[float, float]:
    try:
        x, y = float(cells[0]), float(cells[1])
    except ValueError:
        raise _bad_line(path, number, "two numbers", cells) from None
    if not (abs(x) <= 10 and abs(y) <= 10):
        raise _bad_line(path, number, "coordinates from -0.5 to 0.5", cells)
    return x, y


def _scales(reconstruction: Reconstruction) -> tuple[torch.Tensor, torch.Tensor]:
    """Longer side [V, 1] and half the size [V, 2] of each photo, in pixels."""
    sizes = torch.tensor([[lens.width, lens.height] for lens in reconstruction.lens_of_view], dtype=torch.float64)
    return sizes.amax(dim=1, keepdim=True), sizes / 2


def _bad_line(path: Path, number: int, expected: str, got: object) -> CaptureError:
    return CaptureError(f"line {number}", where=path, expected=expected, got=got, do=_DO)
