"""Draw garden flowers: textures of parts, coloured, transformed and composed.

The canvas is at least twice as large as the image and is reduced at the end, for soft edges. What
varies between images (pose, light, clutter) never changes a named attribute.
"""

import colorsys
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from pairsynth.sources.garden_shapes import LENGTH, RUFFLES, Colour, centre, petal

Matrix = NDArray[np.float64]  # (2, 2)
Ranges = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

# Hue in degrees, saturation and value: disjoint boxes, so that natural variation keeps its name.
PETAL_COLOURS: dict[str, Ranges] = {
    "red": ((-6, 3), (0.86, 0.95), (0.78, 0.90)),
    "orange": ((22, 29), (0.88, 0.96), (0.95, 1.0)),
    "yellow": ((50, 56), (0.76, 0.92), (0.95, 1.0)),
    "white": ((40, 60), (0.01, 0.05), (0.97, 1.0)),
    "pink": ((322, 333), (0.46, 0.58), (0.95, 1.0)),
    "lavender": ((250, 260), (0.26, 0.34), (0.93, 0.99)),
    "purple": ((276, 285), (0.70, 0.82), (0.54, 0.64)),
    "blue": ((216, 228), (0.74, 0.86), (0.74, 0.90)),
}
CENTRE_COLOURS: dict[str, Ranges] = {
    "yellow": ((46, 52), (0.82, 0.92), (0.97, 1.0)),
    "white": ((45, 60), (0.04, 0.08), (0.96, 1.0)),
    "green": ((88, 102), (0.62, 0.74), (0.56, 0.66)),
    "brown": ((20, 27), (0.72, 0.82), (0.40, 0.46)),
    "purple": ((294, 304), (0.62, 0.72), (0.54, 0.62)),
}
LEAF_SHADE = np.float32(0.75)  # of a leaf's base and of the stem
LEAF_COLOUR: Ranges = ((92, 122), (0.55, 0.70), (0.46, 0.60))
# Two corners of the blurred background and the colour of its light spots.
BACKGROUNDS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "green": ((104, 142, 70), (44, 86, 46), (190, 214, 120)),
    "blue": ((176, 212, 240), (98, 156, 214), (244, 248, 252)),
    "brown": ((168, 126, 88), (94, 64, 44), (226, 190, 142)),
    "dark": ((46, 56, 64), (14, 18, 26), (116, 126, 122)),
}
COUNTS = {"four": 4, "five": 5, "six": 6, "eight": 8, "ten": 10}
# Radii over the image's side.
RADIUS = {"small": 0.37, "large": 0.46}
# Rings of petals from the back to the front: reach over the radius, turn in petals, brightness.
RINGS = {
    "single": ((1.0, 0.0, 1.0),),
    "layered": ((1.0, 0.0, 0.86), (0.62, 0.5, 1.08)),
}
LEAVES = {"broad": (3, 5), "slender": (6, 9)}  # how many, the last excluded
CENTRE_RADIUS = {"small": 0.086, "large": 0.13}


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """What all images of a species share besides its named attributes.

    body, throat, centre, leaf: RGB (3,) in 0..255. width: petal width relative to its shape's.
    throat_reach: how far the throat colour reaches up the petal. tuft: stamens instead of florets.
    """

    body: Colour
    throat: Colour
    centre: Colour
    leaf: Colour
    width: float
    throat_reach: float
    tuft: bool


@dataclass(frozen=True, kw_only=True)
class Pose:
    """The pose of the flower in one image: origin and radius in canvas pixels.

    tilt: foreshortening matrix (2, 2). light: the direction of the light, in radians.
    """

    origin: tuple[float, float]
    radius: float
    tilt: Matrix
    light: float


