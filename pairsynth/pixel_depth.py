"""Pixels of more than 8 bits, with the brightness that a viewer shows.

What the file says counts: PNG, PNM and JPEG 2000 say what white is, a TIFF may by its tags. Where a
TIFF says nothing, white is the largest value of 8, 10, 12, 14 or 16 bits (24 or 32 for integers of
32) that holds the largest pixel; of floats it is 1 where nothing is above, else 255.
"""

import numpy as np
from PIL import Image, TiffImagePlugin

BITS, PHOTOMETRIC, MAX, SAMPLE_FORMAT, EXACT_MAX = 258, 262, 281, 339, 341  # tags of a TIFF
DEPTHS = (8, 10, 12, 14, 16, 24, 32)
OVER = 0.1  # share of white by which resampled floats may leave their range, and are clipped


def is_deep(image: Image.Image) -> bool:
    """Whether the pixels are a grey of more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def from_deep(image: Image.Image) -> Image.Image:
    """A deep grey as 8 bit grey "L", its transparent value white.

    Raises:
        ValueError: for pixels that are NaN, infinite, below black or above every known white.
    """
    tags = _tags(image)
    values = np.asarray(image)
    unsigned = set(_numbers(tags, SAMPLE_FORMAT)) <= {1}
    if image.mode == "I" and tags and unsigned:  # Pillow has no unsigned 32 bits
        values = np.ascontiguousarray(values).view(np.uint32)
    values = values.astype(np.float64)
    odd = int((~np.isfinite(values)).sum())
    if odd:
        raise ValueError(f"{odd:,} of {values.size:,} pixels are NaN or infinite")
    white = _white(image, tags, float(values.max()))
    low, high = float(values.min()), float(values.max())
    slack = OVER * white if image.mode == "F" else 0
    if low < -slack or high > white + slack:
        raise ValueError(
            f"pixels go from {low:g} to {high:g}; black is 0 and white {white:g}: "
            "save it with values from 0 to 1, or with 8 bits"
        )
    clear = values == image.info.get("transparency", np.nan)
    shades = np.clip(np.rint(values / white * 255), 0, 255)
    if 0 in _numbers(tags, PHOTOMETRIC):  # white is zero
        shades = 255 - shades
    return Image.fromarray(np.where(clear, 255, shades).astype(np.uint8))


def _white(image: Image.Image, tags: dict[int, object], largest: float) -> float:
    """The value that is white; see the module."""
    said = [value for value in _numbers(tags, EXACT_MAX) if value > 0]
    if said and max(said) >= largest:
        return max(said)
    if image.mode == "F":
        return 1.0 if largest <= 1 + OVER else 255.0
    if not tags:
        return 65535.0
    bits = max(_numbers(tags, BITS), default=16)
    if bits not in (16, 32):
        return 2.0**bits - 1
    largest = max([largest, *(value for value in _numbers(tags, MAX) if value < 2.0**bits)])
    return next(2.0**depth - 1 for depth in DEPTHS if largest < 2**depth)


def _tags(image: Image.Image) -> dict[int, object]:
    """The tags of a TIFF by number; none of other kinds."""
    return dict(image.tag_v2) if isinstance(image, TiffImagePlugin.TiffImageFile) else {}


def _numbers(tags: dict[int, object], tag: int) -> list[float]:
    found = tags.get(tag, ())
    return [float(one) for one in (found if isinstance(found, tuple) else (found,))
            if isinstance(one, int | float)]  # fmt: skip
