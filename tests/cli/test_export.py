"""What comes in goes out again: same frame, names and numbers, and nothing of the user's is written over."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pycolmap
import pytest
import torch
from PIL import Image

from unrender.datasets.clouds import read_ply
from unrender.datasets.colmap import write_colmap
from unrender.datasets.formats import read_reconstruction
from unrender.datasets.reconstruction import Ids, Observations
from unrender.fit.checkpoint import points_of
from unrender.fit.run import Run
from unrender.images.io import read_exr, read_exr_metadata

SURVEY = torch.tensor([4_500_123.25, 5_300_456.5, 311.125], dtype=torch.float64)


@pytest.fixture(scope="session")
def tracked(tiny_capture, tmp_path_factory):
    """The tiny capture with odd numbers and with observations, every third of which is of no point."""
    folder = tmp_path_factory.mktemp("tracked") / "capture"
    shutil.copytree(tiny_capture, folder)
    found = read_reconstruction(folder)
    views = torch.arange(9).repeat_interleave(60)
    points = torch.arange(540) * 7 % len(found.points)
    points[::3] = -1
    pixels = torch.rand(540, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 48
    numbers = Ids(torch.arange(9) * 3 + 11, torch.tensor([5]), torch.arange(len(found.points)) * 2 + 100)
    given = replace(found, observations=Observations(views, pixels, points), ids=numbers)
    write_colmap(folder / "sparse" / "0", given)
    return folder


@pytest.fixture(scope="session")
def run_of_tracked(unrender, tracked, small, tmp_path_factory):
    """A finished run of it."""
    run = tmp_path_factory.mktemp("run") / "run"
    said = unrender("fit", tracked, "-o", run, "--config", small, "--steps", 4, "--threads", 1, "--quiet")
    assert said.status == 0, said.err
    return run


def source_of(run):
    """Which points of the input those of a run's scene are."""
    source = points_of(Run.open(run).load_model()).source
    assert source is not None
    return source


def assert_same_model(ours, theirs):
    """Two models as COLMAP's own library reads them: ids, names, poses, lenses, points, tracks, observations."""
    ours, theirs = (pycolmap.Reconstruction(str(folder)) for folder in (ours, theirs))
    assert list(ours.cameras) == list(theirs.cameras)
    for number, camera in theirs.cameras.items():
        assert (ours.cameras[number].model, ours.cameras[number].width) == (camera.model, camera.width)
        np.testing.assert_allclose(ours.cameras[number].params, camera.params, rtol=0, atol=1e-9)
    assert sorted(ours.images) == sorted(theirs.images)
    for number, image in theirs.images.items():
        assert (ours.images[number].name, ours.images[number].camera_id) == (image.name, image.camera_id)
        pose, theirs_pose = (each.cam_from_world().matrix() for each in (ours.images[number], image))
        np.testing.assert_allclose(pose, theirs_pose, rtol=1e-9, atol=1e-9)
        places = [
            [(tuple(place.xy), place.point3D_id) for place in each.points2D] for each in (ours.images[number], image)
        ]
        assert places[0] == places[1]
    assert sorted(ours.points3D) == sorted(theirs.points3D)
    for number, point in theirs.points3D.items():
        np.testing.assert_allclose(ours.points3D[number].xyz, point.xyz, rtol=1e-9, atol=1e-9)
        assert tuple(ours.points3D[number].color) == tuple(point.color)
        tracks = [
            {(seen.image_id, seen.point2D_idx) for seen in each.track.elements}
            for each in (ours.points3D[number], point)
        ]
        assert tracks[0] == tracks[1]