@dataclass
class Canvas:
    """The image being drawn. size: its side in pixels."""

    image: Image.Image
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = self.image.width

    def lay(
        self,
        part: Image.Image,
        anchor: tuple[float, float],
        place: Matrix,
        origin: tuple[float, float],
    ) -> None:
        """Draw `part` over the image; `place` (2, 2) maps texture pixels around `anchor` to it."""
        width, height = part.size
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) - anchor
        spread = corners @ place.T + origin
        low = np.maximum(np.floor(spread.min(0)), 0).astype(int)
        high = np.minimum(np.ceil(spread.max(0)), self.size).astype(int)
        if (high <= low).any():
            return
        back = np.linalg.inv(place)
        shift = back @ (low - np.asarray(origin)) + anchor
        data = (back[0, 0], back[0, 1], shift[0], back[1, 0], back[1, 1], shift[1])
        extent = (int(high[0] - low[0]), int(high[1] - low[1]))
        turned = part.transform(extent, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
        self.image.alpha_composite(turned, (int(low[0]), int(low[1])))


def colour(ranges: Ranges, rng: np.random.Generator) -> Colour:
    """A colour (3,) in 0..255 drawn evenly from `ranges` of hue, saturation and value."""
    hue, saturation, value = (float(rng.uniform(*bounds)) for bounds in ranges)
    rgb = colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)
    return np.array(rgb, np.float32) * 255


def appearance(attributes: dict[str, str], rng: np.random.Generator) -> Appearance:
    """A random appearance for a species with `attributes`."""
    body = colour(PETAL_COLOURS[attributes["petal_colour"]], rng)
    pale = rng.random() < 0.45
    throat = body * 0.5 + 122 if pale else body * np.float32(rng.uniform(0.62, 0.8))
    return Appearance(
        body=body,
        throat=throat.astype(np.float32),
        centre=colour(CENTRE_COLOURS[attributes["centre_colour"]], rng),
        leaf=colour(LEAF_COLOUR, rng),
        width=float(rng.uniform(0.94, 1.08)),
        throat_reach=float(rng.uniform(0.8, 1.3)),
        tuft=bool(rng.random() < 0.5),
    )


