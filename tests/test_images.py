"""The one pixel convention."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pairsynth.images import (
    center_crop,
    grid,
    random_crop_flip,
    to_image,
    to_network,
    to_pixels,
    to_tensor,
)

NOISE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


def noise() -> Image.Image:
    return Image.fromarray(NOISE)


def test_tensors_and_images_are_inverse() -> None:
    pixels = to_tensor(noise())
    assert pixels.shape == (3, 40, 30)
    assert pixels.dtype == torch.uint8
    assert pixels.is_contiguous()
    assert int(pixels[1, 5, 7]) == NOISE[5, 7, 1]
    assert np.array_equal(np.asarray(to_image(pixels)), NOISE)
    assert to_tensor(Image.new("L", (4, 4), 9)).shape == (3, 4, 4)


def test_to_pixels_is_the_inverse_of_to_network() -> None:
    shades = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    seen = to_network(shades)
    assert seen.dtype == torch.float32
    assert (float(seen.min()), float(seen.max())) == (-1, 1)
    assert torch.equal(to_pixels(seen), shades)
    assert to_pixels(torch.tensor([-9.0, 9.0, 0.0])).tolist() == [0, 255, 128]
    near = to_pixels(seen.bfloat16()).int() - shades.int()
    assert int(near.abs().max()) <= 1


def test_center_crop_by_hand() -> None:
    pixels = torch.arange(49).reshape(1, 1, 7, 7).expand(2, 3, 7, 7)
    assert center_crop(pixels, 3)[1, 2].tolist() == [[16, 17, 18], [23, 24, 25], [30, 31, 32]]
    assert torch.equal(center_crop(pixels, 7), pixels)
    assert center_crop(torch.zeros(1, 3, 38, 38), 32).shape == (1, 3, 32, 32)


@given(
    height=st.integers(3, 9),
    width=st.integers(3, 9),
    size=st.integers(1, 3),
    count=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
def test_random_windows_are_windows(
    height: int, width: int, size: int, count: int, seed: int
) -> None:
    shape = (count, 3, height, width)
    pixels = torch.arange(count * 3 * height * width, dtype=torch.int32).reshape(shape)
    cut = random_crop_flip(pixels, size, torch.Generator().manual_seed(seed))
    assert cut.shape == (count, 3, size, size)
    for i in range(count):
        upright = int(cut[i, 0, 0, 0]) < int(cut[i, 0, 0, -1]) or size == 1
        window = cut[i] if upright else cut[i].flip(2)
        place = int(window[0, 0, 0]) - i * 3 * height * width
        top, left = divmod(place, width)
        assert torch.equal(window, pixels[i, :, top : top + size, left : left + size])


def test_every_window_and_both_sides_are_drawn() -> None:
    pixels = torch.arange(16).reshape(1, 1, 4, 4).repeat(600, 1, 1, 1)
    cut = random_crop_flip(pixels, 2, torch.Generator().manual_seed(0))
    kinds = {tuple(window.flatten().tolist()) for window in cut}
    assert len(kinds) == 9 * 2
    mirrored = (cut[:, 0, 0, 0] > cut[:, 0, 0, 1]).float().mean()
    assert 0.4 < float(mirrored) < 0.6
    whole = random_crop_flip(pixels, 4, torch.Generator().manual_seed(0))
    assert {tuple(w[0, 0].tolist()) for w in whole} == {(0, 1, 2, 3), (3, 2, 1, 0)}


@pytest.mark.parametrize("count", [1, 5, 6])
def test_a_grid_lays_images_out_row_by_row(count: int) -> None:
    pixels = torch.randint(200, (count, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    sheet = np.asarray(grid(pixels.to(torch.uint8), 3, scale=2, gap=1))
    rows = -(-count // 3)
    assert sheet.shape == ((rows * 5 - 1) * 2, (3 * 5 - 1) * 2, 3)
    for i in range(count):
        y, x = i // 3 * 10, i % 3 * 10
        own = sheet[y : y + 8 : 2, x : x + 8 : 2]
        assert np.array_equal(own, pixels[i].permute(1, 2, 0).numpy())
    if count == 5:
        assert bool((sheet[10:, 20:] == 255).all())
