"""Pictures inside a page: encoded small, as data that the page carries with it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import torch
from markupsafe import Markup
from PIL import Image, features

__all__ = ["Picture", "embedded", "image_tag"]


@dataclass(frozen=True)
class Picture:
    """A picture as a page carries it: ``src`` is a data URI; ``width``, ``height`` in pixels."""

    src: str
    width: int
    height: int


def embedded(image: torch.Tensor | Image.Image, edge: int | None = None, quality: int = 80) -> Picture:
    """A picture, [3, H, W] in 0..1 as recorded or of Pillow, at most ``edge`` pixels wide and high (never enlarged).

    ``quality`` 0 to 100. Encoded as WebP, which every browser since 2020 reads, or as JPEG where this Pillow has no
    WebP.
    """
    picture = image if isinstance(image, Image.Image) else _to_pillow(image)
    if edge is not None and max(picture.size) > edge:
        scale = edge / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    kind = "webp" if features.check("webp") else "jpeg"
    file = io.BytesIO()
    picture.convert("RGB").save(file, kind, quality=quality)
    coded = base64.b64encode(file.getvalue()).decode("ascii")
    return Picture(f"data:image/{kind};base64,{coded}", *picture.size)


def image_tag(picture: Picture, alt: str, style: str = "") -> Markup:
    """The picture in a page; ``alt``: what it shows, in words; ``style``: its class in the style sheet."""
    return Markup('<img class="{}" src="{}" width="{}" height="{}" alt="{}" decoding="async">').format(
        style, picture.src, picture.width, picture.height, alt
    )


def _to_pillow(image: torch.Tensor) -> Image.Image:
    pixels = (image.detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().cpu()
    return Image.fromarray(pixels.numpy(), "RGB")