def test_without_refinement_the_export_is_the_input(unrender, tracked, run_of_tracked, tmp_path):
    said = unrender("export", run_of_tracked, "--to", "colmap", "-o", tmp_path / "out")
    assert said.status == 0, said.err
    assert_same_model(tmp_path / "out" / "sparse" / "0", tracked / "sparse" / "0")
    assert (tmp_path / "out" / "images" / "photo_3.jpg").resolve() == (tracked / "images" / "photo_3.jpg").resolve()
    added = read_ply(tmp_path / "out" / "added_points.ply")
    assert len(added) == int((source_of(run_of_tracked) < 0).sum()) > 0
    assert f"{len(added)} points that the fit added" in said.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_refined_cameras_come_out(unrender, tracked, run_of_tracked, tmp_path):
    from unrender.datasets.write_capture import write_capture
    from unrender.fit.exported import export_run

    run = Run.open(run_of_tracked)
    model, source = run.load_model(), source_of(run_of_tracked)
    scene = points_of(model)
    shift = torch.full((9, 6), 0.01, dtype=torch.float64)
    kept = torch.nonzero(source >= 0)[:, 0]
    position = scene.position.clone()
    position[kept[:5]] += 0.25
    moved = replace(model, cameras=model.cameras.moved(shift), scene=replace(scene, position=position))
    write_capture(tmp_path / "out", export_run(run, moved, "colmap").reconstruction, "colmap", photos="none")
    given, back = read_reconstruction(tracked), read_reconstruction(tmp_path / "out")
    torch.testing.assert_close(back.camera_from_world, moved.cameras.camera_from_world, rtol=0, atol=1e-12)
    difference = back.points.positions - given.points.positions
    where = source[kept[:5]].long()
    torch.testing.assert_close(difference[where], torch.full((5, 3), 0.25, dtype=torch.float64), rtol=0, atol=1e-6)
    difference[where] = 0
    assert not bool(difference.any())


def test_exposures_and_masks_of_a_run_go_where_there_is_room(unrender, tracked, small, tmp_path):
    (tmp_path / "masks").mkdir()
    Image.new("L", (64, 48), 255).save(tmp_path / "masks" / "photo_2.jpg.png")
    words = ("--masks", tmp_path / "masks", "--config", small, "--steps", 2, "--threads", 1, "--quiet")
    assert unrender("fit", tracked, "-o", tmp_path / "run", *words).status == 0
    said = unrender("export", tmp_path / "run", "-o", tmp_path / "out", "--to", "adop")
    assert said.status == 0, said.err
    found = read_reconstruction(tmp_path / "out")
    fitted = Run.open(tmp_path / "run").load_model().cameras.sensor.exposure.double()
    torch.testing.assert_close(found.exif_ev, fitted, rtol=0, atol=1e-6)
    assert [mask is not None for mask in found.masks or ()] == [view == 2 for view in range(9)]
    said = unrender("export", tmp_path / "run", "-o", tmp_path / "other", "--to", "bundler", "--lossy")
    assert "left out: 1 masks" in said.err
    assert "exposures" not in said.err


def test_masks_and_what_transparency_means_are_converted(unrender, tracked, tmp_path):
    (tmp_path / "masks").mkdir()
    Image.new("L", (64, 48), 255).save(tmp_path / "masks" / "photo_2.jpg.png")
    words = ("convert", tracked, "--masks", tmp_path / "masks")
    assert unrender(*words, "-o", tmp_path / "out", "--to", "transforms").status == 0
    masks = read_reconstruction(tmp_path / "out").masks
    assert masks is not None
    assert masks[2] == tmp_path / "out" / "masks" / "photo_2.jpg.png"
    said = unrender(*words, "-o", tmp_path / "no", "--to", "metashape")
    assert (said.status, said.out) == (2, "")
    assert "cannot hold 1 masks" in said.err


@pytest.mark.parametrize("words", [("--to", "ply", "--photos", "copy"), ("--to", "exr", "--lossy")])
def test_words_that_mean_nothing_are_refused(unrender, run_of_tracked, tmp_path, words):
    said = unrender("export", run_of_tracked, "-o", tmp_path / "out", *words)
    assert said.status == 2
    assert f"{' '.join(words[2:])} means nothing with --to {words[1]}; leave it out" in said.err
    assert not list(tmp_path.iterdir())


def test_ply_has_the_whole_scene_in_the_inputs_frame(unrender, tracked, run_of_tracked, tmp_path):
    said = unrender("export", run_of_tracked, "--to", "ply", "-o", tmp_path / "out", "--json")
    cloud, source = read_ply(tmp_path / "out" / "points.ply"), source_of(run_of_tracked)
    assert json.loads(said.out)["points"] == len(cloud) == len(source)
    kept = source >= 0
    given = read_reconstruction(tracked).points
    index = source[kept].long()
    assert cloud.colors is not None
    assert given.colors is not None
    torch.testing.assert_close(cloud.positions[kept], given.positions[index], rtol=0, atol=1e-6)
    seen = cloud.colors[kept] != 0.5
    assert float((cloud.colors[kept] - given.colors[index])[seen].abs().median()) < 0.1