def draw(
    attributes: dict[str, str], species: Appearance, size: int, rng: np.random.Generator
) -> Image.Image:
    """One RGB image (size, size) of a flower in its own pose, light and clutter."""
    side = size * max(2, 128 // size)
    canvas = Canvas(_background(attributes["background"], side, rng))
    pose = _pose(attributes["size"], side, rng)
    _stem(canvas, species, pose, rng)
    if attributes["leaves"] != "no":
        _leaves(canvas, attributes["leaves"], species, pose, rng)
    _petals(canvas, attributes, species, pose, rng)
    _centre(canvas, attributes["centre_size"], species, pose, rng)
    small = canvas.image.convert("RGB").resize((size, size), Image.Resampling.BOX)
    return _exposed(small, rng)


def _pose(size: str, side: int, rng: np.random.Generator) -> Pose:
    """Near the middle of the canvas, foreshortened by up to a fifth in a random direction."""
    radius = RADIUS[size] * side * float(rng.uniform(0.95, 1.05))
    room = 0.55 * (side / 2 - 0.9 * radius)
    x, y = side / 2 + rng.uniform(-room, room, 2)
    turn = _rotation(rng.uniform(0, math.pi))
    tilt = turn @ np.diag([rng.uniform(0.82, 1.0), 1.0]) @ turn.T
    return Pose(
        origin=(float(x), float(y)),
        radius=radius,
        tilt=tilt,
        light=float(rng.uniform(0, 2 * math.pi)),
    )


def _rotation(angle: float) -> Matrix:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _stem(canvas: Canvas, species: Appearance, pose: Pose, rng: np.random.Generator) -> None:
    texture = petal("stem", "smooth", 0, 0)
    part = texture.coloured(species.leaf * LEAF_SHADE, species.leaf * LEAF_SHADE, 0.95)
    place = _rotation(float(rng.uniform(-0.25, 0.25))) * (canvas.size / LENGTH)
    canvas.lay(part, texture.anchor, place, pose.origin)


def _leaves(
    canvas: Canvas, kind: str, species: Appearance, pose: Pose, rng: np.random.Generator
) -> None:
    """Draw leaves of `kind` all around, long enough to show behind the petals."""
    count = int(rng.integers(*LEAVES[kind]))
    texture = petal("leaf", kind, 0, 0)
    start = rng.uniform(0, 2 * math.pi)
    reach = max(1.42 * pose.radius, 0.52 * canvas.size)
    for i in range(count):
        turn = _rotation(start + 2 * math.pi * (i + rng.uniform(-0.2, 0.2)) / count)
        light = float(rng.uniform(0.85, 1.15))
        part = texture.coloured(species.leaf * LEAF_SHADE, species.leaf, light)
        place = pose.tilt @ turn * (reach * rng.uniform(0.92, 1.08) / LENGTH)
        canvas.lay(part, texture.anchor, place, pose.origin)


def _petals(
    canvas: Canvas,
    attributes: dict[str, str],
    species: Appearance,
    pose: Pose,
    rng: np.random.Generator,
) -> None:
    """Draw the rings of petals, each petal slightly varied."""
    shape, edge = attributes["petal_shape"], attributes["edge"]
    count = COUNTS[attributes["petal_count"]]
    start = rng.uniform(0, 2 * math.pi)
    for reach, offset, brightness in RINGS[attributes["arrangement"]]:
        wobble = rng.uniform(-1, 1, (count, 4))
        for i in range(count):
            texture = petal(shape, edge, count, i % RUFFLES)
            angle = start + 2 * math.pi * (i + offset + 0.09 * wobble[i, 0]) / count
            light = brightness * (1 + 0.11 * math.cos(angle - pose.light) + 0.05 * wobble[i, 1])
            part = texture.coloured(species.throat, species.body, light)
            length = reach * pose.radius * (1 + 0.05 * wobble[i, 2]) / LENGTH
            width = length * species.width * (1 + 0.07 * wobble[i, 3])
            # A texture grows along +y, an angle counts from +x.
            place = pose.tilt @ _rotation(angle - math.pi / 2) @ np.diag([width, length])
            canvas.lay(part, texture.anchor, place, pose.origin)


def _centre(
    canvas: Canvas, size: str, species: Appearance, pose: Pose, rng: np.random.Generator
) -> None:
    radius = CENTRE_RADIUS[size] * canvas.size * rng.uniform(0.96, 1.08)
    texture = centre(size, species.tuft)
    light = float(rng.uniform(0.97, 1.05))
    part = texture.coloured(species.centre * np.float32(0.78), species.centre, light)
    # The texture is lit from above (-y): turn that side towards the light.
    place = pose.tilt @ _rotation(pose.light + math.pi / 2) * (radius / (LENGTH / 2))
    canvas.lay(part, texture.anchor, place, pose.origin)


def _background(kind: str, side: int, rng: np.random.Generator) -> Image.Image:
    """Out-of-focus surroundings: light from one side, foliage, spots and other, dimmer flowers."""
    first, second, spot = (np.array(rgb, np.float32) for rgb in BACKGROUNDS[kind])
    coarse = 40
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[-1 : 1 : coarse * 1j, -1 : 1 : coarse * 1j]
    slope = 0.5 + 0.33 * (x * math.cos(angle) + y * math.sin(angle))
    clouds = Image.fromarray(rng.normal(0, 0.22, (7, 7)).astype(np.float32))
    mix = slope + np.asarray(clouds.resize((coarse, coarse), Image.Resampling.BICUBIC))
    ground = second + (first - second) * np.clip(mix, 0, 1)[..., None].astype(np.float32)
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image, "RGBA")
    for _ in range(int(rng.integers(5, 11))):
        _blob(pen, coarse, spot, int(rng.integers(24, 80)), rng)
    names = list(PETAL_COLOURS)
    for _ in range(int(rng.integers(0, 4))):
        other = colour(PETAL_COLOURS[names[int(rng.integers(len(names)))]], rng)
        dim = (0.4 * other + 0.25 * (first + second)).astype(np.float32)
        _blob(pen, coarse, dim, 150, rng)
    soft = image.filter(ImageFilter.GaussianBlur(0.9))
    return soft.resize((side, side), Image.Resampling.BICUBIC).convert("RGBA")


def _blob(
    pen: ImageDraw.ImageDraw, side: int, rgb: Colour, alpha: int, rng: np.random.Generator
) -> None:
    x, y, radius = rng.uniform((0, 0, side * 0.05), (side, side, side * 0.14))
    red, green, blue = (int(value) for value in rgb)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), (red, green, blue, alpha))


def _exposed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image with random exposure and colour temperature."""
    warmth = rng.uniform(-0.03, 0.03)
    gain = rng.uniform(0.93, 1.06) * np.array([1 + warmth, 1, 1 - warmth], np.float32)
    return Image.fromarray(np.minimum(np.asarray(image) * gain, 255).astype(np.uint8))
