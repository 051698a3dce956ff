"""Refinement from the command line, and photos aligned to a scan."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from unrender.datasets.clouds import PointCloud, read_ply, write_ply
from unrender.datasets.formats import read_reconstruction
from unrender.fit.settings_file import read_settings


@pytest.fixture(scope="module")
def scan(tiny_capture, tmp_path_factory):
    """The wall as a scanner has it, and more densely."""
    cloud = read_reconstruction(tiny_capture).points
    path = tmp_path_factory.mktemp("scan") / "scan.ply"
    write_ply(path, PointCloud(cloud.positions, cloud.colors))
    return path


def test_a_fit_refines_what_it_is_told(unrender, tiny_capture, small, tmp_path):
    words = ("--config", small, "--steps", 4, "--threads", 1, "--quiet")
    said = unrender("fit", tiny_capture, "-o", tmp_path / "run", "--refine", "poses,lens", *words)
    assert said.status == 0, said.err
    assert read_settings(tmp_path / "run" / "settings.toml").refine.what == ("poses", "lens")
    outcome = json.loads((tmp_path / "run" / "refinement.json").read_text())
    assert outcome["families"] == ["poses", "lens"]
    assert len(outcome["cameras"]) == 9
    assert [lens["model"] for lens in outcome["lenses"]] == [read_reconstruction(tiny_capture).lenses[0].model]
    fates = {camera["name"]: camera["fate"] for camera in outcome["cameras"]}
    assert fates["photo_0.jpg"] == "held out"
    said = unrender("fit", tiny_capture, "-o", tmp_path / "run", "--resume", "--refine", "poses", *words)
    assert said.status == 2
    assert "the run began with another refine.what" in said.err


def test_a_plain_fit_moves_no_structure(unrender, tiny_capture, small, tmp_path):
    words = ("--config", small, "--steps", 2, "--threads", 1, "--quiet")
    assert unrender("fit", tiny_capture, "-o", tmp_path / "run", *words).status == 0
    assert not (tmp_path / "run" / "refinement.json").exists()


def test_alignment_leaves_cameras_a_picture_and_the_scan_as_it_was(unrender, tiny_capture, small, scan, tmp_path):
    kept = tmp_path / "kept.toml"  # of twelve steps no gain is asked
    kept.write_text(small.read_text() + "\n[refine]\nleast_gain = 0.0\n")
    words = ("--points", scan, "--config", kept, "--threads", 1, "--quiet")
    said = unrender("align", tiny_capture, "-o", tmp_path / "run", *words, "--steps", 12)
    assert said.status == 0, said.err
    assert "cameras moved: median" in said.out
    given, back = read_reconstruction(tiny_capture), read_reconstruction(tmp_path / "run" / "cameras")
    assert back.names == given.names
    assert not torch.equal(back.camera_from_world, given.camera_from_world)
    assert float((back.camera_from_world - given.camera_from_world).abs().max()) < 0.1
    torch.testing.assert_close(back.points.positions, given.points.positions, rtol=0, atol=1e-12)
    with Image.open(tmp_path / "run" / "reprojection.png") as picture:
        assert picture.size[0] == 3 * 64
        assert picture.size[1] > 48
    assert unrender("export", tmp_path / "run", "-o", tmp_path / "points", "--to", "ply", "--quiet").status == 0
    exported = read_ply(tmp_path / "points" / "points.ply")
    assert len(exported) == len(read_ply(scan))
    again = unrender("align", tiny_capture, "-o", tmp_path / "run", *words, "--steps", 14, "--resume", "--json")
    table = json.loads(again.out)
    assert table["refinement"]["families"] == ["poses", "lens"]
    assert {camera["fate"] for camera in table["refinement"]["cameras"]} <= {"refined", "taken back"}


def test_reprojected_photos_agree_where_cameras_are_right(tiny_capture, scan):
    """Neighbours carried over the true wall into a view look like its photo; with a turned camera they do not."""
    from dataclasses import replace

    from unrender.datasets.read_capture import read_capture
    from unrender.fit.checkpoint import points_of
    from unrender.fit.fit import start_model
    from unrender.fit.refine.reprojection import choose_sources, reproject
    from unrender.fit.settings import FitSettings
    from unrender.initialize.points import PointSettings

    capture = read_capture(tiny_capture)
    model, _ = start_model(capture, FitSettings(points=PointSettings(count=20_000, stereo=False)))
    sources = choose_sources(capture.cameras, 4, capture.train, 3)
    assert len(sources) == 3
    assert 4 not in sources
    photo = capture.image(4)
    turned = torch.zeros(9, 6, dtype=torch.float64)
    turned[sources, 4] = 0.1
    errors = []
    for cameras in (capture.cameras, capture.cameras.moved(turned)):
        carried = reproject(points_of(model), replace(cameras, sensor=model.cameras.sensor), capture, 4, sources)
        seen = carried.amax(dim=0) > 0
        assert float(seen.float().mean()) > 0.5
        errors.append(float((carried - photo).abs().mean(dim=0)[seen].median()))
    assert errors[0] < 0.02
    assert errors[1] > 2 * errors[0]


def test_what_cannot_be_refined_is_refused_in_one_line(unrender, tiny_capture, small, scan, tmp_path):
    cloud = read_ply(scan)
    write_ply(tmp_path / "far.ply", PointCloud(1000 * cloud.positions + 1e6, cloud.colors))
    (tmp_path / "most.txt").write_text("".join(f"photo_{view}.jpg\n" for view in range(7)))
    fit = ("fit", tiny_capture, "-o", tmp_path / "run", "--config", small, "--quiet")
    rows = {
        "no photo sees the points, so that nothing can be refined, got cameras": (
            "align", tiny_capture, "-o", tmp_path / "run", "--points", tmp_path / "far.ply", "--config", small
        ),
        "nothing to refine is called 'pose', expected all, none": (*fit, "--refine", "pose"),
        "too few photos to refine points, expected 3 or more that see points, got 2": (
            *fit, "--refine", "points", "--test-names", tmp_path / "most.txt"
        ),
        "no such file": ("align", tiny_capture, "-o", tmp_path / "run", "--points", tmp_path / "none.ply"),
    }  # fmt: skip
    for message, words in rows.items():
        said = unrender(*words)
        assert (said.status, said.out) == (2, "")
        assert message in said.err
        assert said.err.strip().splitlines()[-1].startswith("unrender: error: ")
        assert "Traceback" not in said.err
        assert not (tmp_path / "run").exists()


def test_photos_that_see_nothing_are_named_and_stay(unrender, tiny_capture, small, tmp_path):
    """One camera looks away: the others are refined, and the run says so."""
    from dataclasses import replace
    from shutil import copytree

    from unrender.datasets.colmap import write_colmap

    folder = copytree(tiny_capture, tmp_path / "capture")
    found = read_reconstruction(folder)
    poses = found.camera_from_world.clone()
    poses[3, :3] = torch.diag(torch.tensor([-1.0, 1, -1], dtype=torch.float64)) @ poses[3, :3]
    write_colmap(folder / "sparse" / "0", replace(found, camera_from_world=poses))
    words = ("--refine", "poses", "--config", small, "--steps", 3, "--threads", 1)
    said = unrender("fit", folder, "-o", tmp_path / "run", *words)
    assert said.status == 0, said.err
    assert "1 photos see too few points where they were taken from, and are not moved: photo_3.jpg" in said.err
    outcome = json.loads((tmp_path / "run" / "refinement.json").read_text())
    assert outcome["cameras"][3]["fate"] == "sees too few points"
    assert outcome["cameras"][3]["moved"] == 0
