"""The JSON of NeRF and its successors, frame by frame: what a frame says, or else the file for all of its frames."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch

from unrender.errors import CaptureError
from unrender.geometry.transforms import inverse, rigid

__all__ = ["ALPHA", "EXPOSURE", "Frame", "camera_from_axes", "load_frames", "looks_like_frames", "poses_of"]

ALPHA = "alpha"
"""Our own entry of a file, which others do not look at: what transparency of its photos means."""
EXPOSURE = "ev100"
"""Our own entry of a frame, which others do not look at: its exposure [stops] at ISO 100."""
_HEAD = 1 << 16
"""Bytes in which a file must show what it is."""
_LARGEST = 1 << 24
"""Pixels along a side that a photo may have."""
_ABSURD = 1e30
"""What no number of a camera or pose reaches."""
_EXACT, _ALMOST = 1e-12, 1e-3
"""How far the product of a rotation with its transpose is from the identity after rounding to 64 bits, and to few
digits."""
_OPENCV_FROM_OPENGL = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
_SHOWN = 8
"""Entries of a list that an error shows."""
_DO = "write it again with the program that made it"


@dataclass(frozen=True)
class Frame:
    """One entry of ``frames``. ``own``: what it says; ``shared``: what the file says for all; ``where``: for errors."""

    own: Mapping[str, Any]
    shared: Mapping[str, Any]
    where: str

    @property
    def path(self) -> str:
        """Of the photo, as the file has it."""
        return self.text("file_path") or ""

    def has(self, key: str) -> bool:
        """Whether the frame or the file says it."""
        return key in self.own or key in self.shared

    def of_first(self, keys: Sequence[str]) -> str | None:
        """The first of ``keys`` in the frame, else in the file; None where neither has any."""
        return next((key for entry in (self.own, self.shared) for key in keys if key in entry), None)

    def text(self, key: str) -> str | None:
        """A string of characters, None where there is none."""
        value = self._value(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value or "\0" in value or not _encodes(value):
            raise self._wrong(key, "a text", value)
        return value

    def flag(self, key: str) -> bool:
        """Whether it is there and true."""
        return bool(self._value(key))

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number, ``default`` where there is none."""
        value = self._value(key)
        if value is None and key not in self.own and default is not None:
            return default
        if not _is_number(value):
            raise self._wrong(key, "a number", value)
        return float(value)

    def numbers(self, key: str, count: int) -> list[float]:
        """So many finite numbers."""
        values = self._value(key)
        if not isinstance(values, list) or len(values) != count or not all(map(_is_number, values)):
            raise self._wrong(key, f"{count} numbers", values)
        return [float(value) for value in values]

    def size(self) -> tuple[int, int] | None:
        """(width, height) in pixels, None unless both are there."""
        if not (self.has("w") and self.has("h")):
            return None
        width, height = (self._pixels(key) for key in ("w", "h"))
        return width, height

    def pose(self) -> list[list[float]]:
        """The first three rows of ``transform_matrix``."""
        rows = self.own.get("transform_matrix")
        if not isinstance(rows, list) or len(rows) not in (3, 4):
            raise self._wrong("transform_matrix", "3 or 4 rows", rows)
        for row in rows:
            if not isinstance(row, list) or len(row) != 4 or not all(map(_is_number, row)):
                raise self._wrong("a row of transform_matrix", "4 finite numbers", row)
        if rows[3:] and max(abs(a - b) for a, b in zip(rows[3], (0, 0, 0, 1), strict=True)) > 1e-6:
            raise self._wrong("the last row of transform_matrix", "[0, 0, 0, 1]", rows[3])
        return rows[:3]

    def _pixels(self, key: str) -> int:
        value = self.number(key)
        if not (1 <= value <= _LARGEST and value == int(value)):
            raise self._wrong(key, "pixels, a whole number", value)
        return int(value)

    def _value(self, key: str) -> Any:
        return self.own[key] if key in self.own else self.shared.get(key)

    def _wrong(self, what: str, expected: str, got: object) -> CaptureError:
        return CaptureError(what, where=self.where, expected=expected, got=_glimpse(got), do=_DO)


def looks_like_frames(file: Path) -> bool:
    """Whether this is a file with ``frames`` near its beginning."""
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    except (OSError, ValueError):
        return False
    return head.startswith(b"{") and b'"frames"' in head


def load_frames(file: Path) -> tuple[dict[str, Any], list[Frame]]:
    """What a file says for all frames, and its frames. Raises CaptureError for anything that is no such JSON."""
    document = _load(file)
    if not isinstance(document, dict) or not isinstance(document.get("frames"), list) or not document["frames"]:
        got = _glimpse(document.get("frames") if isinstance(document, dict) else document)
        raise CaptureError("no frames in this file", where=file, expected="a list under frames", got=got, do=_DO)
    shared = {key: value for key, value in document.items() if key != "frames"}
    frames = []
    for place, own in enumerate(document["frames"]):
        where = f"{file}: frame {place}"
        if not isinstance(own, dict) or not isinstance(own.get("file_path"), str):
            expected = "an object with file_path and transform_matrix"
            raise CaptureError("this frame", where=where, expected=expected, got=_glimpse(own), do=_DO)
        frames.append(Frame(own, shared, f"{where} ({_glimpse(own['file_path'])})"))
    return shared, frames


def poses_of(frames: Sequence[Frame]) -> torch.Tensor:
    """camera_from_world [V, 4, 4] of frames, whose matrices are camera to world with x right, y up, z backwards."""
    world_from_camera = torch.tensor([frame.pose() for frame in frames], dtype=torch.float64)
    return camera_from_axes(world_from_camera[:, :, :3] * _OPENCV_FROM_OPENGL, world_from_camera[:, :, 3])


def camera_from_axes(axes: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """camera_from_world [V, 4, 4] from each camera's axes x, y, z in the world, the columns of [V, 3, 3], and its
    centre [V, 3].

    Rotations that were rounded to few digits become the nearest rotations; what is none stays, to be refused.
    """
    off = (axes.transpose(1, 2) @ axes - torch.eye(3, dtype=torch.float64)).abs().amax(dim=(1, 2))
    rounded = (off > _EXACT) & (off < _ALMOST)
    left, _, right = torch.linalg.svd(axes[rounded])
    axes = axes.index_put((rounded,), left @ right)
    return inverse(rigid(axes, center))


def _load(file: Path) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    try:
        return json.loads(file.read_bytes().decode("utf-8-sig"), parse_constant=refuse)
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error)[:120] or type(error).__name__
        raise CaptureError(f"cannot be read as JSON ({reason})", where=file, do=_DO) from None
    except OSError as error:
        raise CaptureError(f"cannot be read ({error.strerror})", where=file, do=_DO) from None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _ABSURD


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _glimpse(value: object) -> str:
    """The beginning of a value, for an error."""
    if isinstance(value, list | dict) and len(value) > _SHOWN:
        return f"{len(value)} entries"
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        text = type(value).__name__
    return ascii(text)[1:-1][:80] if not _encodes(text) else text[:80]
