"""Laws of the shading networks: counts, alignment, the radiance head, seeds, precision, refusals."""

from __future__ import annotations

import math

import pytest
import torch

from unrender.errors import RunError, SettingsError, ShapeError
from unrender.images.pyramids import halve
from unrender.render.frame import Frame
from unrender.render.shade.gated import upsample_to
from unrender.render.shade.network import (
    DecoderSettings,
    NetworkShader,
    UNetSettings,
    faster_precision,
    filled_colors,
    radiance_from_raw,
    raw_from_radiance,
)

SMALL = {
    "unet": UNetSettings(channels=3, widths=(6, 8, 10)),
    "decoder": DecoderSettings(channels=3, levels=3, width=6),
}


def layers_for(settings, height=21, width=14, batch=1, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, settings.channels, -(-height // 2**n), -(-width // 2**n)) for n in range(settings.levels)]
    return tuple(scale * torch.rand(shape, generator=generator) for shape in shapes)


def frame(settings, *size, **options):
    return Frame(features=layers_for(settings, *size, **options))


def count(settings):
    return sum(p.raw.numel() for p in NetworkShader(settings).parameters())


def test_parameter_counts_are_those_of_the_papers():
    assert count(UNetSettings()) == 574_651
    assert count(DecoderSettings()) == 59_675


@pytest.mark.parametrize("settings", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 8), (17, 33), (31, 5)])
def test_any_image_size_gives_positive_radiance_of_that_size(settings, size):
    radiance = NetworkShader(settings)(frame(settings, *size, batch=2, scale=5.0))
    assert radiance.shape == (2, 3, *size)
    assert radiance.dtype == torch.float32
    assert bool((radiance > 0).all())


@pytest.mark.parametrize("settings", [UNetSettings(), DecoderSettings(), UNetSettings(head="log")])
def test_starts_mid_grey(settings):
    radiance = NetworkShader(settings)(frame(settings))
    assert radiance.sub(0.2).abs().max() < 0.05
    assert radiance.std() > 0  # not exactly: the first gradient must reach the features


@pytest.mark.parametrize("settings", SMALL.values(), ids=SMALL)
def test_gradient_reaches_every_parameter_and_every_layer(settings):
    shader, layers = NetworkShader(settings), layers_for(settings)
    for layer in layers:
        layer.requires_grad_()
    shader(Frame(features=layers)).square().sum().backward()
    for tensor in (*layers, *(p.raw for p in shader.parameters())):
        assert tensor.grad is not None
        assert bool(tensor.grad.abs().sum() > 0)


@pytest.mark.parametrize("settings", SMALL.values(), ids=SMALL)
def test_whole_network_gradient_is_that_of_finite_differences(settings):
    shader = NetworkShader(settings)
    for parameter in shader.parameters():
        parameter.raw.data = parameter.raw.data.double()
    layers = tuple(layer.double().requires_grad_() for layer in layers_for(settings, 5, 6))
    # __call__ promises float32, so the law is checked on the network inside it
    network = shader._network
    assert torch.autograd.gradcheck(lambda *x: network.final(network(x).movedim(1, -1)), layers, fast_mode=True)


def test_halving_then_doubling_a_ramp_moves_nothing():
    """Linear in fine pixel centres i + 1/2; away from the border a layer holds it at its own centres, exactly."""
    ramp = (torch.arange(13.0) + 0.5).expand(1, 1, 7, 13)
    coarse = halve(ramp)
    assert coarse.shape == (1, 1, 4, 7)
    torch.testing.assert_close(coarse[0, 0, 0, :6], 2 * (torch.arange(6.0) + 0.5))
    assert coarse[0, 0, 3, 6] == 12.5  # one fine column and one fine row remain at the odd edge
    fine = upsample_to(coarse, ramp)
    assert fine.shape == ramp.shape
    torch.testing.assert_close(fine[..., 1:10], ramp[..., 1:10])


