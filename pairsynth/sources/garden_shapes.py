"""The parts of a garden flower as small textures, made once per shape and coloured per image.

A texture has opacity, lightness and a mix of two colours per pixel, but no colours yet. `petal`
also makes leaves and stems; `centre` makes the middle of a flower.
"""

import math
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Array = NDArray[np.float32]  # (height, width)
Colour = NDArray[np.float32]  # RGB (3,) in 0..255
Points = NDArray[np.float64]  # (points, 2) as (along, across), in petal lengths

LENGTH = 80  # texture pixels from the base of a petal to its tip, and across a flower's centre
MARGIN = 9  # texture pixels around it, for the soft shadow it throws
NOTCH = 0.76  # how far up a heart-shaped petal its notch reaches down
RUFFLES = 3  # textures of one ruffled shape, so that neighbours differ


@dataclass(frozen=True, kw_only=True)
class Texture:
    """A part of a flower without colours; all arrays are (height, width).

    alpha: opacity. tone: 0 is the inner colour, 1 the outer. light: factor of the colour.
    anchor: texture pixel (x, y) of the part's origin.
    """

    alpha: Array
    tone: Array
    light: Array
    anchor: tuple[float, float]

    @cached_property
    def opacity(self) -> NDArray[np.uint8]:
        """`alpha` as bytes."""
        return (np.clip(self.alpha, 0, 1) * 255).astype(np.uint8)

    def coloured(self, inner: Colour, outer: Colour, light: float) -> Image.Image:
        """The texture as RGBA with colours (3,) in 0..255; light: brightness of the whole part."""
        rgba = np.empty((*self.alpha.shape, 4), np.uint8)
        for i in range(3):
            band = (inner[i] + (outer[i] - inner[i]) * self.tone) * (self.light * light)
            rgba[..., i] = np.minimum(band, 255)
        rgba[..., 3] = self.opacity
        return Image.fromarray(rgba)


@cache
def petal(shape: str, edge: str, count: int, variant: int) -> Texture:
    """The texture of one petal (or leaf, or stem) of a flower with `count` petals to a ring.

    Its base is the anchor and it grows along +y; `variant` only changes ruffled edges.
    """
    half, outline = _outline(shape, edge, count)
    if edge == "ruffled":
        outline = _ruffle(outline, variant)
    width = 2 * int(half * LENGTH * 1.15 + MARGIN)
    height = LENGTH + 2 * MARGIN
    mask = _mask(outline, width, height)
    shadow = _blurred(mask, 4.0)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    along = np.clip((y + 0.5 - MARGIN) / LENGTH, 0, 1)
    across = (x + 0.5 - width / 2) / (half * LENGTH)
    light = _relief(along, across, edge, variant) * (0.70 + 0.30 * _blurred(mask, 2.5) ** 1.5)
    if shape in ("leaf", "stem"):
        light = light + 0.22 * np.exp(-((across * half * LENGTH / 2.2) ** 2))
    return Texture(
        alpha=np.maximum(mask, 0.62 * shadow),
        tone=np.clip(along / 0.62 - 0.12, 0, 1).astype(np.float32),
        light=(light * mask + 0.22 * (1 - mask)).astype(np.float32),
        anchor=(width / 2, float(MARGIN)),
    )


def _relief(along: Array, across: Array, edge: str, variant: int) -> Array:
    """The light on a petal: a groove along the middle, fanning veins, waves of a ruffled edge."""
    gutter = 0.14 * np.exp(-((across / 0.10) ** 2))
    cheeks = 0.10 * np.cos(across * 2.6 + 0.5)
    veins = 0.055 * np.cos(across / (0.35 + 0.65 * along) * 16) * np.sin(np.pi * along)
    light = 0.92 + 0.14 * along + cheeks - gutter * (1.1 - along) + veins
    if edge == "ruffled":
        rim = np.clip(np.maximum(np.abs(across), along * 1.05) - 0.55, 0, 1) / 0.45
        light = light + 0.16 * rim * np.sin(across * 9 + along * 14 + 2 * variant)
    result: Array = light.astype(np.float32)
    return result


def _outline(shape: str, edge: str, count: int) -> tuple[float, Points]:
    """Half width over length, and the outline (points, 2) as (along, across) over length."""
    fill = 0.62 * math.tan(math.pi / max(count, 4))
    half, widest, tip = {
        "round": (min(0.46, 1.18 * fill), 0.66, 0.0),
        "pointed": (min(0.34, 0.98 * fill), 0.40, 1.2),
        "narrow": (0.065 + 0.20 / max(count, 4), 0.86, 0.0),
        "heart shaped": (min(0.5, 0.88 * fill), 0.66, 0.0),
        "leaf": (0.24 if edge == "broad" else 0.065, 0.45, 1.3),
        "stem": (0.022, 0.98, 0.0),
    }[shape]
    if shape == "heart shaped":
        return half, _heart(half, widest)
    u = np.sin(np.linspace(0, math.pi / 2, 60))  # dense towards the tip
    rise = np.sin(math.pi / 2 * np.clip(u / widest, 0, 1)) ** (0.5 if shape == "narrow" else 0.85)
    fall = np.clip((u - widest) / (1 - widest), 0, 1)
    body = (1 - fall**tip) if tip else np.sqrt(1 - fall**2)
    across = half * (0.14 + 0.86 * rise) * body
    return half, np.concatenate([np.stack([u, across], 1), np.stack([u, -across], 1)[::-1]])


