"""What a renderer gives on a GPU is what it gives on the CPU: pictures, and every derivative that it has."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import make_lens
from unrender.cameras.sensor import Sensor
from unrender.geometry.transforms import look_at
from unrender.render.model import Model
from unrender.render.rasterize.points import rasterize
from unrender.render.settings import PointRasterSettings
from unrender.render.shade.network import NetworkShader
from unrender.render.shade.settings import DecoderSettings
from unrender.scenes.points import PointScene

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
SIZE = (96, 128)


def make_scene(number: int = 4000) -> PointScene:
    chance = torch.Generator().manual_seed(4)
    position = 2 * torch.rand(number, 3, generator=chance) - 1
    return PointScene(
        origin=torch.tensor([0.1, -0.05, 0.2]).double(),
        position=position,
        normal=torch.nn.functional.normalize(torch.randn(number, 3, generator=chance), dim=1),
        radius=torch.full((number,), 0.03),
        threshold=torch.rand(number, generator=chance),
        descriptors=torch.randn(number, 4, generator=chance),
        environment=torch.randn(4, 8, 16, generator=chance),
    )


def make_cameras() -> Cameras:
    eyes = torch.tensor([(0.2, 0.1, -3.0), (0.3, 0.4, -2.5)]).double()
    return Cameras(
        camera_from_world=look_at(eyes, (0.1, 0.0, 0.0), (0.05, -1.0, 0.0)),
        camera_index=torch.zeros(2, dtype=torch.int64),
        lenses=(make_lens("OPENCV", SIZE[1], SIZE[0], [120.0, 126.0, 64.0, 48.0, -0.1, 0.03, 0.01, -0.02]),),
        pixel_scale=torch.tensor([[1.1, 0.9], [1.0, 1.0]]).double(),
        pixel_offset=torch.tensor([[2.0, -1.0], [0.0, 0.0]]).double(),
        sizes=torch.tensor([SIZE]).expand(2, 2),
        sensor=Sensor.start(torch.full((2,), math.nan), cameras=1),
    )


def derivatives(device: str, spatial: str) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Features, hits and depth, and gradients of descriptors, environment, positions, poses and lens."""
    scene, cameras = make_scene().to(device), make_cameras().to(device)
    increments = torch.zeros(2, 6, dtype=torch.float64, device=device, requires_grad=True)
    params = cameras.lenses[0].params.clone().requires_grad_()
    leaves = [scene.descriptors, scene.environment, scene.position]
    for leaf in leaves:
        leaf.requires_grad_()
    cameras = cameras.moved(increments).with_lenses([params])
    settings = PointRasterSettings(layers=3, spatial=spatial, ghosts=0.25)  # pyright: ignore[reportArgumentType]
    frame = rasterize(scene, cameras, settings, torch.Generator().manual_seed(1))
    loss = torch.stack([(layer.sin() * layer).sum() for layer in frame.features or ()]).sum()
    gradients = torch.autograd.grad(loss, [*leaves, increments, params])
    shown = [*(frame.features or ()), *(frame.hits or ()), *(frame.depth or ())]
    return [tensor.detach().cpu() for tensor in shown], [gradient.cpu() for gradient in gradients]


@pytest.mark.parametrize("spatial", ["ghosts", "rendered", "both"])
def test_pictures_and_derivatives_are_those_of_the_cpu(spatial):
    (shown, gradients), (expected, exact) = derivatives("cuda", spatial), derivatives("cpu", spatial)
    for found, other in zip(shown, expected, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-5, atol=1e-5)
    for found, other in zip(gradients, exact, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


def test_a_model_moves_whole():
    cameras = make_cameras()
    cameras = replace(cameras, sensor=Sensor.start(torch.tensor([5.0, 6.0])))
    model = Model(make_scene(), NetworkShader(DecoderSettings(precision="float32"), seed=0), cameras)
    expected = model.image(model.cameras)
    there = model.to("cuda")
    assert all(parameter.raw.device.type == "cuda" for parameter in there.parameters())
    torch.testing.assert_close(there.image(there.cameras).cpu(), expected, rtol=1e-3, atol=2e-3)