def test_exr_has_every_view(unrender, run_of_tracked, tmp_path):
    said = unrender("export", run_of_tracked, "--to", "exr", "-o", tmp_path / "out")
    assert said.status == 0, said.err
    assert len(list((tmp_path / "out").glob("photo_*.exr"))) == 9
    assert read_exr(tmp_path / "out" / "photo_0.exr").shape == (48, 64, 3)
    assert read_exr_metadata(tmp_path / "out" / "photo_4.exr")["unrender.view"] == "photo_4"


def test_convert_there_and_back(unrender, tracked, tmp_path):
    said = unrender("convert", tracked, "-o", tmp_path / "out", "--to", "colmap", "--photos", "copy")
    assert said.status == 0, said.err
    assert said.out.endswith("colmap, 9 photos, 1 camera, 1500 points\n")
    assert_same_model(tmp_path / "out" / "sparse" / "0", tracked / "sparse" / "0")
    photo = tmp_path / "out" / "images" / "photo_0.jpg"
    assert not photo.is_symlink()
    assert photo.read_bytes() == (tracked / "images" / "photo_0.jpg").read_bytes()


def test_what_is_there_is_not_written_over(unrender, tracked, run_of_tracked, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    for words in (["convert", tracked], ["export", run_of_tracked]):
        said = unrender(*words, "-o", tmp_path / "out", "--to", "colmap")
        assert (said.status, said.out) == (2, "")
        assert "there is something here already; choose a new or empty folder" in said.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_nothing_is_left_of_what_was_refused(unrender, tracked, tmp_path):
    (copy := tmp_path / "capture").mkdir()
    shutil.copytree(tracked, copy, dirs_exist_ok=True)
    (copy / "images" / "photo_5.jpg").unlink()
    said = unrender("convert", copy, "-o", tmp_path / "out", "--to", "colmap")
    assert said.status == 2
    assert "photo_5.jpg" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["capture"]
    assert unrender("convert", copy, "-o", tmp_path / "out", "--to", "colmap", "--photos", "none").status == 0


def test_unknown_formats(unrender, tracked, run_of_tracked, tmp_path):
    for words in (["convert", tracked, "--to", "colmab"], ["export", run_of_tracked, "--to", "colmab"]):
        said = unrender(*words, "-o", tmp_path / "out")
        assert said.status == 2
        assert "unknown format 'colmab', expected colmap" in said.err
        assert "did you mean 'colmap'?" in said.err
    assert not list(tmp_path.iterdir())
    said = unrender("fit", tracked, "-o", tmp_path / "run", "--format", "colmab")
    assert said.status == 2
    assert "did you mean 'colmap'?" in said.err


def test_survey_coordinates_keep_their_precision(unrender, tracked, small, tmp_path):
    """A world whose origin is 7,000 km away: the same fit, and millimetres that come back."""
    found = read_reconstruction(tracked, observations=True)
    poses = found.camera_from_world.clone()
    poses[:, :3, 3] -= poses[:, :3, :3] @ SURVEY
    cloud = replace(found.points, positions=found.points.positions + SURVEY)
    shutil.copytree(tracked / "images", tmp_path / "far" / "images")
    write_colmap(tmp_path / "far" / "sparse" / "0", replace(found, camera_from_world=poses, points=cloud), binary=True)
    fitting = ("--config", small, "--steps", 4, "--threads", 1, "--quiet", "--json")
    near, far = (
        json.loads(unrender("fit", folder, "-o", tmp_path / f"{folder.name}_run", *fitting).out)
        for folder in (tracked, tmp_path / "far")
    )
    assert abs(near["test"]["psnr"] - far["test"]["psnr"]) < 0.05
    assert unrender("export", tmp_path / "far_run", "-o", tmp_path / "out", "--to", "colmap").status == 0
    back, given = (read_reconstruction(tmp_path / name) for name in ("out", "far"))
    torch.testing.assert_close(back.points.positions, given.points.positions, rtol=0, atol=1e-9)
    assert back.camera_from_world[:, :3, 3] == pytest.approx(given.camera_from_world[:, :3, 3], rel=1e-12, abs=0)
    centers = [-(p[:, :3, :3].mT @ p[:, :3, 3:])[..., 0] for p in (back.camera_from_world, given.camera_from_world)]
    torch.testing.assert_close(*centers, rtol=0, atol=1e-7)
