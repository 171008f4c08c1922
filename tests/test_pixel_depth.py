"""Deep pixels come out with the brightness that the file, or else the stated rule, gives them."""

import io
from collections.abc import Mapping

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
    values = np.array([[0, white // 2, white]], kind)
    assert shades(tiff(values)) == [0, 127, 255]


@pytest.mark.parametrize(("tag", "value"), [(281, 4095), (341, 4095), (341, 2000)])
def test_the_tags_of_a_tiff_say_what_white_is(tag: int, value: int) -> None:
    values = np.array([[0, 500, 900]], np.uint16)
    wanted = [round(one / value * 255) for one in (0, 500, 900)]
    assert shades(tiff(values, {tag: value})) == wanted


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


def test_deep_pictures_stand_upright() -> None:
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
