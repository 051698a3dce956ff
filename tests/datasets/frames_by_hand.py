"""Small transforms.json files written entry by entry, for the tests of what is read from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

EYE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
LENS: dict[str, Any] = {"fl_x": 30, "fl_y": 31, "cx": 20, "cy": 14, "w": 40, "h": 28}


def frame(path: str = "images/a.jpg", **more: Any) -> dict[str, Any]:
    """A frame at the origin, looking along -z."""
    return {"file_path": path, "transform_matrix": EYE, **more}


def made(
    folder: Path, frames: Any = None, /, photos: Sequence[str] = (), size: tuple[int, int] = (40, 28), **shared: Any
):
    """A folder with a transforms.json of these entries, and black photos."""
    for name in photos:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size).save(folder / name)
    document = {**shared, "frames": [frame()] if frames is None else frames}
    (folder / "transforms.json").write_text(json.dumps(document), encoding="utf-8")
    return folder
