"""A projected critic (Sauer et al., arXiv 2111.01007): form, by the eyes of a frozen network.

Fixed maps of EfficientNet-Lite0 at three scales, mixed by fixed random convolutions so that no
head can look at a few channels alone, and a narrow head a scale that learns. It stands beside the
project's own discriminator, which keeps the captions, the contrastive term and phi: alone it draws
form and lets go of the text. It serves in training only and is in no checkpoint.

Shapes: N batch, D psi's dimension, S side.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from pairsynth.efficientnet import TEACHER, EfficientNet, need
from pairsynth.gan import ScaledLeakyReLU
from pairsynth.images import GRID

BLOCKS, STRIDES = (2, 4, 10), (4, 8, 16)
LEAST = 64  # pixels of a side; smaller images are enlarged
CHANNELS = 64


def weights() -> dict[str, str]:
    """The digest, by name, of the weights that a critic looks through.

    Raises:
        InputError: where the extra that has them is not installed.
    """
    return need(TEACHER, "train_gan.critic = projected")


class Head(nn.Module):
    """Spectrally normalised strided convolutions down to 4 x 4, where text joins."""

    def __init__(self, side: int, dimension: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        while side > GRID:
            layers += [spectral_norm(nn.Conv2d(CHANNELS, CHANNELS, 4, 2, 1)), ScaledLeakyReLU(0.2)]
            side //= 2
        if not layers:
            layers = [spectral_norm(nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1)), ScaledLeakyReLU(0.2)]
        self.trunk = nn.Sequential(*layers)
        self.join = nn.Sequential(
            spectral_norm(nn.Conv2d(CHANNELS + dimension, CHANNELS, 1)), nn.LeakyReLU(0.2)
        )
        self.out = spectral_norm(nn.Conv2d(CHANNELS, 1, GRID))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, C, H, H) to maps (N, C, 4, 4)."""
        return self.trunk(maps)

    def score(self, maps: Tensor, psi: Tensor) -> Tensor:
        """Maps (N, C, 4, 4) and psi (N, D) to scores (N)."""
        text = psi[:, :, None, None].expand(-1, -1, GRID, GRID).to(maps.dtype)  # (N, D, 4, 4)
        joined = self.join(torch.cat([maps, text], 1))  # (N, C + D, 4, 4) -> (N, C, 4, 4)
        return self.out(joined).flatten()  # (N, 1, 1, 1) -> (N)


class Projection(nn.Module):
    """What the frozen network sees at three scales, mixed across channels and across scales."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNet(TEACHER, BLOCKS[-1] + 1)
        widths = [self.network.widths[i] for i in BLOCKS]
        self.across_channels = nn.ModuleList(nn.Conv2d(width, CHANNELS, 1) for width in widths)
        self.across_scales = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1) for _ in widths)
        for layer in (*self.across_channels, *self.across_scales):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, S, S) in [-1, 1] to maps (N, C, S/4, S/4), (N, C, S/8, S/8), ..."""
        if images.shape[-1] < LEAST:
            images = F.interpolate(images, (LEAST, LEAST), mode="bilinear")
        images = images.contiguous(memory_format=torch.channels_last)
        return self.mix(self.network.maps(images, BLOCKS))

    def mix(self, seen: list[Tensor]) -> list[Tensor]:
        """Maps of the network, the finest first, to mixed ones that know the coarser ones."""
        found: list[Tensor] = []
        for i in reversed(range(len(seen))):
            maps = self.across_channels[i](seen[i])  # (N, its width, H, H) -> (N, C, H, H)
            if found:
                maps = maps + F.interpolate(found[0], size=maps.shape[-2:])  # from H / 2 to H
            found.insert(0, self.across_scales[i](maps))
        return found


class ProjectedCritic(nn.Module):
    """Scores of images with captions, one a scale: narrow heads on the fixed `projection`."""

    def __init__(self, size: int, dimension: int) -> None:
        """For images of `size` and psi of `dimension`.

        Raises:
            InputError: where the extra that has the weights is not installed.
        """
        super().__init__()
        weights()
        self.projection = Projection()
        sides = [max(size, LEAST) // stride for stride in STRIDES]
        self.heads = nn.ModuleList(Head(side, dimension) for side in sides)

    def phi(self, projected: list[Tensor]) -> list[Tensor]:
        """Maps of `projection` to maps (N, C, 4, 4), one a scale."""
        return [head(maps) for head, maps in zip(self.heads, projected, strict=True)]

    def score(self, phi: list[Tensor], psi: Tensor) -> Tensor:
        """Maps (N, C, 4, 4), one a scale, and psi (N, D) to scores (N, 3)."""
        scores = [head.score(maps, psi) for head, maps in zip(self.heads, phi, strict=True)]  # type: ignore[operator]
        return torch.stack(scores, 1)
