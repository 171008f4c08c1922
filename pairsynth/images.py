"""Tensors of images: the pixel convention, crops, sheets.

Images are stored as uint8 RGB tensors (N, 3, H, W); networks see float32 in [-1, 1]. Stored images
may be larger than the networks' input: random crops use the margin.
"""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

GRID = 4  # side of the last maps of our own networks: phi has 4 x 4 places


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image as a uint8 tensor (3, H, W)."""
    pixels = torch.from_numpy(np.array(image.convert("RGB")))  # (H, W, 3)
    return pixels.permute(2, 0, 1).contiguous()


def to_image(pixels: Tensor) -> Image.Image:
    """A uint8 tensor (3, H, W) as an RGB image."""
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())  # (3, H, W) -> (H, W, 3)


def to_network(pixels: Tensor) -> Tensor:
    """uint8 (N, 3, S, S) in [0, 255] to float32 in [-1, 1], channels last in memory.

    Convolutions are up to three times as fast in that layout, and later layers keep it.
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
    """A random crop (N, 3, size, size) per image, mirrored with probability 1/2.

    One gather cuts all images, so that nothing runs per image in Python.
    """
    count, channels, height, width = pixels.shape
    draw = torch.rand(3, count, generator=rng, device=rng.device).to(pixels.device)  # (3, N)
    top = (draw[0] * (height - size + 1)).long()
    left = (draw[1] * (width - size + 1)).long()  # (N)
    steps = torch.arange(size, device=pixels.device)
    rows = top[:, None] + steps  # (N, size)
    columns = left[:, None] + torch.where(draw[2, :, None] < 0.5, steps, steps.flip(0))  # (N, size)
    index = rows[:, :, None] * width + columns[:, None, :]  # (N, size, size), into (H W)
    flat = pixels.reshape(count, channels, height * width)  # (N, 3, H W)
    index = index.reshape(count, 1, size * size).expand(-1, channels, -1)  # (N, 3, size size)
    return flat.gather(2, index).reshape(count, channels, size, size)


def grid(pixels: Tensor, columns: int, scale: int = 1, gap: int = 2) -> Image.Image:
    """uint8 (N, 3, H, W) laid out row by row on white, each pixel `scale` screen pixels wide."""
    count, _, height, width = pixels.shape
    rows = math.ceil(count / columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for i in range(count):
        corner = (i % columns * (width + gap), i // columns * (height + gap))
        sheet.paste(to_image(pixels[i]), corner)
    return sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST)
