"""Convert images of more than 8 bits per channel to 8 bits, as bright as a viewer shows them.

PNG, PNM and JPEG 2000 define what white is, a TIFF may in its tags. Where a TIFF does not, white is
the largest value of the least of 8, 10, 12, 14 or 16 bits (24 or 32 for 32-bit integers) that holds
the largest sample; for floats 1 if no sample is larger, else 255. Opacity has its own white.
"""

import sys
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

# Tags of a TIFF.
BITS, PHOTOMETRIC, MAX, PLANAR, SAMPLE_FORMAT, EXACT_MAX = 258, 262, 281, 284, 339, 341
DEPTHS = (8, 10, 12, 14, 16, 24, 32)
OVER = 0.1  # share of white by which resampled floats may leave their range, and are clipped


def is_deep(image: Image.Image) -> bool:
    """Whether the image is greyscale of more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def from_deep(image: Image.Image) -> Image.Image:
    """A deep greyscale image as 8-bit "L", its transparent value white.

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


def is_deep_colour(image: Image.Image) -> TypeGuard[TiffImagePlugin.TiffImageFile]:
    """Whether it is a TIFF with 16-bit colours, of which Pillow would load the upper 8 bits only.

    To be called before its pixels are loaded.
    """
    bits = _numbers(_tags(image), BITS)
    return image.mode in ("RGB", "RGBA") and max(bits, default=8) == 16


def from_deep_colour(
    image: TiffImagePlugin.TiffImageFile, again: TiffImagePlugin.TiffImageFile
) -> Image.Image:
    """A TIFF with 16-bit colours as 8-bit "RGB" or "RGBA".

    image, again: the same file, opened twice and not loaded. Pillow cannot hold such colours, but
    loads the lower bytes where it is told the opposite byte order.

    Raises:
        ValueError: for compressed planes of less than 16 bits, whose lower bytes are out of reach.
    """
    tags, premultiplied = _tags(image), _arguments(image.tile[0])[0].startswith("RGBa")
    out_of_reach = image.tile[0].codec_name == "libtiff" and 2 in _numbers(tags, PLANAR)
    upper = _bytes_of(image, upper=True).astype(np.uint16)
    if out_of_reach and upper.max() < 2**6:
        raise ValueError("a TIFF of less than 16 bits in compressed planes; save it as PNG")
    lower = upper if out_of_reach else _bytes_of(again, upper=False)
    values = upper << np.uint16(8) | lower
    shades = [_shades(image, tags, values[..., :3])]
    if values.shape[2] == 4:
        shades.append(_shades(image, tags, values[..., 3:]))
    mode = ("RGBa" if premultiplied else "RGBA") if len(shades) == 2 else "RGB"
    found = Image.frombytes(mode, image.size, np.concatenate(shades, 2).tobytes())
    return found.convert("RGBA") if premultiplied else found


def _bytes_of(image: TiffImagePlugin.TiffImageFile, *, upper: bool) -> NDArray[np.uint8]:
    """The upper or the lower bytes (H, W, 3 or 4) of an image that is not loaded."""
    if image.tile[0].codec_name == "libtiff":  # it has turned them to the machine's own order
        swapped = sys.byteorder == "big"
    else:
        swapped = image.tag_v2.prefix == b"MM"
    order = "LB"[swapped == upper]
    given = [(one, *_arguments(one)) for one in image.tile]
    image.tile = [
        one._replace(args=(_raw_mode(name, order), *others)) for one, name, *others in given
    ]
    return np.asarray(image)


def _arguments(tile: ImageFile._Tile) -> tuple[Any, ...]:
    return tile.args if isinstance(tile.args, tuple) else (tile.args,)


def _raw_mode(name: str, order: str) -> str:
    """Pillow's raw mode for 16 bits in this byte order, without premultiplied opacity."""
    return f"{name.partition(';')[0].replace('RGBa', 'RGBA')};16{order}"


def _shades(
    image: Image.Image, tags: dict[int, object], values: NDArray[np.uint16]
) -> NDArray[np.uint8]:
    """16-bit values to 8 bits by a lookup table, since there may be 64 million pixels."""
    white = _white(image, tags, float(values.max()))
    table = np.clip(np.rint(np.arange(2**16) / white * 255), 0, 255).astype(np.uint8)
    return table[values]


def _white(image: Image.Image, tags: dict[int, object], largest: float) -> float:
    """The value of white; see the module."""
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
    signed = 2 in _numbers(tags, SAMPLE_FORMAT)  # one of its bits is the sign
    return min(
        2.0 ** (bits - signed) - 1,
        next(2.0**depth - 1 for depth in DEPTHS if largest < 2**depth),
    )


def _tags(image: Image.Image) -> dict[int, object]:
    """The tags of a TIFF by number; empty for other formats."""
    return dict(image.tag_v2) if isinstance(image, TiffImagePlugin.TiffImageFile) else {}


def _numbers(tags: dict[int, object], tag: int) -> list[float]:
    found = tags.get(tag, ())
    return [float(one) for one in (found if isinstance(found, tuple) else (found,))
            if isinstance(one, int | float)]  # fmt: skip
