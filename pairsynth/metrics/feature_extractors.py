"""Feature extractors to compare images by; several, since each misses something.

Trained features notice missing classes, pixels notice noise, a random network is in between;
pretrained weights notice more, where available. A view is a function from uint8 images
(N, 3, S, S) to features (N, F), standardised so that each feature has mean 0 and deviation 1 on the
real images it was fitted on, or is constantly 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional as F

from pairsynth.devices import autocast
from pairsynth.efficientnet import JUDGE, EfficientNet, few_at_once
from pairsynth.images import to_network
from pairsynth.pretrained import load_pretrained

COMPONENTS = 64
SIDE = 32
IMAGENET_SIDE = 128
CONSTANT = 1e-4

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class View:
    """Features, standardised on real images."""

    features: Features
    mean: Tensor
    deviation: Tensor

    def __call__(self, pixels: Tensor, batch: int = 256) -> Tensor:
        """uint8 images (N, 3, S, S) to features (N, F), float32 on the CPU."""
        parts = [self.features(part).cpu() for part in pixels.split(batch)]
        return (torch.cat(parts) - self.mean) / self.deviation  # (N, F) - (F)


def fitted(features: Features, real: Tensor) -> View:
    """A view whose features are standardised on `real` images; constant features become 0.

    A feature that differs by rounding only would be scaled up to noise.
    """
    raw = View(features=features, mean=torch.zeros(1), deviation=torch.ones(1))(real)
    deviation = raw.std(0)
    same = deviation < CONSTANT * deviation.max()
    return View(
        features=features, mean=raw.mean(0), deviation=deviation.masked_fill(same, math.inf)
    )


def pixel_features(real: Tensor) -> Features:
    """Principal components of the pixels of `real` at 32 x 32: colours and their places."""
    small = _small(real)
    pca = PCA(min(COMPONENTS, *small.shape), svd_solver="randomized", random_state=0)
    pca.fit(small.numpy())
    mean, axes = (torch.from_numpy(a).float() for a in (pca.mean_, pca.components_))
    return lambda pixels: (_small(pixels) - mean) @ axes.T


def _small(pixels: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(pixels.float() / 255, min(SIDE, pixels.shape[-1])).flatten(1)


def random_features(seed: int = 0) -> Features:
    """An untrained convolutional network: edges and texture."""
    rng = torch.Generator().manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(64, 64, 4, 2, 1), nn.ReLU(),
    )  # fmt: skip
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            nn.init.orthogonal_(layer.weight, gain=2**0.5, generator=rng)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def features(pixels: Tensor) -> Tensor:
        maps = network(to_network(pixels))
        return torch.cat([maps.mean((2, 3)), maps.std((2, 3))], 1)

    return features


def pretrained_features(weights: Path) -> Features:
    """Features before the last layer of a torchvision classifier, from a state dict on disk.

    Raises:
        InputError: as `load_pretrained` does.
    """
    network = load_pretrained(weights, "evaluate.judge_weights")
    return lambda pixels: torch.cat([network(to_network(part)) for part in pixels.split(32)])


def imagenet_features(device: torch.device) -> Features:
    """EfficientNet-Lite2 on images enlarged to 128 pixels: shape as well as texture.

    It is used for evaluation only; the critic of train_gan is a smaller network of its family.
    """
    network = EfficientNet(JUDGE).to(device)

    @torch.no_grad()
    def look(pixels: Tensor) -> Tensor:
        side = (IMAGENET_SIDE, IMAGENET_SIDE)
        images = F.interpolate(to_network(pixels.to(device)), side, mode="bilinear")
        with autocast(device):
            return network.pooled(images).float().cpu()

    return lambda pixels: few_at_once(look, pixels, device)
