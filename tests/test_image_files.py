"""The one way in and out of image files, the one resize."""

import io
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, features

from pairsynth import image_files
from pairsynth.image_files import SIZES, decode, encode, fit, network_size, stored_size

NOISE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


def file(image: Image.Image, kind: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **how)
    return buffer.getvalue()


def noise() -> Image.Image:
    return Image.fromarray(NOISE)


def pixel(data: bytes, x: int = 0, y: int = 0) -> tuple[int, ...]:
    found = decode(data).getpixel((x, y))
    assert isinstance(found, tuple)
    return found


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_files_come_back_pixel_by_pixel(kind: str) -> None:
    assert np.array_equal(np.asarray(decode(file(noise(), kind))), NOISE)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_lossy_files_come_back_nearly(kind: str) -> None:
    if kind == "WEBP" and not features.check("webp"):
        pytest.skip("this Pillow has no WebP")
    flat = Image.new("RGB", (20, 10), (200, 50, 60))
    assert pixel(file(flat, kind), 5, 5) == pytest.approx((200, 50, 60), abs=4)


def test_cmyk_grey_and_bits_become_rgb() -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    assert pixel(file(red.convert("CMYK"), "JPEG")) == pytest.approx((255, 0, 0), abs=6)
    assert pixel(file(Image.new("L", (8, 8), 77), "PNG")) == (77, 77, 77)
    assert pixel(file(Image.new("1", (8, 8), 1), "PNG")) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    found = np.asarray(decode(file(Image.fromarray(ramp), "PNG")))
    assert np.array_equal(found[:, :, 0], np.arange(256).reshape(16, 16))
    assert np.array_equal(found[:, :, 0], found[:, :, 2])


def test_floats_are_read() -> None:
    shades = np.linspace(0, 255, 64, dtype=np.float32).reshape(8, 8)
    found = np.asarray(decode(file(Image.fromarray(shades), "TIFF")))[:, :, 0]
    assert np.abs(found - shades).max() <= 1


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert pixel(file(clear, "PNG")) == (255, 255, 255)
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert pixel(file(half, "PNG")) == pytest.approx((255, 127, 127), abs=1)
    assert pixel(file(Image.new("LA", (4, 4), (0, 0)), "PNG")) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparent_palettes_lie_on_white(kind: str) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 2)
    data = file(image, kind, transparency=1)
    assert pixel(data, 3, 3) == (255, 255, 255)
    assert pixel(data, 0, 0) == (200, 100, 50)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stand_upright(orientation: int) -> None:
    turned = Image.new("RGB", (30, 20), "white")
    turned.paste((255, 0, 0), (0, 0, 10, 10))  # a red corner, top left as it is stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(file(turned, "PNG", exif=exif))
    assert found.size == ((30, 20) if orientation < 5 else (20, 30))
    right = found.width - 1 if orientation in (2, 3, 6, 7) else 0
    low = found.height - 1 if orientation in (3, 4, 7, 8) else 0
    corners = {(x, y) for x in (0, found.width - 1) for y in (0, found.height - 1)}
    assert {c for c in corners if found.getpixel(c) == (255, 0, 0)} == {(right, low)}


def test_the_first_image_of_an_animation_is_read() -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "lime", "blue")]
    data = file(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixel(data) == (255, 0, 0)


def test_one_pixel_is_an_image() -> None:
    one = decode(file(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"))
    assert (one.size, one.mode) == ((1, 1), "RGB")
    assert fit(one, 32).getpixel((31, 31)) == (1, 2, 3)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "not a readable image"),
        (b"\xff\xd8\xff\xe0", "not a readable image"),
        (b"\x89PNG\r\n\x1a\n", "not a readable image"),
        (bytes(1000), "not a readable image"),
    ],
)
def test_what_is_no_image_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as told:
        decode(data)
    assert "0x" not in str(told.value), "a place in memory differs from run to run"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_images_cut_short_are_refused(kind: str, share: float) -> None:
    data = file(noise(), kind)
    with pytest.raises(ValueError, match="not a readable image"):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("side", [8001, 14_000])
def test_bombs_are_refused_unopened(side: int) -> None:
    """64 million pixels are the limit; Pillow warns from 89 million, and refuses from 179."""
    data = file(Image.new("1", (side, side)), "PNG")
    assert len(data) < 200_000
    with pytest.raises(ValueError, match=r"pixels, more than 64,000,000"):
        decode(data)


def test_the_limit_itself_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MAX_PIXELS", 100)
    assert decode(file(Image.new("RGB", (10, 10)), "PNG")).size == (10, 10)
    with pytest.raises(ValueError, match="11 x 10 pixels, more than 100"):
        decode(file(Image.new("RGB", (11, 10)), "PNG"))


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    return file(noise(), "JPEG", exif=exif)