@pytest.mark.parametrize("settings", SMALL.values(), ids=SMALL)
def test_a_shift_by_the_coarsest_pixel_shifts_the_image(settings):
    """Far from the border, moving every layer by one coarsest pixel moves the image by 2^(L-1) fine pixels."""
    shader, step = NetworkShader(settings), 2 ** (settings.levels - 1)
    layers = layers_for(settings, 64, 64)
    rolled = tuple(layer.roll(step // 2**n, dims=-1) for n, layer in enumerate(layers))
    image, moved = shader(Frame(features=layers)), shader(Frame(features=rolled))
    inner = slice(28, 36)
    torch.testing.assert_close(moved[..., inner, inner], image.roll(step, dims=-1)[..., inner, inner])


@pytest.mark.parametrize("head", ["linear", "log"])
def test_head_is_positive_increasing_smooth_and_never_dead(head):
    raw = torch.cat([torch.linspace(-4e2, 4e2, 4001), torch.linspace(-3, 12, 4001)]).double().sort().values
    raw.requires_grad_()
    radiance = radiance_from_raw(raw, head)
    (slope,) = torch.autograd.grad(radiance.sum(), raw)
    assert bool((radiance > 0).all() and radiance.isfinite().all())
    assert bool((slope > 1e-13).all())
    assert radiance_from_raw(torch.zeros(1), head).item() == pytest.approx(0.2)
    assert torch.autograd.gradcheck(lambda x: radiance_from_raw(x, head), raw[::333].detach().requires_grad_())


@pytest.mark.parametrize(
    ("head", "knees"), [("linear", (0.0, -0.2 * math.log(1e4))), ("log", (math.log(1e4), -math.log(1e4)))]
)
def test_head_has_no_kink_where_its_pieces_meet(head, knees):
    for knee in knees:
        around = torch.tensor([knee - 1e-6, knee + 1e-6], dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(radiance_from_raw(around, head).sum(), around)
        assert slope[0].item() == pytest.approx(slope[1].item(), rel=1e-4)


def test_linear_head_is_linear_in_the_light_and_log_head_spans_eight_decades():
    raw = torch.tensor([0.0, 1.0, 5.0, 100.0])
    torch.testing.assert_close(radiance_from_raw(raw, "linear"), raw + 0.2)
    raw = torch.tensor([-9.2, 9.2])
    torch.testing.assert_close(radiance_from_raw(raw, "log").log() - math.log(0.2), raw)


def test_same_seed_same_bits_and_the_global_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = NetworkShader(seed=3), NetworkShader(seed=3), NetworkShader(seed=4)
    assert torch.equal(torch.rand(3), expected)
    inputs = frame(one.settings())
    assert torch.equal(one(inputs), two(inputs))
    assert not torch.equal(one(inputs), other(inputs))


def test_state_travels_by_name():
    one, two = NetworkShader(SMALL["unet"], seed=1), NetworkShader(SMALL["unet"], seed=2)
    state = one.state()
    assert list(state) == [p.name for p in one.parameters()]
    assert all(name.startswith("shader.network.") and tensor.is_contiguous() for name, tensor in state.items())
    two.load_state({**state, "scene.environment": torch.zeros(1)})  # what belongs to others is passed over
    inputs = frame(SMALL["unet"])
    assert torch.equal(one(inputs), two(inputs))


def test_state_of_another_network_is_refused():
    small = NetworkShader(SMALL["unet"])
    with pytest.raises(RunError, match="another one"):
        small.load_state(NetworkShader(SMALL["decoder"]).state())
    with pytest.raises(RunError, match=r"start\.feature\.weight"):
        small.load_state(NetworkShader(UNetSettings(channels=3, widths=(7, 8, 10))).state())


def test_bfloat16_is_close_to_float32_and_shares_the_weights():
    shader = NetworkShader(UNetSettings())
    other = shader.with_precision("bfloat16")
    assert other.settings() == UNetSettings(precision="bfloat16")
    assert all(a.raw is b.raw for a, b in zip(shader.parameters(), other.parameters(), strict=True))
    inputs = frame(shader.settings(), 40, 48, scale=10.0)
    exact, rounded = shader(inputs), other(inputs)
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0.01, atol=0.001)


def test_faster_precision_measures_a_network_with_skip():
    assert faster_precision(NetworkShader(DecoderSettings(width=4, skip=True)), (16, 16), repeats=1) != "auto"


def test_faster_precision_answers_and_leaves_no_gradient():
    shader = NetworkShader(SMALL["decoder"])
    assert faster_precision(shader, (16, 16), repeats=1) in ("float32", "bfloat16")
    assert all(p.raw.grad is None for p in shader.parameters())


def test_a_frame_that_does_not_fit_is_refused():
    shader = NetworkShader(SMALL["decoder"])
    good = layers_for(SMALL["decoder"])
    with pytest.raises(ShapeError, match="L = 3, got 2"):
        shader(Frame(features=good[:2]))
    with pytest.raises(ShapeError, match=r"features\[1\]"):
        shader(Frame(features=(good[0], good[1][..., :-1], good[2])))
    with pytest.raises(ShapeError, match="no features"):
        shader(Frame())


def test_impossible_settings_are_refused():
    with pytest.raises(SettingsError, match="wider"):
        UNetSettings(widths=(16, 4))
    with pytest.raises(SettingsError, match="levels"):
        DecoderSettings(levels=0)
    with pytest.raises(SettingsError, match="precision"):
        DecoderSettings(precision="float16")  # type: ignore[arg-type]


def test_one_level_is_enough():
    for settings in (UNetSettings(widths=(8,)), DecoderSettings(levels=1)):
        assert NetworkShader(settings)(frame(settings)).shape == (1, 3, 21, 14)


@pytest.mark.parametrize("head", ["linear", "log"])
def test_raw_and_radiance_are_inverse(head):
    radiance = torch.logspace(math.log10(0.003), 2, 50)
    torch.testing.assert_close(radiance_from_raw(raw_from_radiance(radiance, head), head), radiance)
    assert bool(raw_from_radiance(torch.tensor([-1.0, 0.0]), head).isfinite().all())


def test_holes_are_filled_from_the_next_coarser_layer_that_was_hit():
    sizes = [(8, 8), (4, 4), (2, 2)]
    layers = tuple(torch.full((1, 4, *size), float(level + 1)) for level, size in enumerate(sizes))
    hits = tuple(torch.ones(1, 1, *size, dtype=torch.int32) for size in sizes)
    hits[1][..., :2] = 0
    colors = filled_colors(Frame(features=layers, hits=hits))
    assert colors.shape == (1, 3, 8, 8)
    assert bool((colors[..., :3] == 3).all())  # layer 2 shows through the holes of layer 1
    assert bool((colors[..., 5:] == 2).all())  # and layer 0 is left out


@pytest.mark.parametrize("head", ["linear", "log"])
def test_with_skip_the_first_image_is_nearly_the_points_colours(head):
    settings = DecoderSettings(levels=3, width=6, head=head, skip=True)
    layers = layers_for(settings, 16, 16)
    hits = tuple(torch.ones(1, 1, *layer.shape[2:], dtype=torch.int32) for layer in layers)
    shown = Frame(features=layers, hits=hits)
    ratio = NetworkShader(settings)(shown) / filled_colors(shown)
    assert float(ratio.detach().log().abs().median()) < 0.2
    with pytest.raises(ShapeError, match="hit"):
        NetworkShader(settings)(Frame(features=layers))


def wide_frame(settings, *, logarithmic=True, size=(24, 24)):
    """Features anywhere between 2^-8 and 2^8."""
    layers = layers_for(settings, *size)
    return Frame(features=tuple(torch.exp2(16 * layer - 8) for layer in layers), logarithmic=logarithmic)


def test_auto_is_log_where_the_scene_keeps_logarithms():
    kinds = {head: NetworkShader(DecoderSettings(levels=3, width=6, head=head)) for head in ("auto", "linear", "log")}
    for wide, same in ((True, "log"), (False, "linear")):
        seen = wide_frame(kinds["auto"].settings(), logarithmic=wide)
        assert torch.equal(kinds["auto"](seen), kinds[same](seen))
    assert not torch.equal(kinds["log"](wide_frame(kinds["log"].settings())), kinds["linear"](seen))


def test_a_network_that_reads_logarithms_learns_sixteen_stops():
    """Pixels of any brightness beside each other come out within a quarter of a stop, where linear ones do not."""

    def error(head):
        settings = DecoderSettings(levels=2, width=8, head=head)
        shader, seen = NetworkShader(settings), wide_frame(settings)
        assert seen.features is not None
        target = seen.features[0][:, :3]
        optimizer = torch.optim.Adam([p.raw for p in shader.parameters()], lr=1e-2)
        for _ in range(100):
            optimizer.zero_grad()
            (shader(seen).log() - target.log()).abs().mean().backward()
            optimizer.step()
        return float((shader(seen).detach().log2() - target.log2()).abs().mean())

    assert error("auto") < 0.25 < 1 < error("linear")
