"""Deep pixels come out with the brightness that the file, or else the stated rule, gives them."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from pairsynth import image_files
from pairsynth.image_files import decode, endings


def tiff(values: np.ndarray, tags: Mapping[int, float] | None = None) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in (tags or {}).items():
        info[tag] = value
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF", tiffinfo=info)
    return buffer.getvalue()


def lzw(raw: bytes) -> bytes:
    """In codes of nine bits alone: the table is cleared before it asks for ten."""
    parts = [raw[i : i + 200] for i in range(0, len(raw), 200)]
    bits = "".join(f"{256:09b}" + "".join(f"{byte:09b}" for byte in part) for part in parts)
    bits += f"{257:09b}"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def packbits(raw: bytes) -> bytes:
    parts = [raw[i : i + 128] for i in range(0, len(raw), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


COMPRESSIONS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "none": (1, bytes),
    "deflate": (8, zlib.compress),
    "lzw": (5, lzw),
    "packbits": (32773, packbits),
}


def colour_tiff(
    values: np.ndarray,
    order: str = "<",
    compression: str = "none",
    planes: bool = False,
    changes: Mapping[int, int] | None = None,
) -> bytes:
    """A TIFF of the colours `values` (H, W, C), written byte by byte in strips of three rows."""
    height, width, count = values.shape
    code, pack = COMPRESSIONS[compression]
    data = values.astype(values.dtype.newbyteorder("<" if order == "<" else ">"))
    parts = [data[:, :, i] for i in range(count)] if planes else [data]
    strips = [pack(part[y : y + 3].tobytes()) for part in parts for y in range(0, height, 3)]
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags = {
        **{256: [width], 257: [height], 258: [values.itemsize * 8] * count, 259: [code]},
        **{262: [2], 273: [0] * len(strips), 277: [count], 278: [3]},
        **{279: [len(strip) for strip in strips], 284: [1 + planes], 339: [kind] * count},
        **{tag: [value] for tag, value in (changes or {}).items()},
    }
    for _ in range(2):  # the second time with the places of the strips
        start, table, tail = 8 + 2 + 12 * len(tags) + 4, b"", b""
        for tag, numbers in sorted(tags.items()):
            long = tag in (256, 257, 273, 278, 279)
            cell = struct.pack(order + "HI"[long] * len(numbers), *numbers)
            if len(cell) > 4:
                cell, tail = struct.pack(order + "I", start + len(tail)), tail + cell
            entry = struct.pack(order + "HHI", tag, 3 + long, len(numbers))
            table += entry + cell.ljust(4, b"\0")
        start += len(tail)
        tags[273] = [start + sum(map(len, strips[:i])) for i in range(len(strips))]
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, len(tags))
    return head + table + bytes(4) + tail + b"".join(strips)


def colours(bits: int, count: int = 3) -> np.ndarray:
    values = np.random.default_rng(bits).integers(0, 2**bits, (7, 5, count)).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    return values


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def shades(data: bytes) -> list[int]:
    found = np.asarray(decode(data))
    assert np.array_equal(found[:, :, 0], found[:, :, 2])
    return [int(shade) for shade in found[0, :, 0]]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_integers_of_a_tiff_are_of_the_depth_that_holds_them(bits: int, kind: type) -> None:
    white = 2**bits - 1
    values: np.ndarray = np.array([[0, white // 2, white]], kind)
    assert shades(tiff(values)) == [0, 127, 255]


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint32])
def test_white_of_a_tiff_is_the_largest_of_its_kind(kind: type) -> None:
    white = int(np.iinfo(kind).max)
    values: np.ndarray = np.array([[[0], [white // 2], [white]]], kind)
    assert shades(colour_tiff(values, changes={262: 1})) == [0, 127, 255]


@pytest.mark.parametrize(("tag", "value"), [(281, 4095), (341, 4095), (341, 2000)])
def test_the_tags_of_a_tiff_say_what_white_is(tag: int, value: int) -> None:
    values = np.array([[0, 500, 900]], np.uint16)
    wanted = [round(one / value * 255) for one in (0, 500, 900)]
    assert shades(tiff(values, {tag: value})) == wanted


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_of_a_tiff_are_of_the_depth_that_holds_them(
    bits: int, compression: str, order: str
) -> None:
    values = colours(bits)
    found = np.asarray(decode(colour_tiff(values, order, compression)))
    assert np.array_equal(found, np.rint(values / (2**bits - 1) * 255))


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_in_planes_of_their_own_are_the_same(bits: int, order: str) -> None:
    values = colours(bits)
    found = np.asarray(decode(colour_tiff(values, order, planes=True)))
    assert np.array_equal(found, np.rint(values / (2**bits - 1) * 255))


def test_compressed_planes_are_of_16_bits_or_refused() -> None:
    values = colours(16)
    found = np.asarray(decode(colour_tiff(values, compression="lzw", planes=True)))
    assert np.abs(found - values / 257).max() <= 1
    with pytest.raises(ValueError, match=r"less than 16 bits in compressed planes; save it as"):
        decode(colour_tiff(colours(12), compression="lzw", planes=True))


@pytest.mark.parametrize(("tag", "value"), [(281, 4095), (341, 4095), (341, 2000)])
def test_the_tags_of_a_tiff_say_what_white_is_for_colours_too(tag: int, value: int) -> None:
    values = np.full((1, 1, 3), [0, 500, 900], np.uint16)
    found = np.asarray(decode(colour_tiff(values, changes={tag: value})))
    assert found[0, 0].tolist() == [round(one / value * 255) for one in (0, 500, 900)]


@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("compression", ["none", "deflate"])
@pytest.mark.parametrize("bits", [12, 16])
def test_deep_colours_are_laid_on_white(extra: int, compression: str, bits: int) -> None:
    """extra: 0 is nothing known, 1 opacity that the colours are multiplied by, 2 opacity."""
    white = 2**bits - 1
    values = colours(bits, 4).astype(np.uint64)
    if extra == 1:
        values[..., :3] = values[..., :3] * values[..., 3:] // white
    shares = values / white
    opacity = shares[..., 3:] if extra else np.ones((7, 5, 1))
    laid = shares[..., :3] * (opacity if extra == 2 else 1) + (1 - opacity)
    data = colour_tiff(values.astype(np.uint16), compression=compression, changes={338: extra})
    assert np.abs(np.asarray(decode(data)) - laid * 255).max() <= 2.5


def test_deep_colours_stand_upright() -> None:
    values = np.array([[[0, 0, 0], [4095, 0, 4095]]], np.uint16)
    found = np.asarray(decode(colour_tiff(values, changes={0x0112: 6})))
    assert found[:, 0].tolist() == [[0, 0, 0], [255, 0, 255]]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.uint32, np.int16])
def test_colours_that_nothing_here_reads_are_refused(kind: type) -> None:
    with pytest.raises(ValueError, match=r"a TIFF that is damaged or of a rare kind; save it as"):
        decode(colour_tiff(np.ones((4, 4, 3), kind)))


def colour_png(values: np.ndarray) -> bytes:
    """A PNG of colours of 16 bits (H, W, 3), which Pillow cannot write."""
    height, width, _ = values.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data)
        )  # fmt: skip

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(
        b"IDAT", zlib.compress(rows)
    ) + chunk(b"IEND", b"")  # fmt: skip


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_colours_of_a_png_are_of_16_bits_as_it_says(bits: int) -> None:
    values = colours(bits)
    assert np.abs(np.asarray(decode(colour_png(values))) - values / 257).max() <= 1


def test_png_says_itself_what_white_is() -> None:
    assert shades(png(np.array([[0, 200, 257 * 9, 65535 // 2]], np.uint16))) == [0, 1, 9, 127]


@pytest.mark.parametrize(("white", "half"), [(1023, 512), (65535, 32768), (100, 50)])
@pytest.mark.parametrize("kind", ["P2", "P3"])
def test_netpbm_says_itself_what_white_is(white: int, half: int, kind: str) -> None:
    each = 3 if kind == "P3" else 1
    numbers = " ".join(str(value) for value in (0, half, white) for _ in range(each))
    assert shades(f"{kind}\n3 1\n{white}\n{numbers}\n".encode()) == pytest.approx(
        [0, 128, 255], abs=1
    )


@pytest.mark.parametrize("white", [1, 255])
def test_floats_are_of_one_or_of_255(white: int) -> None:
    values = np.array([[0, 0.25, 1]], np.float32) * white
    assert shades(tiff(values)) == [0, 64, 255]


def test_floats_that_resampling_led_astray_are_clipped() -> None:
    assert shades(tiff(np.array([[-0.02, 0.5, 1.05]], np.float32))) == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([0, np.nan, np.inf], "2 of 3 pixels are NaN or infinite"),
        ([0, 4, 4095], "pixels go from 0 to 4095; black is 0 and white 255"),
        ([-1, 0, 1], "pixels go from -1 to 1; black is 0 and white 1"),
    ],
)
def test_floats_that_tell_no_brightness_are_refused(values: list[float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode(tiff(np.array([values], np.float32)))


def test_deep_images_stand_upright() -> None:
    values = np.array([[0, 65535]], np.uint16)
    found = np.asarray(decode(tiff(values, {0x0112: 6})))
    assert found[:, 0, 0].tolist() == [0, 255]


@pytest.mark.parametrize(
    ("brand", "lacking", "package"),
    [(b"heic", "HEIF", "pillow-heif"), (b"avif", "AVIF", "pillow-avif-plugin")],
)
def test_a_format_that_needs_a_package_names_it(
    brand: bytes, lacking: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tuple(name for name in image_files.formats() if name != lacking)
    monkeypatch.setattr(image_files, "formats", lambda: known)
    with pytest.raises(ValueError, match=f"pip install {package}"):
        decode(b"\0\0\0\x18ftyp" + brand + bytes(40))
    assert f".{brand.decode()}" in endings()
