"""Adam with a step size per dotted parameter name, and every piece of its state under such a name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch

from unrender.errors import RunError, SettingsError
from unrender.parameters import Parameter

__all__ = ["Optimizer", "check_rates", "rate_of"]

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def rate_of(name: str, rates: Mapping[str, float]) -> float:
    """The step size of the longest prefix of ``name`` in ``rates`` (whole dotted words); 0, that is fixed, when there
    is none.
    """
    words = name.split(".")
    for length in range(len(words), 0, -1):
        rate = rates.get(".".join(words[:length]))
        if rate is not None:
            return rate
    return 0.0


def check_rates(names: Sequence[str], rates: Mapping[str, float]) -> None:
    """Raises SettingsError when a rate is for none of the parameters ``names``, or when all would stay fixed."""
    unknown = [prefix for prefix in rates if not any(_covers(prefix, name) for name in names)]
    if unknown:
        known = ", ".join(sorted(name for name in names if "network" not in name))
        raise SettingsError(f"rate for an unknown parameter {unknown[0]!r}", expected=f"a prefix of {known}")
    if not any(rate_of(name, rates) > 0 for name in names):
        raise SettingsError("no rate is positive, so that nothing would be fitted", where="rates")


class Optimizer:
    """Steps the raw tensors of all parameters that have a step size, then puts their gauges back."""

    def __init__(self, parameters: Sequence[Parameter], rates: Mapping[str, float]) -> None:
        check_rates([parameter.name for parameter in parameters], rates)
        self._rates = {parameter.name: rate_of(parameter.name, rates) for parameter in parameters}
        self._parameters = [parameter for parameter in parameters if self._rates[parameter.name] > 0]
        for parameter in parameters:
            parameter.raw.requires_grad_(self._rates[parameter.name] > 0)
        self._seldom = [parameter for parameter in self._parameters if parameter.seldom]
        self._parameters = [parameter for parameter in self._parameters if not parameter.seldom]
        self._rows = {parameter.name: _rows_of(parameter.raw) for parameter in self._seldom}
        groups = [{"params": [parameter.raw], "lr": 0.0} for parameter in self._parameters]
        groups = groups or [{"params": [torch.zeros(0)], "lr": 0.0}]  # where all that moves is seldom seen
        self._adam = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-12, fused=True)

    def step(self, factor_of: Callable[[str], float]) -> None:
        """One step with each rate times ``factor_of(name)``; a factor of 0 leaves a parameter and its moments as they
        are.
        """
        for group, parameter in zip(self._adam.param_groups, self._parameters, strict=False):
            factor = factor_of(parameter.name)
            group["lr"] = self._rates[parameter.name] * factor
            if factor == 0:
                parameter.raw.grad = None
        self._adam.step()
        # The fused step does not tell that it wrote; what was made of a tensor and kept must not outlive its values.
        for parameter in self._parameters:
            torch.autograd.graph.increment_version(parameter.raw)
        for parameter in self._seldom:
            rate = self._rates[parameter.name] * factor_of(parameter.name)
            _step_rows(parameter.raw, self._rows[parameter.name], rate)
        self.forget_gradients()
        for parameter in self._parameters:
            if parameter.hold is not None:
                parameter.hold()

    def broken_gradients(self) -> list[str]:
        """Names of the parameters whose gradient is not finite (or so large that its square is not)."""
        gradients = [(parameter.name, parameter.raw.grad) for parameter in (*self._parameters, *self._seldom)]
        return [name for name, g in gradients if g is not None and not math.isfinite(float(g.norm()))]

    def forget_gradients(self) -> None:
        """Leave this step out: parameters and moments stay as they are."""
        self._adam.zero_grad(set_to_none=True)
        for parameter in self._seldom:
            parameter.raw.grad = None

    def state(self) -> dict[str, torch.Tensor]:
        """The moments, as ``optimizer.<moment>.<parameter name>``."""
        rows = {f"optimizer.{moment}.{name}": r for name, kept in self._rows.items() for moment, r in kept.items()}
        return rows | {
            f"optimizer.{moment}.{parameter.name}": self._adam.state[parameter.raw][moment]
            for parameter in self._parameters
            if parameter.raw in self._adam.state
            for moment in _MOMENTS
        }

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put back what ``state`` gave. Raises RunError when a moment has another shape than its parameter."""
        for name, moments in self._rows.items():
            for moment, rows in moments.items():
                saved = tensors.get(f"optimizer.{moment}.{name}", rows)
                if saved.shape != rows.shape:
                    what = f"optimizer state of {name} does not fit"
                    raise RunError(what, expected=tuple(rows.shape), got=tuple(saved.shape))
                rows.copy_(saved)
        for parameter in self._parameters:
            found = {moment: tensors.get(f"optimizer.{moment}.{parameter.name}") for moment in _MOMENTS}
            moments = {
                moment: tensor.to(parameter.raw.device, copy=True)
                for moment, tensor in found.items()
                if tensor is not None
            }
            if not moments:
                continue
            if moments["exp_avg"].shape != parameter.raw.shape:
                raise RunError(
                    f"optimizer state of {parameter.name} does not fit",
                    expected=tuple(parameter.raw.shape),
                    got=tuple(moments["exp_avg"].shape),
                )
            self._adam.state[parameter.raw] = moments


_BETAS, _EPSILON = (0.9, 0.99), 1e-12


def _rows_of(raw: torch.Tensor) -> dict[str, torch.Tensor]:
    """Adam's moments of each row, and how many steps it has seen."""
    moments = {name: torch.zeros_like(raw) for name in ("exp_avg", "exp_avg_sq")}
    return moments | {"step": torch.zeros(len(raw), dtype=torch.float32, device=raw.device)}


@torch.no_grad()
def _step_rows(raw: torch.Tensor, moments: Mapping[str, torch.Tensor], rate: float) -> None:
    """Adam for the rows of ``raw`` that have a gradient; the others keep their place, moments and count."""
    if raw.grad is None or rate == 0:
        return
    seen = torch.nonzero((raw.grad != 0).any(dim=1))[:, 0]
    gradient = raw.grad[seen]
    first = _BETAS[0] * moments["exp_avg"][seen] + (1 - _BETAS[0]) * gradient
    second = _BETAS[1] * moments["exp_avg_sq"][seen] + (1 - _BETAS[1]) * gradient.square()
    count = moments["step"][seen] + 1
    for name, rows in (("exp_avg", first), ("exp_avg_sq", second), ("step", count)):
        moments[name][seen] = rows
    past, past_squared = (1 - beta ** count.to(raw)[:, None] for beta in _BETAS)
    raw[seen] -= rate * (first / past) / ((second / past_squared).sqrt() + _EPSILON)


def _covers(prefix: str, name: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")
