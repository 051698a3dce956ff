"""One view at several exposures, and where photos darken: found from the sensor, whatever its form."""

from dataclasses import replace

import pytest
import torch

from unrender.reports.light_pictures import SWEPT_STOPS, expose, exposed_section, light_share, vignette_maps


@pytest.fixture(scope="module")
def model(finished):
    return finished.load_model()


def with_vignette(cameras, a2):
    vignette = torch.zeros_like(cameras.sensor.vignette)
    vignette[..., 0] = a2
    return replace(cameras, sensor=replace(cameras.sensor, vignette=vignette))


def test_the_map_is_the_vignette_that_the_sensor_has(model):
    share = light_share(with_vignette(model.cameras, -0.3), 0)
    assert share is not None
    assert share.shape == (3, 72, 96), "the photo's shape"
    assert torch.allclose(share[:, 36, 48], torch.ones(3).double())
    assert float(share[:, 0, 0].mean()) == pytest.approx(0.7, abs=0.02)
    assert float(share[:, 36, 0].mean()) == pytest.approx(1 - 0.3 * 0.8**2, abs=0.02)


def test_no_vignette_no_contour(model):
    share = light_share(with_vignette(model.cameras, 0.0), 0)
    assert share is not None
    assert torch.allclose(share, torch.ones_like(share), atol=1e-5)
    (flat,) = vignette_maps(with_vignette(model.cameras, 0.0))
    (dark,) = vignette_maps(with_vignette(model.cameras, -0.3))
    assert "in the corners 100 %" in flat
    assert "in the corners 71 %" in dark
    assert ">0.90<" in dark
    assert ">0.90<" not in flat


def test_a_camera_of_no_view_has_no_map(model):
    lonely = replace(model.cameras, camera_index=torch.ones_like(model.cameras.camera_index))
    assert light_share(lonely, 0) is None


def test_a_view_at_its_exposures(finished, model):
    exposed = expose(model, finished.capture, finished.capture.test[0])
    assert exposed is not None
    assert exposed.held_out
    assert len({picture.src for picture in exposed.swept}) == len(SWEPT_STOPS)
    assert set(exposed.operators) == {"filmic", "agx", "fusion"}
    (section,) = exposed_section(exposed, {})
    assert section.body.count("<img") == 1 + len(SWEPT_STOPS) + 1 + 3
    scores = {"policies": {"exif": {"psnr": 20.0, "ssim": 0.5, "flip": 0.25, "ev_error": 0.125}, "taken": "mean"}}
    assert "20.00 dB, FLIP 0.250, off by 0.12 stops" in exposed_section(exposed, scores)[0].body


def test_a_render_that_is_not_finite_is_not_shown(finished, model):
    descriptors = torch.full_like(model.scene.descriptors, torch.nan)
    broken = replace(model, scene=replace(model.scene, descriptors=descriptors))
    assert expose(broken, finished.capture, 0) is None
    assert exposed_section(None, {}) == []
