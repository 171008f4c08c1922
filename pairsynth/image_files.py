"""Read, resize and write image files, and the sizes that are allowed.

This module does not import torch, so that code that only handles files starts fast. Tensors are in
`images.py`.
"""

import functools
import importlib
import io
import mmap
import warnings
from contextlib import suppress

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from pairsynth.pixel_depth import from_deep, from_deep_colour, is_deep, is_deep_colour

SIZES = (32, 64, 128)
MAX_PIXELS = 64_000_000
ROOM = 8 * MAX_PIXELS  # bytes, to read the largest and to convert it
# What images are read from, whatever a file is called. Pillow reads more, among it PostScript,
# for which it starts another program.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
# Of formats that may need a package beside Pillow; see `formats`.
PLUGIN_ENDINGS = {
    "HEIF": frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"}),
    "AVIF": frozenset({".avif", ".avifs"}),
}
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# What Pillow raises for a damaged file; the last where a decoder written in C ran out of memory.
BROKEN = (OSError, SyntaxError, EOFError, OverflowError, MemoryError, SystemError)
ORIENTATION = 0x0112
MARGIN = 3 / 16


def stored_size(size: int) -> int:
    """Shorter side of a stored photograph for networks of `size` pixels (Reed: 76 for 64)."""
    return round(size * (1 + MARGIN))


def network_size(stored: int) -> int:
    """Side of the crops that the networks see of images stored with side `stored`."""
    return next(size for size in SIZES if stored in (size, stored_size(size)))


@functools.cache
def formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow can read; some need plug-ins or a newer Pillow."""
    Image.init()
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    if "AVIF" not in Image.OPEN:
        with suppress(ImportError):
            importlib.import_module("pillow_avif")
    return tuple(name for name in FORMATS if name in Image.OPEN)


def endings() -> frozenset[str]:
    """File extensions of images, lower case and with the dot.

    HEIC and AVIF are included even where Pillow cannot read them: `decode` then says why.
    """
    known = {
        end for end, kind in Image.registered_extensions().items() if kind in (*formats(), "MPO")
    }
    return frozenset(known.union(*PLUGIN_ENDINGS.values()))


def _unknown(data: bytes) -> str:
    """Why Pillow cannot identify `data`: a missing package, or an unknown format."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in (b"avif", b"avis") and "AVIF" not in formats():
        return "an AVIF image, which this Pillow cannot read; pip install pillow-avif-plugin"
    if brand in HEIC_BRANDS and "HEIF" not in formats():
        return "a HEIC image, which Pillow cannot read by itself; pip install pillow-heif"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "not a readable image: a TIFF that is damaged or of a rare kind; save it as PNG"
    return f"not a readable image: damaged, or none of {', '.join(formats())}"


def decode(data: bytes) -> Image.Image:
    """Decode an image of one of `FORMATS` to upright RGB, transparency over white.

    Raises:
        ValueError: with the reason, for data that is empty, broken, cut short or over
            `MAX_PIXELS` pixels.
        MemoryError: where memory is short, which does not mean that the data is bad.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(io.BytesIO(data), formats=formats())
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
            if is_deep_colour(image):
                image = from_deep_colour(image, TiffImageFile(io.BytesIO(data)))
            image.load()
            if is_deep(image):
                turn = image.getexif().get(ORIENTATION, 1)
                image = from_deep(image)
                image.getexif()[ORIENTATION] = turn
            upright = ImageOps.exif_transpose(image)
            if "A" in upright.getbands() or "transparency" in upright.info:
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            return upright.convert("RGB")
    except Image.DecompressionBombError as error:
        raise ValueError(f"too many pixels, more than {MAX_PIXELS:,}") from error
    except UnidentifiedImageError as error:  # whose own words name a place in memory
        raise ValueError(_unknown(data)) from error
    except BROKEN as error:
        _need_room()
        raise ValueError(f"not a readable image: {str(error) or 'it asks for too much'}") from error


def _need_room() -> None:
    """Raise MemoryError where there is no memory to read an image.

    Pillow's readers report a lack of memory as other errors, such as a broken stream.
    """
    try:
        mmap.mmap(-1, ROOM).close()  # asked for, and not touched
    except OSError as error:
        raise MemoryError(f"no {ROOM:,} bytes left to read an image") from error


def fit(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size`, then crop the middle square: (size, size)."""
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def encode(image: Image.Image) -> bytes:
    """PNG bytes of `image`; the same pixels always give the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()
