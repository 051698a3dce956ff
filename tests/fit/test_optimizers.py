"""Step sizes by dotted name, gauges put back, and state that resumes exactly."""

from itertools import pairwise

import pytest
import torch

from unrender.errors import RunError, SettingsError
from unrender.fit.optimizers import Optimizer, rate_of
from unrender.fit.schedules import cosine, unlocked
from unrender.parameters import Parameter


def test_the_longest_prefix_holds():
    rates = {"scene": 1.0, "scene.points": 2.0, "scene.points.descriptors": 3.0}
    assert rate_of("scene.points.descriptors", rates) == 3.0
    assert rate_of("scene.points.position", rates) == 2.0
    assert rate_of("scene.pointsother", rates) == 1.0
    assert rate_of("cameras.exposure", rates) == 0.0


def test_a_rate_for_nothing_is_refused():
    with pytest.raises(SettingsError, match="shadr"):
        Optimizer([Parameter("shader.network.w", torch.zeros(1))], {"shadr": 1.0})


def quadratic(values):
    parameters = [Parameter(name, torch.tensor(value)) for name, value in values.items()]

    def descend(optimizer, steps, factor=lambda name: 1.0):
        for _ in range(steps):
            loss = torch.stack([(parameter.raw - 1).square().sum() for parameter in parameters]).sum()
            if loss.requires_grad:
                loss.backward()
            optimizer.step(factor)

    return parameters, descend


def test_parameters_without_a_rate_or_with_factor_zero_stay():
    parameters, descend = quadratic({"a.x": [0.0], "b.x": [0.0], "c.x": [0.0]})
    descend(Optimizer(parameters, {"a": 0.1, "b": 0.1}), 5, lambda name: float(name != "b.x"))
    assert float(parameters[0].raw.detach()) > 0.1
    assert float(parameters[1].raw.detach()) == 0.0
    assert float(parameters[2].raw) == 0.0


def test_gauges_are_put_back_after_every_step():
    raw = torch.tensor([0.0, 3.0])

    def hold():
        with torch.no_grad():
            raw.sub_(raw.mean())

    optimizer = Optimizer([Parameter("a.x", raw, hold=hold)], {"a": 0.1})
    (raw * torch.tensor([1.0, 2.0])).sum().backward()
    optimizer.step(lambda name: 1.0)
    assert float(raw.detach().mean()) == pytest.approx(0.0, abs=1e-6)


def test_state_resumes_to_the_same_bits():
    def start():
        parameters, descend = quadratic({"a.x": [0.3, 5.0]})
        return parameters, descend, Optimizer(parameters, {"a": 0.1})

    whole, descend, optimizer = start()
    descend(optimizer, 9)
    first, descend, optimizer = start()
    descend(optimizer, 4)
    saved = {name: tensor.clone() for name, tensor in optimizer.state().items()}
    second, descend, optimizer = start()
    with torch.no_grad():
        second[0].raw.copy_(first[0].raw)
    optimizer.restore(saved)
    descend(optimizer, 5)
    assert torch.equal(second[0].raw, whole[0].raw)


def test_who_keeps_what_a_tensor_gave_is_told_of_every_step():
    """The fused step alone does not count as a change."""
    parameters, descend = quadratic({"a.x": [0.3, 5.0]})
    optimizer = Optimizer(parameters, {"a": 0.1})
    before = parameters[0].raw._version
    descend(optimizer, 1)
    assert parameters[0].raw._version > before


def test_state_of_another_shape_is_refused():
    parameters, descend = quadratic({"a.x": [0.3, 5.0]})
    optimizer = Optimizer(parameters, {"a": 0.1})
    descend(optimizer, 1)
    other, _ = quadratic({"a.x": [0.3]})
    with pytest.raises(RunError, match="does not fit"):
        Optimizer(other, {"a": 0.1}).restore(optimizer.state())


def test_schedules():
    assert cosine(1.0, final=0.02) == pytest.approx(0.02)
    assert cosine(0.01, final=0.02) == pytest.approx(1.0)
    assert 0 < cosine(0.0, final=0.02) < 0.01
    factors = [cosine(step / 100, 0.02) for step in range(1, 101)]
    assert all(later <= earlier for earlier, later in pairwise(factors))
    assert unlocked(0.1, 0.1)
    assert not unlocked(0.0999, 0.1)
