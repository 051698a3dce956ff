"""A small COLMAP reconstruction, written anew for each test that takes it: six views, two cameras, thirty points."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import make_lens
from unrender.cameras.sensor import Sensor
from unrender.datasets.clouds import PointCloud
from unrender.datasets.colmap import write_colmap
from unrender.datasets.reconstruction import Reconstruction
from unrender.geometry.rotations import exp_so3
from unrender.geometry.transforms import rigid
from unrender.images.exif import exif_bytes

WIDTH, HEIGHT = 48, 30


@pytest.fixture
def names() -> tuple[str, ...]:
    """Not in sorted order; with folders, spaces and a letter beyond ASCII."""
    return ("b.jpg", "a.jpg", "c d.jpg", "left/é 1.jpg", "left/é 2.jpg", "z.png")


@pytest.fixture
def cameras() -> Cameras:
    """Six views through two lenses, at random."""
    generator = torch.Generator().manual_seed(7)
    lenses = (
        make_lens("SIMPLE_RADIAL", WIDTH, HEIGHT, [40.123456789012345, 24, 15, 0.0123]),
        make_lens("OPENCV", WIDTH, HEIGHT, [41, 42, 23.5, 15.25, 0.01, -0.002, 0.0003, -0.0004]),
    )
    rotations = exp_so3(torch.randn(6, 3, dtype=torch.float64, generator=generator))
    index = torch.tensor([0, 0, 1, 0, 1, 1])
    return Cameras(
        camera_from_world=rigid(rotations, torch.randn(6, 3, dtype=torch.float64, generator=generator)),
        camera_index=index,
        lenses=lenses,
        pixel_scale=torch.ones(6, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(6, 2, dtype=torch.float64),
        sizes=torch.tensor([[HEIGHT, WIDTH]]).repeat(6, 1),
        sensor=Sensor.start(torch.zeros(6), 2),
    )


@pytest.fixture
def cloud() -> PointCloud:
    """Thirty coloured points without normals."""
    generator = torch.Generator().manual_seed(8)
    positions = torch.randn(30, 3, dtype=torch.float64, generator=generator)
    return PointCloud(positions, torch.randint(0, 256, (30, 3), generator=generator).float() / 255)


@pytest.fixture
def small(tmp_path: Path, names: tuple[str, ...], cameras: Cameras, cloud: PointCloud) -> Path:
    """A folder with ``images`` and a binary model in ``sparse/0``.

    Each photo has one flat colour, so that photos can be told apart. The PNG has no EXIF, the others have EV 4.
    """
    for view, name in enumerate(names):
        path = tmp_path / "capture" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = b"" if name.endswith(".png") else exif_bytes(2, 0.25, 100)
        Image.new("RGB", (WIDTH, HEIGHT), (40 * view, 100, 200)).save(path, exif=exif)
    write_colmap(tmp_path / "capture" / "sparse" / "0", Reconstruction.of(names, cameras, cloud), binary=True)
    return tmp_path / "capture"


def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


@pytest.fixture(scope="session")
def checksummed() -> Callable[..., bytes]:
    """(bytes of an E57 file, change of its XML) -> the same with lengths and the checksum of every page put right."""
    table = _crc32c_table()

    def page(content: bytes) -> bytes:
        value = 0xFFFFFFFF
        for byte in content:
            value = table[(value ^ byte) & 255] ^ value >> 8
        return content + struct.pack(">I", value ^ 0xFFFFFFFF)

    def put_right(content: bytes, change: Callable[[bytes], bytes] = bytes) -> bytes:
        content += b"\0" * (-len(content) % 1024)
        bare = b"".join(content[at : at + 1020] for at in range(0, len(content), 1024))
        if change is not bytes:
            at, length = struct.unpack_from("<QQ", bare, 24)
            start = at // 1024 * 1020 + at % 1024
            xml = change(bare[start : start + length])
            bare = bare[:start] + xml + b"\0" * (-(start + len(xml)) % 1020)
            bare = bare[:16] + struct.pack("<QQQ", len(bare) // 1020 * 1024, at, len(xml)) + bare[40:]
        return b"".join(page(bare[at : at + 1020]) for at in range(0, len(bare), 1020))

    return put_right
