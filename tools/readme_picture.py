"""The README's picture, from what ``unrender demo`` leaves: held-out photos, ours, and the input points drawn plainly.

python tools/readme_picture.py unrender-demo docs/images/room.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image

import unrender
from unrender.fit.evaluate import exif_cameras


def main(demo: Path, target: Path) -> None:
    """Three rows of three held-out views."""
    run = unrender.Run.open(demo / "run")
    capture, model = run.capture, run.load_model()
    views = list(capture.test)[:3]
    cameras = exif_cameras(model.cameras, views)
    floor = unrender.plain_points(capture).image(capture.cameras.select(views))
    rows = [torch.stack([capture.image(view) for view in views]), model.image(cameras), floor]
    grid = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((grid.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()).save(target, quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
