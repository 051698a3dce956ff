"""Random damage: whatever bytes a file has, a reader gives a cloud or one line that says what is wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from unrender.datasets.clouds import PointCloud, read_cloud, write_cloud, write_ply
from unrender.errors import CaptureError

CASES = 300


def good(path: Path, kind: str) -> bytes:
    """A small file of the kind, with all that it can hold."""
    generator = torch.Generator().manual_seed(0)
    positions = torch.randn(20, 3, dtype=torch.float64, generator=generator) * 100
    colors, normals = torch.rand(20, 3, generator=generator), torch.randn(20, 3, generator=generator)
    cloud = PointCloud(positions, colors, None if kind == ".pts" else normals)
    if kind == "text.ply":
        write_ply(path, cloud, text=True)
    else:
        write_cloud(path, cloud)
    return path.read_bytes()


def damaged(content: bytes, random_: random.Random) -> bytes:
    """Cut off, or with some bytes changed; half of the time in the first 600, where headers are."""
    if random_.random() < 0.2:
        return content[: random_.randrange(len(content))]
    changed = bytearray(content)
    within = min(len(content), random_.choice((600, len(content))))
    for _ in range(random_.choice((1, 1, 2, 5, 20))):
        at = random_.randrange(within)
        changed[at] = random_.choice((0, 1, 127, 128, 255, changed[at] ^ 1 << random_.randrange(8)))
    return bytes(changed)


def refusal_of(path: Path) -> str:
    """What the reader says to a file, nothing when it reads it; any other exception is the test's failure."""
    try:
        read_cloud(path)
    except CaptureError as refusal:
        return str(refusal)
    return ""


@pytest.mark.parametrize("kind", [".ply", "text.ply", ".xyz", ".csv", ".pts", ".las", ".laz", ".e57"])
def test_damage_is_said_in_one_line(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]):
    path = tmp_path / f"a{kind}"
    content, refusals = good(path, kind), []
    for seed in range(CASES):
        path.write_bytes(damaged(content, random.Random(seed)))
        refusals.append(refusal_of(path))
    assert sum(map(bool, refusals)) > CASES // 10
    assert not any("\n" in line or len(line) > 600 for line in refusals)
    assert capfd.readouterr().err == ""


def test_damage_behind_right_checksums_is_said_in_one_line(tmp_path: Path, checksummed: Callable[..., bytes]):
    path = tmp_path / "a.e57"
    content, refusals = good(path, ".e57"), []
    for seed in range(CASES):
        path.write_bytes(checksummed(damaged(content, random.Random(seed))))
        refusals.append(refusal_of(path))
    assert 0 < sum(map(bool, refusals)) < CASES
