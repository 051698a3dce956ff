"""How LAZ says that its points are cut into chunks and layers, checked before lazrs takes its word and the memory.

Numbers as in LASzip's own headers (laszip.hpp, LASitem and LASzip): all are little-endian.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["check_chunks"]

_ANY = None
_SIZES = {0: _ANY, 6: 20, 7: 8, 8: 6, 9: 29, 10: 30, 11: 6, 12: 8, 13: 29, 14: _ANY}
"""Kind of a part of a point -> its bytes: 0 BYTE, 6 POINT10 .. 9 WAVEPACKET13, 10 POINT14 .. 14 BYTE14."""
_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}
"""Kind of a part -> its layers in a chunk; BYTE14 has one for each byte."""
_LAYERED = 3
_VARIABLE = 0xFFFFFFFF


@dataclass(frozen=True)
class _Scheme:
    """What LAZ's own record states: ``chunk_size`` in points, ``items`` as (kind, bytes)."""

    compressor: int
    chunk_size: int
    items: tuple[tuple[int, int], ...]


def check_chunks(stream: BinaryIO, record: bytes, points_at: int, point_size: int, count: int) -> None:
    """Raises ValueError or struct.error where chunks, layers or sizes do not fit the file or each other.

    ``record``: the content of LAZ's variable length record; ``points_at``: where the points begin in the file, where
    the stream is left; ``point_size``: bytes of a point; ``count``: the points that the header states.
    """
    scheme = _scheme(record)
    if any(_SIZES.get(kind, -1) not in (_ANY, size) for kind, size in scheme.items):
        raise ValueError(f"no parts of a point: {scheme.items} (kind, bytes)")
    if sum(size for _, size in scheme.items) != point_size:
        raise ValueError(f"points of {point_size} bytes made of {scheme.items} (kind, bytes)")
    end, chunks = _table(stream, points_at)
    if not 0 < chunks * point_size <= end - points_at:  # a chunk begins with one point as it is
        raise ValueError(f"no room for {chunks} chunks of points")
    if scheme.chunk_size != _VARIABLE and chunks * scheme.chunk_size < count:
        raise ValueError(f"it is too short for the {count} points that its header states")
    if scheme.compressor == _LAYERED:
        _check_layers(stream, scheme, points_at + 8, end, chunks)
    stream.seek(points_at)


def _scheme(record: bytes) -> _Scheme:
    compressor, _, _, _, chunk_size = struct.unpack_from("<HHIII", record)
    (items,) = struct.unpack_from("<H", record, 32)
    triples = [struct.unpack_from("<HHH", record, 34 + 6 * item) for item in range(items)]
    return _Scheme(compressor, chunk_size, tuple((kind, size) for kind, size, _ in triples))


def _table(stream: BinaryIO, points_at: int) -> tuple[int, int]:
    """Where the table of chunks begins, which is where the points end, and how many chunks it has."""
    size = os.fstat(stream.fileno()).st_size
    stream.seek(points_at)
    (place,) = struct.unpack("<q", stream.read(8))
    if place == -1:  # by a writer that could not go back
        stream.seek(-8, os.SEEK_END)
        (place,) = struct.unpack("<q", stream.read(8))
    if not points_at + 8 <= place <= size - 8:
        raise ValueError("its table of chunks lies outside the file")
    stream.seek(place)
    _, chunks = struct.unpack("<II", stream.read(8))
    return place, chunks


def _check_layers(stream: BinaryIO, scheme: _Scheme, start: int, end: int, chunks: int) -> None:
    """A chunk is a point, a count and the bytes of each layer, then the layers: they lead from chunk to chunk."""
    layers = sum(_LAYERS.get(kind, size) for kind, size in scheme.items)
    point = sum(size for _, size in scheme.items)
    for _ in range(chunks):
        stream.seek(start + point + 4)
        sizes = struct.unpack(f"<{layers}I", stream.read(4 * layers))
        start += point + 4 + 4 * layers + sum(sizes)
        if start > end:
            raise ValueError("a chunk of points that ends outside the file")
