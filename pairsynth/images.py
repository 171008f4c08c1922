"""The one pixel convention, the one way in and out of picture files, the one resize.

Pictures rest as uint8 RGB tensors (N, 3, H, W); networks see float32 in [-1, 1]. Stored pictures
may be larger than the size the networks see: the margin is what random crops are taken from.
"""

import functools
import importlib
import io
import math
import mmap
import warnings
from contextlib import suppress

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

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
    """Side of what the networks see of pictures stored with side `stored`; see `stored_size`."""
    return next(size for size in SIZES if stored in (size, stored_size(size)))


@functools.cache
def formats() -> tuple[str, ...]:
    """Those of `FORMATS` that Pillow knows here: some come with plug-ins, or a younger Pillow."""
    Image.init()
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    if "AVIF" not in Image.OPEN:
        with suppress(ImportError):
            importlib.import_module("pillow_avif")
    return tuple(name for name in FORMATS if name in Image.OPEN)


def endings() -> frozenset[str]:
    """Endings of names, lower case and with the dot, by which a file is taken for an image.

    Those of HEIC and AVIF are among them even where Pillow cannot read them: `decode` says why.
    """
    known = {
        end for end, kind in Image.registered_extensions().items() if kind in (*formats(), "MPO")
    }
    return frozenset(known.union(*PLUGIN_ENDINGS.values()))


def _unknown(data: bytes) -> str:
    """Why Pillow does not know `data`: a package that is missing, or none of its formats."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in (b"avif", b"avis") and "AVIF" not in formats():
        return "an AVIF image, which this Pillow cannot read; pip install pillow-avif-plugin"
    if brand in HEIC_BRANDS and "HEIF" not in formats():
        return "a HEIC image, which Pillow cannot read by itself; pip install pillow-heif"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "not a readable picture: a TIFF that is damaged or of a rare kind; save it as PNG"
    return f"not a readable picture: damaged, or none of {', '.join(formats())}"


def decode(data: bytes) -> Image.Image:
    """Decode an image of one of `FORMATS` to upright RGB; transparency is laid on white.

    Raises:
        ValueError: with the reason, for data that is empty, broken, cut short or over
            `MAX_PIXELS` pixels.
        MemoryError: where there is no room for it, which is not its fault.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture: Image.Image = Image.open(io.BytesIO(data), formats=formats())
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(
                    f"{picture.width} x {picture.height} pixels, more than {MAX_PIXELS:,}"
                )
            if is_deep_colour(picture):
                picture = from_deep_colour(picture, TiffImageFile(io.BytesIO(data)))
            picture.load()
            if is_deep(picture):
                turn = picture.getexif().get(ORIENTATION, 1)
                picture = from_deep(picture)
                picture.getexif()[ORIENTATION] = turn
            upright = ImageOps.exif_transpose(picture)
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
        raise ValueError(
            f"not a readable picture: {str(error) or 'it asks for too much'}"
        ) from error


def _need_room() -> None:
    """Raise MemoryError where there is no room to read an image, whatever Pillow calls that.

    Its readers tell of lacking memory in many words: a codec configuration error, a broken stream.
    """
    try:
        mmap.mmap(-1, ROOM).close()  # asked for, and not touched
    except OSError as error:
        raise MemoryError(f"no {ROOM:,} bytes left to read an image") from error


def fit(picture: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` and cut the middle square out: (size, size)."""
    return ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)


def encode(picture: Image.Image) -> bytes:
    """PNG bytes of `picture`; the same pixels always give the same bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def to_tensor(picture: Image.Image) -> Tensor:
    """An RGB picture as a uint8 tensor (3, H, W)."""
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).contiguous()


def to_picture(pixels: Tensor) -> Image.Image:
    """A uint8 tensor (3, H, W) as an RGB picture."""
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def to_network(pixels: Tensor) -> Tensor:
    """uint8 (N, 3, S, S) in [0, 255] to float32 in [-1, 1], channels last in memory.

    In that order convolutions are up to three times as fast, and what follows keeps it.
    """
    return pixels.to(torch.float32, memory_format=torch.channels_last) / 127.5 - 1


def to_pixels(images: Tensor) -> Tensor:
    """Float [-1, 1] to uint8 [0, 255], rounded and clipped; the inverse of `to_network`."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def center_crop(pixels: Tensor, size: int) -> Tensor:
    """The middle (N, 3, size, size) of `pixels` (N, 3, H, W)."""
    top, left = ((side - size) // 2 for side in pixels.shape[-2:])
    return pixels[..., top : top + size, left : left + size]


def random_crop_flip(pixels: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """One random window (N, 3, size, size) and one coin for a mirror image per picture.

    All pictures are cut in one gather: nothing runs per picture in Python.
    """
    count, channels, height, width = pixels.shape
    draw = torch.rand(3, count, generator=rng, device=rng.device).to(pixels.device)
    top = (draw[0] * (height - size + 1)).long()
    left = (draw[1] * (width - size + 1)).long()
    steps = torch.arange(size, device=pixels.device)
    rows = top[:, None] + steps
    columns = left[:, None] + torch.where(draw[2, :, None] < 0.5, steps, steps.flip(0))
    index = rows[:, :, None] * width + columns[:, None, :]
    flat = pixels.reshape(count, channels, height * width)
    index = index.reshape(count, 1, size * size).expand(-1, channels, -1)
    return flat.gather(2, index).reshape(count, channels, size, size)


def grid(pixels: Tensor, columns: int, scale: int = 1, gap: int = 2) -> Image.Image:
    """uint8 (N, 3, H, W) laid out row by row on white, each pixel `scale` screen pixels wide."""
    count, _, height, width = pixels.shape
    rows = math.ceil(count / columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for i in range(count):
        corner = (i % columns * (width + gap), i // columns * (height + gap))
        sheet.paste(to_picture(pixels[i]), corner)
    return sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST)
