"""NeRF-synthetic scenes, as the data set lays them out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from posed_room import pixels_of, refuses_any_damage

from unrender.datasets.blender import is_blender
from unrender.datasets.clouds import PointCloud, write_ply
from unrender.datasets.formats import find_format, read_reconstruction, write_reconstruction
from unrender.datasets.read_capture import read_capture
from unrender.errors import CaptureError, SettingsError

ANGLE = 0.6911112070083618
"""camera_angle_x of the scenes of the data set."""
FROM_ABOVE = [[-1.0, 0.0, 0.0, 0.0], [0.0, 0.6, -0.8, -3.2], [0.0, -0.8, -0.6, -2.4], [0.0, 0.0, 0.0, 1.0]]
"""At (0, -3.2, -2.4), looking at the origin along (0, 0.8, 0.6), x to the left of the world."""
SIZE = (80, 60)


@pytest.fixture
def scene(tmp_path) -> Path:
    """Three photos to fit to, two to leave out, two to test with; beside these lie depths and normals."""
    for split, count in {"train": 3, "val": 2, "test": 2}.items():
        (tmp_path / split).mkdir()
        frames = []
        for place in range(count):
            Image.new("RGBA", SIZE).save(tmp_path / split / f"r_{place}.png")
            frames.append({"file_path": f"./{split}/r_{place}", "rotation": 0.01, "transform_matrix": FROM_ABOVE})
        document = {"camera_angle_x": ANGLE, "frames": frames}
        (tmp_path / f"transforms_{split}.json").write_text(json.dumps(document))
    for kind in ("depth_0000", "normal_0000"):
        Image.new("RGBA", SIZE).save(tmp_path / "test" / f"r_0_{kind}.png")
    return tmp_path


def test_reads_a_scene(scene):
    assert find_format(scene) == ("blender", ())
    found = read_reconstruction(scene)
    assert found.names == ("test/r_0.png", "test/r_1.png", "train/r_0.png", "train/r_1.png", "train/r_2.png")
    assert found.held_out == ("test/r_0.png", "test/r_1.png")
    assert found.image_folder == scene
    assert found.alpha == "white"
    assert found.notes == ("2 photos of transforms_val.json left out: for neither fitting nor testing",)
    (lens,) = found.lenses
    focal = 0.5 * SIZE[0] / math.tan(0.5 * ANGLE)
    assert lens.model == "PINHOLE"
    assert lens.params.tolist() == pytest.approx([focal, focal, 40, 30], rel=1e-15)


def test_sees_what_blender_rendered(scene):
    """Blender's angle of view is from edge to edge: (x, y) from the corner of the photo is seen along
    ((x - W/2) / f, -(y - H/2) / f, -1), f = W/2 / tan(angle/2), turned by transform_matrix (NeRF's get_rays, which goes
    through the corners of pixels; nerfstudio and instant-ngp go through their centres).
    """
    found, matrix = read_reconstruction(scene), torch.tensor(FROM_ABOVE, dtype=torch.float64)
    pixels = torch.tensor([[0.0, 0], [80, 0], [13.25, 50.5], [40, 30]], dtype=torch.float64)
    focal = 0.5 * SIZE[0] / math.tan(0.5 * ANGLE)
    across, up = (pixels[:, 0] - 40) / focal, -(pixels[:, 1] - 30) / focal
    directions = torch.stack([across, up, -torch.ones(4, dtype=torch.float64)], dim=1) @ matrix[:3, :3].T
    seen = pixels_of(found, 0, matrix[:3, 3] + 4 * directions)
    torch.testing.assert_close(seen, pixels, rtol=0, atol=1e-9)
    torch.testing.assert_close(directions[3], torch.tensor([0, 0.8, 0.6], dtype=torch.float64))


def test_a_capture_wants_points(scene, tmp_path):
    with pytest.raises(CaptureError, match="no points in this reconstruction; give a point cloud in its frame"):
        read_capture(scene)
    write_ply(tmp_path / "points.ply", PointCloud(torch.rand(9, 3, dtype=torch.float64)))
    capture = read_capture(scene, points=tmp_path / "points.ply")
    assert capture.test == (0, 1)
    assert set(capture.alpha) == {"white"}


def test_without_a_test_split(scene):
    (scene / "transforms_test.json").unlink()
    (scene / "transforms_val.json").unlink()
    found = read_reconstruction(scene)
    assert (len(found), found.held_out, found.notes) == (3, None, ())


def test_one_of_its_files_alone(scene):
    found = read_reconstruction(scene / "transforms_val.json")
    assert found.names == ("r_0.png", "r_1.png")
    assert found.image_folder == scene / "val"


def test_photos_that_are_not_there(scene):
    (scene / "train" / "r_1.png").unlink()
    assert len(read_reconstruction(scene)) == 4
    with pytest.raises(CaptureError, match="no such file or folder"):
        read_reconstruction(scene / "nowhere", "blender")
    with pytest.raises(CaptureError, match=r"no NeRF-synthetic scene here, expected transforms_train\.json"):
        read_reconstruction(scene / "train", "blender")
    assert not is_blender(scene / "train")


def test_is_not_written(scene):
    with pytest.raises(SettingsError, match="NeRF-synthetic scene can only be read"):
        write_reconstruction(scene / "out", read_reconstruction(scene), "blender")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_any_damage_is_one_line(scene, split):
    file = scene / f"transforms_{split}.json"
    assert refuses_any_damage(file, lambda: read_reconstruction(scene, "blender"), seed=2) > 10
