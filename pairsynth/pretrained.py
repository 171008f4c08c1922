"""Frozen networks that learned from other images: their features of ours.

They take images as ours do, in [-1, 1].

EfficientNet-Lite0 of the extra `.[imagenet]`, or a torchvision state dict on the user's disk.
"""

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pairsynth.efficientnet import TEACHER, EfficientNet, few_at_once
from pairsynth.errors import InputError
from pairsynth.images import GRID

# What torchvision's were trained on: 224 x 224, ImageNet's mean and deviation of pixels in [0, 1].
SIDE = 224
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


IMAGENET = "imagenet"  # among the names of networks: the one whose weights come with the extra
TAPS = (2, 4, 10)  # blocks after which it is looked at besides the end
TAPS_SIDE = 128


class ImageNetFeatures(nn.Module):
    """EfficientNet-Lite0: its pooled features, and deviations and means of three early maps.

    What ImageNet's classes have in common, colour above all, is left in the early maps alone; their
    means in 4 x 4 places tell a flower's centre from its ground.
    width: F, how many features it has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNet(TEACHER)
        widths = self.network.widths
        self.width = self.network.width + (1 + GRID**2) * sum(widths[i] for i in TAPS)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) in [-1, 1] to features (N, F)."""
        return few_at_once(self._look, images, images.device)

    def _look(self, images: Tensor) -> Tensor:
        size = (TAPS_SIDE, TAPS_SIDE)
        # (N, 3, S, S) -> (N, 3, 128, 128)
        large = F.interpolate(images, size, mode="bicubic", antialias=True).clamp(-1, 1)
        early, last = self.network.seen(large, TAPS)  # (N, C, H, W) each, (N, F')
        deviations = [maps.std((2, 3)) for maps in early]  # (N, C) each
        places = [F.adaptive_avg_pool2d(maps, GRID).flatten(1) for maps in early]  # (N, 16 C)
        return torch.cat([last, *deviations, *places], 1)  # (N, F)


class Pretrained(nn.Module):
    """A classifier up to what comes before its last linear layer; it learns no more.

    width: F, how many features it has.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str) -> None:
        """name: as torchvision names it.

        Raises:
            ValueError: where it has no linear layer.
        """
        import torchvision  # takes a second to import, and most runs have no such weights

        super().__init__()
        self.name = name
        self.network = torchvision.models.get_model(name, weights=None)
        layers = self.network.named_modules()
        linear = [(path, layer) for path, layer in layers if isinstance(layer, nn.Linear)]
        if not linear:
            raise ValueError(f"{name} has no last linear layer to look behind; give a resnet")
        self.head, last = linear[-1]
        self.width = last.in_features
        parent, _, child = self.head.rpartition(".")
        setattr(self.network.get_submodule(parent), child, nn.Identity())
        # of pixels in [-1, 1], 2 p - 1: (3, 1, 1) each
        mean, deviation = (2 * torch.tensor(one)[:, None, None] for one in (MEAN, DEVIATION))
        self.register_buffer("mean", mean - 1, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Pretrained":
        """Its statistics are those of what it was trained on, always."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) in [-1, 1] to features (N, F)."""
        large = F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)
        return self.network((large - self.mean) / self.deviation)  # (N, 3, 224, 224) -> (N, F)


def load_pretrained(weights: Path, key: str) -> Pretrained:
    """The classifier of a torchvision state dict, which `key` of params.yaml names.

    The file's name tells the network, as torchvision names its own: resnet18-f37072fd.pth.

    Raises:
        InputError: where the file is missing or damaged, or its name or content fits no network.
    """
    import torchvision

    name = weights.name.split("-")[0].removesuffix(weights.suffix)
    if not weights.is_file():
        raise InputError(
            f"{key}: there is no file {weights}; give a torchvision state dict named like "
            "resnet18-f37072fd.pth, or leave it empty"
        )
    if name not in torchvision.models.list_models(torchvision.models):
        raise InputError(
            f"{key}: {weights.name} names no torchvision classifier; rename it NETWORK-ANYTHING.pth"
        )
    try:
        found = Pretrained(name)
    except ValueError as error:
        raise InputError(f"{key}: {error}") from error
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        kept = {k: v for k, v in state.items() if not k.startswith(f"{found.head}.")}
        found.network.load_state_dict(kept)
    except (RuntimeError, OSError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise InputError(f"{key}: {weights} is no state dict of {name}: {error}") from error
    return found
