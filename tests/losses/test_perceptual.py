"""The VGG loss with random weights in torchvision's layout: layers, sum, mask, derivative, refusals."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from unrender.errors import UnrenderError
from unrender.losses import LossSettings, VGGLoss, total

# torchvision.models.vgg19 spelled out: a number is a convolution and its ReLU, M a pool
LAYOUT = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512, "M")


def reference_network():
    layers, inputs = [], 3
    for outputs in LAYOUT:
        if outputs == "M":
            layers.append(nn.AvgPool2d(2))
        else:
            layers += [nn.Conv2d(inputs, int(outputs), 3, padding=1), nn.ReLU()]
            inputs = int(outputs)
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return reference_network()


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    state = {f"features.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({**state, "classifier.0.bias": torch.zeros(1)}, path)
    return path


def images(seed):
    return torch.rand(1, 3, 35, 32, generator=torch.Generator().manual_seed(seed))


def test_is_the_sum_over_thirteen_activations(network, weights):
    names = {1, 3, 6, 8, 11, 13, 15, 17, 20, 22, 24, 26, 29}  # where torchvision has relu1_1 .. relu5_1

    def activations(x):
        x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        for index, layer in enumerate(network):
            x = layer(x)
            if index in names:
                yield x

    with torch.no_grad():
        pairs = zip(activations(images(1)), activations(images(2)), strict=True)
        expected = sum((a - b).abs().mean() for a, b in pairs)
        assert VGGLoss(weights)(images(1), images(2)).item() == pytest.approx(float(expected), rel=1e-4)


def test_gradient_reaches_the_image_and_not_the_weights(weights):
    loss, image = VGGLoss(weights), images(1).requires_grad_()
    loss(image, images(2)).backward()
    assert image.grad is not None
    assert bool(image.grad.abs().sum() > 0)
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_masked_pixels_weigh_nothing(weights):
    loss, weight = VGGLoss(weights), torch.ones(1, 1, 35, 32)
    weight[..., :9, :] = 0
    spoilt = torch.where(weight > 0, images(1), torch.full((), float("nan")))
    assert torch.equal(loss(spoilt, images(2), weight), loss(images(1), images(2), weight))


def test_joins_the_total_from_either_kind_of_file(network, weights, tmp_path):
    other = tmp_path / "vgg19.safetensors"
    save_file({f"features.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}, other)
    values = [
        total(images(1), images(2), None, LossSettings(l1=0, dssim=0, gradient=0, vgg=2.0, vgg_weights=str(path)))
        for path in (weights, other)
    ]
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(values[0], 2 * VGGLoss(weights)(images(1), images(2)))


def test_unusable_weights_are_refused_in_one_line(tmp_path):
    with pytest.raises(UnrenderError, match="no VGG-19 weights here"):
        VGGLoss(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "text.safetensors").write_text("not weights")
    for name in ("text.pth", "text.safetensors"):
        with pytest.raises(UnrenderError, match="cannot read"):
            VGGLoss(tmp_path / name)
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(UnrenderError, match=r"features\.0\.bias.*got nothing"):
        VGGLoss(tmp_path / "other.pth")
