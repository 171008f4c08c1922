"""Sheets: images above their captions, and whatever else matplotlib draws."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Sheet
from PIL import Image
from torch import Tensor

# Inches: an image's side, between images, a line of words, the title.
SIDE, GAP, LINE, HEAD = 1.25, 0.12, 0.09, 0.32


def captioned_sheet(
    pixels: Tensor | Sequence[Tensor],
    captions: Sequence[str],
    columns: int,
    title: str = "",
    width: int = 26,
) -> Image.Image:
    """uint8 images (N, 3, S, S) in rows of `columns`, each above its whole caption."""
    told = [textwrap.wrap(caption, width) for caption in captions]
    rows, words = -(-len(captions) // columns), LINE * max(map(len, told)) + GAP
    height = rows * (SIDE + words) + HEAD
    sheet = Sheet(figsize=(columns * (SIDE + GAP) + GAP, height), dpi=100)
    for i, (image, lines) in enumerate(zip(pixels, told, strict=True)):
        left = GAP + i % columns * (SIDE + GAP)
        bottom = height - HEAD - i // columns * (SIDE + words) - SIDE
        box = (left / sheet.get_figwidth(), bottom / height)
        axis = sheet.add_axes((*box, SIDE / sheet.get_figwidth(), SIDE / height))
        axis.set_axis_off()
        axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="lanczos")
        place = axis.transAxes
        axis.text(0.5, -0.03, "\n".join(lines), ha="center", va="top", fontsize=5, transform=place)
    sheet.suptitle(title, fontsize=8, y=1 - 0.08 / height)
    return as_image(sheet)


def as_image(sheet: Sheet) -> Image.Image:
    """A matplotlib figure as an RGB image."""
    canvas = FigureCanvasAgg(sheet)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
