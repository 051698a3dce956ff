"""A plot small enough to need no plotting library: one frame, lines, dots, a legend."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont

__all__ = ["Color", "Plot"]

Color = tuple[int, int, int]
_WIDTH, _HEIGHT = 560, 420
_LEFT, _TOP, _RIGHT, _BOTTOM = 62, 66, 18, 40
_OVERSAMPLING = 3
_MOST_TICKS = 8
_INK, _GRID = (60, 60, 60), (228, 228, 228)


class Plot:
    """A plot of ``x_range`` by ``y_range``; draw into it, then take its ``picture``."""

    def __init__(self, title: str, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self._x_range, self._y_range = x_range, y_range
        self._image = Image.new("RGB", (_WIDTH * _OVERSAMPLING, _HEIGHT * _OVERSAMPLING), "white")
        self._draw = ImageDraw.Draw(self._image)
        self._font = ImageFont.load_default(13 * _OVERSAMPLING)
        self._legend: list[tuple[str, Color]] = []
        self._draw.text(_scaled(_LEFT, 14), title, fill=_INK, font=ImageFont.load_default(15 * _OVERSAMPLING))
        self._draw_grid()

    def line(self, x: Sequence[float], y: Sequence[float], color: Color, name: str, width: int = 2) -> None:
        """A line through the points (x, y)."""
        self._draw.line(
            [self._place(*point) for point in zip(x, y, strict=True)], fill=color, width=width * _OVERSAMPLING
        )
        self._legend.append((name, color))

    def dots(self, x: Sequence[float], y: Sequence[float], color: Color, name: str) -> None:
        """A dot at each point (x, y)."""
        radius = 4 * _OVERSAMPLING
        for u, v in (self._place(*point) for point in zip(x, y, strict=True)):
            self._draw.ellipse((u - radius, v - radius, u + radius, v + radius), fill=color)
        self._legend.append((name, color))

    def picture(self) -> Image.Image:
        """The finished plot, 560 x 420 pixels."""
        u = float(_LEFT)
        for name, color in self._legend:
            self._draw.rectangle((*_scaled(u, 45), *_scaled(u + 16, 50)), fill=color)
            self._draw.text(_scaled(u + 22, 40), name, fill=_INK, font=self._font)
            u += 40 + self._font.getlength(name) / _OVERSAMPLING
        return self._image.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)

    def _draw_grid(self) -> None:
        """Grid lines with their numbers."""
        (left, right), (low, high) = self._x_range, self._y_range
        for value in _steps(*self._x_range):
            u, v = self._place(value, low)
            self._draw.line([(u, v), self._place(value, high)], fill=_GRID, width=_OVERSAMPLING)
            self._draw.text((u, v + 6 * _OVERSAMPLING), f"{value:.3g}", fill=_INK, font=self._font, anchor="ma")
        for value in _steps(*self._y_range):
            u, v = self._place(left, value)
            self._draw.line([(u, v), self._place(right, value)], fill=_GRID, width=_OVERSAMPLING)
            self._draw.text((u - 6 * _OVERSAMPLING, v), f"{value:.2g}", fill=_INK, font=self._font, anchor="rm")

    def _place(self, x: float, y: float) -> tuple[float, float]:
        """Where (x, y) lies in the large picture."""
        along = (x - self._x_range[0]) / (self._x_range[1] - self._x_range[0])
        up = (y - self._y_range[0]) / (self._y_range[1] - self._y_range[0])
        u = _LEFT + along * (_WIDTH - _LEFT - _RIGHT)
        v = _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)
        return _scaled(u, v)


def _scaled(u: float, v: float) -> tuple[float, float]:
    return u * _OVERSAMPLING, v * _OVERSAMPLING


def _steps(low: float, high: float) -> Iterator[float]:
    """Round numbers from ``low`` to ``high``: steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / _MOST_TICKS))
    step = next(power * factor for factor in (1, 2, 5, 10) if (high - low) / (power * factor) <= _MOST_TICKS)
    for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        yield index * step
