"""Figures for people: pictures above their captions."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Sheet
from PIL import Image
from torch import Tensor


def gallery(
    pixels: Tensor | Sequence[Tensor],
    captions: Sequence[str],
    columns: int,
    title: str = "",
    width: int = 26,
) -> Image.Image:
    """uint8 pictures (N, 3, S, S) in rows of `columns`, each above its caption."""
    rows = -(-len(captions) // columns)
    height = 1.9 * rows + 0.4
    sheet = Sheet(figsize=(1.35 * columns, height), dpi=100)
    axes = sheet.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, picture, caption in zip(axes.flat, pixels, captions, strict=False):
        axis.imshow(picture.permute(1, 2, 0).numpy(), interpolation="lanczos")
        told = "\n".join(textwrap.wrap(caption, width)[:5])
        axis.text(0.5, -0.04, told, ha="center", va="top", fontsize=5, transform=axis.transAxes)
    sheet.suptitle(title, fontsize=8, y=1 - 0.1 / height)
    sheet.subplots_adjust(0.01, 0.62 / height, 0.99, 1 - 0.35 / height, 0.08, 0.5)
    return as_picture(sheet)


def as_picture(sheet: Sheet) -> Image.Image:
    """A matplotlib figure as an RGB picture."""
    canvas = FigureCanvasAgg(sheet)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
