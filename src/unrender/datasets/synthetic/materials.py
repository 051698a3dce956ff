"""Materials: a pattern in two colours, how much it shines and how much it glows; and a decorator's dice."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from unrender.datasets.synthetic.textures import PATTERNS, pattern_names

__all__ = ["BLACK", "BRASS", "OAK", "WALNUT", "WHITE", "Colour", "Palette", "uniform"]

Colour = tuple[float, float, float]

OAK = ((0.46, 0.27, 0.13), (0.30, 0.16, 0.07))
WALNUT = ((0.20, 0.105, 0.05), (0.11, 0.055, 0.028))
BRASS = (0.55, 0.38, 0.14)
BLACK = (0.022, 0.022, 0.025)
WHITE = (0.74, 0.72, 0.68)


@dataclass
class Palette:
    """Materials by number, filled while a room is furnished; equal materials share a number."""

    rows: list[tuple[str, Colour, Colour, float, Colour]] = field(default_factory=list)

    def add(
        self, pattern: str, a: Colour, b: Colour | None = None, gloss: float = 0.0, glow: Colour = (0.0, 0.0, 0.0)
    ) -> int:
        """The number of a material: ``pattern`` in colours ``a`` and ``b`` (reflectance, default ``a`` darkened).

        ``gloss`` in 0..1 scales a mirror's Fresnel reflection; ``glow`` is radiance that the surface gives off itself.
        """
        second = b if b is not None else (a[0] * 0.6, a[1] * 0.6, a[2] * 0.6)
        row = (pattern, a, second, gloss, glow)
        if row not in self.rows:
            self.rows.append(row)
        return self.rows.index(row)

    def table(self, column: int) -> torch.Tensor:
        """One numeric column of all materials, float32."""
        return torch.tensor([row[column] for row in self.rows])

    def reflectance(self, material: torch.Tensor, uv: torch.Tensor, blur: torch.Tensor) -> torch.Tensor:
        """Linear reflectance [N, 3] of materials [N] at ``uv`` [N, 2], for pixels that cover ``blur`` [N]."""
        names = pattern_names()
        pattern = torch.tensor([names.index(row[0]) for row in self.rows])[material]
        a, b = self.table(1)[material], self.table(2)[material]
        colours = torch.zeros(len(material), 3)
        for number in pattern.unique().tolist():
            chosen = (pattern == number).nonzero()[:, 0]
            colours[chosen] = PATTERNS[number](uv[chosen], blur[chosen], a[chosen], b[chosen])
        return colours.clamp(0.004, 0.95)


def uniform(chance: torch.Generator, low: float, high: float) -> float:
    """One random number."""
    return low + (high - low) * float(torch.rand((), generator=chance))
