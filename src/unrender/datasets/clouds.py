"""Point clouds as files hold them: where points are, what colour they were seen in, which way they face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unrender.errors import CaptureError, ShapeError

__all__ = ["FARTHEST", "PointCloud", "read_ply", "write_ply"]

_POSITION, _COLOR, _NORMAL = ("x", "y", "z"), ("red", "green", "blue"), ("nx", "ny", "nz")


FARTHEST = 1e15
"""Largest coordinate of anything, in the unit of the input: float32 still holds the squares of distances."""


@dataclass(frozen=True)
class PointCloud:
    """N points in the frame and scale of the input.

    ``positions`` [N, 3] float64, world; ``colors`` [N, 3] float32 in 0..1 as recorded (as a rule sRGB) or None;
    ``normals`` [N, 3] float32, zero where unknown, or None. Raises ShapeError when the lengths disagree.
    """

    positions: torch.Tensor
    colors: torch.Tensor | None = None
    normals: torch.Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("positions", "colors", "normals"):
            rows = getattr(self, name)
            if rows is not None and rows.shape != (len(self), 3):
                raise ShapeError(f"{name} of a point cloud", expected=[len(self), 3], got=list(rows.shape))

    def __len__(self) -> int:
        return self.positions.shape[0]

    def select(self, which: torch.Tensor) -> PointCloud:
        """The points of an index [M] or a mask [N] bool."""
        colors, normals = (None if rows is None else rows[which] for rows in (self.colors, self.normals))
        return PointCloud(self.positions[which], colors, normals)

    def finite(self) -> PointCloud:
        """Without the points whose position is not finite or beyond ``FARTHEST``; normals and colours that are not
        finite become zero.
        """
        kept = self.select((self.positions.abs() <= FARTHEST).all(dim=1))
        colors, normals = (_zero_unless_finite(rows) for rows in (kept.colors, kept.normals))
        return PointCloud(kept.positions, colors, normals)


def read_ply(path: Path | str) -> PointCloud:
    """The ``vertex`` element of a PLY file, ASCII or binary.

    Needs x y z; takes red green blue (whole numbers are divided by their type's largest, floats are 0..1 already)
    and nx ny nz when all three are there. Raises CaptureError when the file is absent, damaged, or has no vertices.
    """
    path = Path(path)
    if not path.is_file():
        raise CaptureError("no such file", where=path, expected="a PLY point cloud")
    vertices = _vertices(path)
    positions = _columns(vertices, _POSITION)
    if positions is None:
        raise CaptureError(
            "vertices without position", where=path, expected="x y z", got=list(vertices.dtype.names or ())
        )
    return PointCloud(
        torch.from_numpy(positions.astype(np.float64)),
        _optional(_columns(vertices, _COLOR), _unit_range),
        _optional(_columns(vertices, _NORMAL), lambda rows: rows),
    )


def write_ply(path: Path | str, cloud: PointCloud, *, text: bool = False) -> None:
    """Write a cloud as binary (or ``text``) PLY: double positions, float normals, uchar colours (clamped, rounded)."""
    from plyfile import PlyData, PlyElement

    columns: list[tuple[str, str, np.ndarray]] = [
        (name, "f8", column) for name, column in zip(_POSITION, cloud.positions.cpu().numpy().T, strict=True)
    ]
    if cloud.normals is not None:
        columns += [(name, "f4", column) for name, column in zip(_NORMAL, cloud.normals.cpu().numpy().T, strict=True)]
    if cloud.colors is not None:
        levels = (cloud.colors.cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        columns += [(name, "u1", column) for name, column in zip(_COLOR, levels.T, strict=True)]
    vertices = np.empty(len(cloud), dtype=[(name, kind) for name, kind, _ in columns])
    for name, _, column in columns:
        vertices[name] = column
    PlyData([PlyElement.describe(vertices, "vertex")], text=text, byte_order="<").write(str(path))


def _vertices(path: Path) -> np.ndarray:
    """The structured vertex array of a file; every way in which plyfile gives up becomes one line."""
    from plyfile import PlyData, PlyParseError

    try:
        ply = PlyData.read(str(path), mmap="r")
        vertices = np.asarray(ply["vertex"].data)
    except KeyError:
        raise CaptureError("no element 'vertex' in this PLY", where=path) from None
    except (PlyParseError, ValueError, TypeError, OSError, EOFError, OverflowError, MemoryError, IndexError) as error:
        reason = str(error) or type(error).__name__
        raise CaptureError(f"cannot be read as PLY ({reason})", where=path, do="write it again") from None
    if len(vertices) == 0:
        raise CaptureError("no points in this PLY", where=path)
    return vertices


def _columns(vertices: np.ndarray, names: tuple[str, str, str]) -> np.ndarray | None:
    """Three scalar properties side by side [N, 3], or None unless all are there."""
    present: tuple[str, ...] = vertices.dtype.names or ()
    if any(name not in present or vertices.dtype[name].kind not in "iuf" for name in names):
        return None
    return np.stack([vertices[name] for name in names], axis=1)


def _optional(rows: np.ndarray | None, convert: Callable[[np.ndarray], Any]) -> torch.Tensor | None:
    return None if rows is None else torch.from_numpy(convert(rows).astype(np.float32))


def _unit_range(levels: np.ndarray) -> np.ndarray:
    """Whole numbers of a type -> 0..1."""
    return levels if levels.dtype.kind == "f" else levels / np.iinfo(levels.dtype).max


def _zero_unless_finite(rows: torch.Tensor | None) -> torch.Tensor | None:
    return None if rows is None else torch.where(rows.isfinite().all(dim=1, keepdim=True), rows, 0)
