"""Labelled strips and sheets of images, enlarged for viewing."""

import math
import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pairsynth import images

TILE = 192
GAP = 2
LETTERS = 14
LINE = 18
MARGIN = 6


def enlargement(size: int) -> int:
    """Screen pixels per pixel of an image of `size`, so that a label fits below it."""
    return math.ceil(TILE / size)


def strip(pixels: Tensor, labels: list[str], heading: str = "") -> Image.Image:
    """Images, uint8 (N, 3, S, S), in one row, each above its label, under a heading."""
    size = pixels.shape[-1]
    scale = enlargement(size)
    row = images.grid(pixels, len(pixels), scale, GAP)
    title = _wrap(heading, row.width)
    blocks = [_wrap(label, size * scale) for label in labels]
    top = _height([title])
    sheet = Image.new("RGB", (row.width, top + row.height + _height(blocks)), "white")
    sheet.paste(row, (0, top))
    _write(sheet, title, 0, 0)
    for i, block in enumerate(blocks):
        _write(sheet, block, i * (size + GAP) * scale, top + row.height)
    return sheet


def rows(groups: Sequence[Tensor], labels: Sequence[str], scale: int) -> Image.Image:
    """A row of images for each group, uint8 (N, 3, S, S), below its label."""
    grids = [images.grid(group, len(group), scale, GAP) for group in groups]
    width = max(grid.width for grid in grids)
    blocks = [_wrap(label, width) for label in labels]
    heights = [_height([block]) for block in blocks]
    total = sum(heights) + sum(grid.height for grid in grids)
    sheet = Image.new("RGB", (width, total), "white")
    top = 0
    for grid, block, height in zip(grids, blocks, heights, strict=True):
        _write(sheet, block, 0, top)
        sheet.paste(grid, (0, top + height))
        top += height + grid.height
    return sheet


def _wrap(text: str, width: int) -> list[str]:
    letter = ImageFont.load_default(LETTERS).getlength("n")
    return textwrap.wrap(text, max(1, int(width / letter)))


def _height(blocks: list[list[str]]) -> int:
    lines = max(map(len, blocks), default=0)
    return lines * LINE + 2 * MARGIN if lines else 0


def _write(sheet: Image.Image, lines: list[str], left: int, top: int) -> None:
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS)
    for i, line in enumerate(lines):
        pen.text((left, top + MARGIN + i * LINE), line, fill="black", font=font)
