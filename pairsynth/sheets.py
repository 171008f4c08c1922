"""Sheets: images above their captions, and whatever else matplotlib draws."""

import functools
import textwrap
import unicodedata
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Sheet
from PIL import Image
from torch import Tensor

# Inches: an image's side, between images, a line of words, the title.
SIDE, GAP, LINE, HEAD = 1.25, 0.12, 0.09, 0.32
# Fonts with the letters that DejaVu Sans lacks, as systems have them.
OTHERS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB"),
    *("Microsoft YaHei", "SimHei", "Noto Sans Thai", "Noto Sans Devanagari", "Nirmala UI"),
    *("Leelawadee UI", "Arial Unicode MS", "Unifont"),
)


@functools.cache
def fonts() -> list[str]:
    """DejaVu Sans, then those of `OTHERS` that this machine has."""
    there = {*font_manager.get_font_names()}
    return ["DejaVu Sans", *(name for name in OTHERS if name in there)]


def lines_of(caption: str, width: int) -> list[str]:
    """The caption in lines of `width` letters; of wide ones, as Chinese has, half as many."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in caption)
    return textwrap.wrap(caption, width // 2 if 4 * wide > len(caption) else width)


def captioned_sheet(
    pixels: Tensor | Sequence[Tensor],
    captions: Sequence[str],
    columns: int,
    title: str = "",
    width: int = 26,
) -> Image.Image:
    """uint8 images (N, 3, S, S) in rows of `columns`, each above its whole caption."""
    told = [lines_of(caption, width) for caption in captions]
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
        text = axis.text(0.5, -0.03, "\n".join(lines), ha="center", va="top", fontsize=5)
        text.set(transform=axis.transAxes, family=fonts())
    sheet.suptitle(title, fontsize=8, y=1 - 0.08 / height)
    return as_image(sheet)


def as_image(sheet: Sheet) -> Image.Image:
    """A matplotlib figure as an RGB image; letters that no font here has are drawn as boxes."""
    canvas = FigureCanvasAgg(sheet)
    with warnings.catch_warnings(record=True) as seen:
        warnings.filterwarnings("always", "Glyph .* missing")  # one a letter
        canvas.draw()
    others = [one for one in seen if "missing from font" not in str(one.message)]
    for one in others:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if len(others) < len(seen):
        told = "captions have letters that no font here has; install one, as Noto Sans CJK"
        warnings.warn(told, stacklevel=2)
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