SAMPLES: dict[str, Callable[[], bytes]] = {
    "png": lambda: file(noise(), "PNG"),
    "jpeg": with_exif,
    "gif": lambda: file(noise().quantize(16), "GIF", transparency=1),
    "tiff": lambda: file(noise(), "TIFF", compression="tiff_lzw"),
    "bmp": lambda: file(noise(), "BMP"),
    "palette": lambda: file(noise().quantize(16), "PNG", transparency=bytes(range(16))),
    "deep": lambda: file(Image.fromarray(NOISE[:, :, 0].astype(np.uint16) * 257), "PNG"),
    "float": lambda: file(Image.fromarray(NOISE[:, :, 0].astype(np.float32)), "TIFF"),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_damaged_files_are_images_or_reasons(kind: str) -> None:
    """Whatever the damage: an RGB image or a ValueError, nothing else."""
    data = SAMPLES[kind]()
    rng = np.random.default_rng(3)
    for _ in range(120):
        damaged = bytearray(data)
        for place in rng.integers(0, min(len(data), 400), rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        try:
            found = decode(bytes(damaged))
        except ValueError as error:
            assert str(error)  # noqa: PT017
        else:
            assert found.mode == "RGB"


def test_no_warning_reaches_the_user() -> None:
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0" + b"\xff\xff" + bytes(20)
    data = file(noise(), "JPEG", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(data).mode == "RGB"


# ---------------------------------------------------------------- sizes


def test_sizes_go_forth_and_back() -> None:
    assert [stored_size(size) for size in SIZES] == [38, 76, 152]
    for size in SIZES:
        assert network_size(size) == network_size(stored_size(size)) == size


@pytest.mark.parametrize("sides", [(100, 50), (50, 100), (64, 64), (40, 300), (20, 10)])
def test_fit_takes_the_middle_square(sides: tuple[int, int]) -> None:
    image = Image.new("RGB", sides, "red")
    side = min(sides)
    left, top = (sides[0] - side) // 2, (sides[1] - side) // 2
    image.paste((0, 0, 255), (left, top, left + side, top + side))
    found = np.asarray(fit(image, 32)).astype(int)
    assert found.shape == (32, 32, 3)
    inner = found[2:-2, 2:-2]
    assert np.abs(inner - [0, 0, 255]).max() <= 8


def test_png_bytes_are_the_same_for_the_same_pixels() -> None:
    assert encode(noise()) == encode(noise())
    assert np.array_equal(np.asarray(decode(encode(noise()))), NOISE)


@pytest.mark.parametrize("kind", ["EPS", "PCX", "TGA", "ICO", "SGI"])
def test_formats_that_are_not_stated_are_not_decoded(kind: str) -> None:
    data = file(Image.new("RGB", (16, 16)), kind)
    with pytest.raises(ValueError, match=r"damaged, or none of JPEG, PNG, WEBP"):
        decode(data)


def test_postscript_starts_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file(Image.new("RGB", (16, 16)), "EPS")
    started: list[object] = []
    monkeypatch.setattr("subprocess.Popen", lambda *how, **_: started.append(how))
    with pytest.raises(ValueError, match="not a readable image"):
        decode(data)
    assert started == []


@pytest.mark.parametrize("kind", sorted({*image_files.formats()} - {"HEIF"}))
def test_every_stated_format_is_read(kind: str) -> None:
    assert decode(file(Image.new("RGB", (16, 16), "red"), kind)).size == (16, 16)


@pytest.mark.parametrize(
    "said",
    [
        MemoryError(),
        OSError("codec configuration error when reading image file"),
        OSError("broken data stream when reading image file"),
    ],
)
def test_lacking_memory_is_no_fault_of_the_image(
    said: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Pillow says then is taken for the image's fault only where there is memory."""

    def fails(image: Image.Image) -> None:
        raise said

    data = file(Image.fromarray(NOISE), "PNG")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fails)
    with pytest.raises(ValueError, match=r"not a readable image: .*(too much|reading)"):
        decode(data)
    monkeypatch.setattr(image_files, "ROOM", 2**62)
    with pytest.raises(MemoryError, match="bytes left to read an image"):
        decode(data)


needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells it")


@needs_proc
def test_an_image_is_read_or_memory_is_named_whatever_room_there_is(tmp_path: Path) -> None:
    """Never refused, which would leave it out of a data set in silence."""
    program = """
import resource, sys
from pathlib import Path
from pairsynth.image_files import decode
told = {path.name: path.read_bytes() for path in Path(sys.argv[1]).iterdir()}
for data in told.values():
    decode(data)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
for room in range(0, 40_000_000, 8_000_000):
    resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
    for name, data in told.items():
        try:
            decode(data)
        except MemoryError:
            print(name)
"""
    kinds = ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "PPM"]
    pixels = np.random.default_rng(1).integers(0, 256, (800, 1000, 3), dtype=np.uint8)
    for kind in kinds:
        how = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
        (tmp_path / kind).write_bytes(file(Image.fromarray(pixels), kind, **how))
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},  # what is freed is given back
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1000:]
    assert set(done.stdout.split()) == set(kinds)