def _heart(half: float, shoulder: float) -> Points:
    """A petal of two round lobes with a notch between them, narrow at the base."""
    lobe = np.linspace(1, 0, 30)
    v = 0.5 - 0.5 * np.cos(math.pi * lobe)  # 1 at the flank, 0 in the notch
    flank_side = shoulder + (1 - shoulder) * np.sqrt(np.clip(1 - ((v - 0.5) / 0.5) ** 2, 0, 1))
    notch_side = NOTCH + (1 - NOTCH) * (1 - np.abs((v - 0.5) / 0.5) ** 1.5)
    top = np.where(v > 0.5, flank_side, notch_side)
    u = np.linspace(0, shoulder, 30)
    flank = 0.14 + 0.86 * np.sin(math.pi / 2 * u / shoulder) ** 0.9
    right = np.concatenate([np.stack([u, half * flank], 1), np.stack([top, half * v], 1)])
    return np.concatenate([right, (right * [1, -1])[::-1]])


def _ruffle(outline: Points, variant: int) -> Points:
    """Waves along the outline, growing from none at the base."""
    steps = np.hypot(*np.diff(outline, axis=0, prepend=outline[:1]).T)
    travelled = np.cumsum(steps)
    fine = np.linspace(0, travelled[-1], 240)
    dense = np.stack([np.interp(fine, travelled, outline[:, i]) for i in range(2)], 1)
    tangent = np.gradient(dense, axis=0)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
    normal /= np.maximum(np.hypot(*normal.T), 1e-9)[:, None]
    wave = np.sin(fine * 30 + 2.1 * variant) + 0.4 * np.sin(fine * 49 + 1.3 * variant)
    depth = min(0.028, 0.10 * float(np.ptp(outline[:, 1])))
    # Less of it where the outline meets itself, or pointed tips would come off.
    room = np.minimum(1, 0.35 + np.abs(dense[:, 1]) / np.ptp(dense[:, 1]) * 3)
    waved: Points = dense + normal * (depth * wave * room * dense[:, 0])[:, None]
    return waved


def _mask(outline: Points, width: int, height: int) -> Array:
    """Coverage in 0..1 of the outline, drawn four times as large and reduced."""
    scale = 4
    large = Image.new("L", (width * scale, height * scale))
    points = [
        ((width / 2 + across * LENGTH) * scale, (MARGIN + along * LENGTH) * scale)
        for along, across in outline
    ]
    ImageDraw.Draw(large).polygon(points, fill=255)
    return _shares(large.reduce(scale))


def _blurred(mask: Array, radius: float) -> Array:
    image = Image.fromarray((mask * 255).astype(np.uint8))
    return _shares(image.filter(ImageFilter.GaussianBlur(radius)))


def _shares(image: Image.Image) -> Array:
    """Bytes to 0..1."""
    shares: Array = np.asarray(image).astype(np.float32) / np.float32(255)
    return shares


@cache
def centre(size: str, tuft: bool) -> Texture:
    """The centre of a flower: florets on a dome (phyllotaxis), or a tuft of stamens."""
    side = LENGTH + 4 * MARGIN
    half = LENGTH / 2
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    x, y = (x + 0.5 - side / 2) / half, (y + 0.5 - side / 2) / half
    distance = np.hypot(x, y)
    florets = 26 if size == "small" else 60
    order = np.arange(florets) + 0.5
    ring = 1.0 if not tuft else 1.12
    spots = np.sqrt(order / florets) * ring
    angles = order * math.pi * (3 - math.sqrt(5))
    bumps = np.zeros_like(distance)
    for reach, angle in zip(spots, angles, strict=True):
        gap = (x - reach * math.cos(angle)) ** 2 + (y - reach * math.sin(angle)) ** 2
        np.maximum(bumps, np.exp(-gap * florets / (0.55 if tuft else 0.8)), out=bumps)
    disc = np.clip((1.0 - distance) * 12 + 0.5, 0, 1)
    mask = np.maximum(disc, np.clip(bumps * 4 - 1.4, 0, 1)).astype(np.float32)
    dome = 1.0 - 0.16 * distance**2 - 0.14 * y
    light = dome * (0.80 + 0.30 * bumps)
    return Texture(
        alpha=np.maximum(mask, 0.7 * _blurred(mask, 5.0)),
        tone=np.clip(bumps * 1.1, 0, 1).astype(np.float32),
        light=(light * mask + 0.2 * (1 - mask)).astype(np.float32),
        anchor=(side / 2, side / 2),
    )
