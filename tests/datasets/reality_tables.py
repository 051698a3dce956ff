"""Tables of cameras as RealityCapture writes them, for the tests of its formats."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import Image

from unrender.cameras.lens import LENSES

HAS_RATIONAL = pytest.mark.skipif("FULL_OPENCV" not in LENSES, reason="no lens with k3 yet")
HEADER = "#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2\n"
ANGLES = "163.736597399311,83.4154313461628,174.386496244756"
ROTATION = (
    "0.982594073038806 0.185426733553445 -0.0112166890261935 -0.032113633044729 0.11008102707942 -0.993403685341366 "
    "-0.18296885582437 0.976472781986697 {}"
)
"""One camera as RealityCapture exported it as CSV and as XMP: Epic's forum, thread 710449. The last number is cut off
there, to 0.114; it is what makes the last column a unit vector."""
LAST = math.sqrt(1 - 0.0112166890261935**2 - 0.993403685341366**2)


def table(folder: Path, rows: str, *, header: str = HEADER, size: tuple[int, int] = (640, 480)) -> Path:
    """A CSV file of cameras and the photos a.jpg and b.jpg."""
    (folder / "cameras.csv").write_text(header + rows)
    (folder / "images").mkdir(exist_ok=True)
    for name in ("a.jpg", "b.jpg"):
        Image.new("L", size).save(folder / "images" / name)
    return folder
