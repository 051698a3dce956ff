"""Points in text: the dialects of the programs that write them, and lines that no program wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unrender.datasets.cloud_files import number_rows
from unrender.datasets.cloud_files.xyz import XYZ_SUFFIXES
from unrender.datasets.clouds import PointCloud, read_cloud, write_cloud
from unrender.errors import CaptureError

POSITIONS = [[1.5, 2, 3], [-4, 5, 6e2]]
RED_BLUE = [[1, 0, 0], [0, 0, 1]]
UP_DOWN = [[0, 0, 1], [0, 0, -1]]
DARK_BRIGHT = [[0] * 3, [1] * 3]

# text -> colours, normals; positions are the same in all
DIALECTS: dict[str, tuple[str, object, object]] = {
    "spaces": ("1.5 2 3\n-4 5 6e2\n", None, None),
    "no last line end": ("1.5 2 3\n-4 5 600", None, None),
    "windows": ("1.5 2 3\r\n-4 5 600\r\n", None, None),
    "byte order mark": ("\ufeff1.5 2 3\n-4 5 600\n", None, None),
    "many blanks": ("\n   1.5\t 2   3  \n\n -4 5 600\n\n", None, None),
    "commas": ("1.5,2,3\n-4,5,600\n", None, None),
    "commas and spaces": ("1.5, 2, 3\n-4, 5, 600\n", None, None),
    "tabs": ("1.5\t2\t3\n-4\t5\t600\n", None, None),
    "semicolons": ("1.5;2;3\n-4;5;600\n", None, None),
    "decimal commas": ("1,5;2,0;3,0\n-4,0;5,0;600,0\n", None, None),
    "decimal commas and spaces": ("1,5 2,0 3,0\n-4,0 5,0 600,0\n", None, None),
    "comments": ("# a scan\n// of ours\n1.5 2 3 # here\n# between\n-4 5 600 // there\n", None, None),
    "names": ("x y z\n1.5 2 3\n-4 5 600\n", None, None),
    "cloudcompare": ("//X Y Z R G B Nx Ny Nz\n1.5 2 3 255 0 0 0 0 1\n-4 5 600 0 0 255 0 0 -1\n", RED_BLUE, UP_DOWN),
    "cloudcompare with count": ("//X Y Z Rf Gf Bf\n2\n1.5 2 3 1 0 0\n-4 5 600 0 0 1\n", RED_BLUE, None),
    "names in quotes, with units": ('"X [m]","Y [m]","Z (m)"\n1.5,2,3\n-4,5,600\n', None, None),
    "names in another order": ("r;g;b;Z;Y;X\n255;0;0;3;2;1,5\n0;0;255;600;5;-4\n", RED_BLUE, None),
    "survey": ("id,Easting,Northing,Height,code\na,1.5,2,3,tree\nb,-4,5,600,wall\n", None, None),
    "a group that is not whole": ("x y z r g\n1.5 2 3 1 2\n-4 5 600 1 2\n", None, None),
    "8 bits": ("1.5 2 3 255 0 0\n-4 5 600 0 0 255\n", RED_BLUE, None),
    "16 bits": ("1.5 2 3 65535 0 0\n-4 5 600 0 0 65535\n", RED_BLUE, None),
    "0 to 1": ("1.5 2 3 1.0 0.5 0.25\n-4 5 600 0 0 1\n", [[1, 0.5, 0.25], [0, 0, 1]], None),
    "0 to 1, a little over": ("1.5 2 3 1.02 0.5 0.25\n-4 5 600 0 0 1\n", [[1.02, 0.5, 0.25], [0, 0, 1]], None),
    "normals": ("1.5 2 3 0 0 1\n-4 5 600 0 0 -1\n", None, UP_DOWN),
    "intensity": ("1.5 2 3 -2048\n-4 5 600 2047\n", DARK_BRIGHT, None),
    "intensity by name": ("x,y,z,Scalar_Intensity\n1.5,2,3,7\n-4,5,600,9\n", DARK_BRIGHT, None),
    "pts": ("2\n1.5 2 3 -800 255 0 0\n-4 5 600 900 0 0 255\n", RED_BLUE, None),
    "intensity last": ("1.5 2 3 255 0 0 -0.25\n-4 5 600 0 0 255 0.75\n", RED_BLUE, None),
    "colours and normals": ("1.5 2 3 255 0 0 0 0 1\n-4 5 600 0 0 255 0 0 -1\n", RED_BLUE, UP_DOWN),
    "normals and colours": ("1.5 2 3 0 0 1 255 0 0\n-4 5 600 0 0 -1 0 0 255\n", RED_BLUE, UP_DOWN),
    "all": ("1.5 2 3 7 255 0 0 0 0 1\n-4 5 600 8 0 0 255 0 0 -1\n", RED_BLUE, UP_DOWN),
}


@pytest.mark.parametrize("suffix", [".xyz", ".CSV"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_read(tmp_path: Path, dialect: str, suffix: str):
    text, colors, normals = DIALECTS[dialect]
    (tmp_path / f"a{suffix}").write_bytes(text.encode())
    read = read_cloud(tmp_path / f"a{suffix}")
    assert read.positions.tolist() == POSITIONS
    for rows, expected in ((read.colors, colors), (read.normals, normals)):
        torch.testing.assert_close(rows, None if expected is None else torch.tensor(expected).float())


REFUSED = {
    "": "no points",
    "# nothing\n\n": "no points",
    "x y z\n": "no points",
    "5\n": "no points",
    "hello\nthere\n": "line 1 has neither numbers nor names of columns: 'hello'",
    "3\nwater\nO 0 0 0\nH 1 0 0\nH 0 1 0\n": "line 2 has neither",
    "1 2\n3 4\n": "line 1 has neither",
    "1 2 3\n1 2\n": "line 2: not 3 numbers like the first: '1 2'",
    "1 2 3\n\n# x\n1 2 3 4\n": "line 4: not 3 numbers like the first: '1 2 3 4'",
    "1 2 3\n1 two 3\n": "line 2: not 3 numbers like the first: '1 two 3'",
    "1,2,3\n1,,3\n": "line 2: not 3 numbers",
    "1 2 3\n1_0 2 3\n": "line 2: not 3 numbers",
    "x y z i\n1 2 3 4\n1 2 3\n": "line 3: not 4 numbers",
    "x y z i\nA B C D\n1 2 three 4\n": "line 3 is not like the names of its columns",
    "1 2 3 4 5\n": "cannot tell what its 5 columns are; name the columns in a first line",
    "1 2 3 4 5 6 7 8\n": "cannot tell what its 8 columns are",
    "3\n1.5 2.5 3.5\n4.5 5.5 6.5\n": "expected 3 points, got 2",
    "1\n1 2 3\n4 5 6\n": "expected 1 points, got 2",
    "1000000000000000000\n1 2 3\n": "too short for the 1000000000000000000 points",
    "9" * 5000 + "\n1 2 3\n": "line 1 has neither",
    "x y z r g b\n1 2 3 -1 0 0\n": "columns 4 to 6 hold colours of -1 to 0",
    "1 2 3 4 5 70000\n": "columns 4 to 6 hold colours of 0 to 70000",
    "# " + "x" * (1 << 17): "not text",
    "1 2 3\n" + "4 " * (1 << 17): "line 2: not 3 numbers",
    "# c\n" * 300 + "1 2 3\n": "no numbers within 200 lines",
    "1 2 3\n\0\0\0\n": "line 2: not 3 numbers",
}


@pytest.mark.parametrize("text", REFUSED)
def test_other_lines_are_refused_by_number(tmp_path: Path, text: str):
    (tmp_path / "a.xyz").write_text(text)
    with pytest.raises(CaptureError) as refusal:
        read_cloud(tmp_path / "a.xyz")
    assert REFUSED[text] in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


def test_blocks_do_not_show(tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(number_rows, "_BLOCK", 100)
    monkeypatch.setattr(number_rows, "LONGEST_LINE", 200)
    written = PointCloud(
        torch.randn(200, 3, dtype=torch.float64, generator=generator), torch.rand(200, 3, generator=generator).round()
    )
    write_cloud(tmp_path / "a.csv", written)
    read = read_cloud(tmp_path / "a.csv")
    assert torch.equal(read.positions, written.positions)
    assert read.colors is not None
    torch.testing.assert_close(read.colors, written.colors)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    lines[150] = "1,2"
    (tmp_path / "a.csv").write_text("\n".join(lines))
    with pytest.raises(CaptureError, match="line 151: not 6 numbers"):
        read_cloud(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("1,2,3\n" + "4," * 500)
    with pytest.raises(CaptureError, match="a line of more than 200 bytes"):
        read_cloud(tmp_path / "a.csv")


@pytest.mark.parametrize("scale", ["255", "1"])
def test_the_scale_of_colours_is_that_of_the_whole_file(tmp_path: Path, scale: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(number_rows, "_BLOCK", 64)
    (tmp_path / "a.xyz").write_text("0.5 0 0 1 0 0\n" * 20 + f"0 0.5 0 0 0.5 {scale}\n")
    read = read_cloud(tmp_path / "a.xyz")
    assert read.colors is not None
    assert read.colors[0].tolist() == pytest.approx([1 / float(scale), 0, 0])
    assert read.colors[-1, 2] == 1


@pytest.mark.parametrize("suffix", XYZ_SUFFIXES)
def test_numpy_reads_what_we_write(tmp_path: Path, generator: torch.Generator, suffix: str):
    positions = torch.randn(20, 3, dtype=torch.float64, generator=generator) * 1e6
    levels = torch.randint(0, 256, (20, 3), generator=generator)
    levels[0, 0] = 255
    write_cloud(tmp_path / f"a{suffix}", PointCloud(positions, levels / 255))
    between = "," if suffix == ".csv" else None
    rows = np.loadtxt(tmp_path / f"a{suffix}", delimiter=between, skiprows=1)
    np.testing.assert_array_equal(rows[:, :3], positions.numpy())
    np.testing.assert_array_equal(rows[:, -3:], levels.numpy())
