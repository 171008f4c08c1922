"""Text to image: generators, discriminators and their losses, as pairs in `OBJECTIVES`.

The discriminator's trunk is phi, "the last convolutional activation in the discriminator" (Xie and
Bao, 2017); text joins after it, so scoring one image with another caption costs no second pass.

Shapes: N batch, D psi's dimension, Z noise, C H W.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from pairsynth.artifacts import check_source
from pairsynth.checkpoints import load_checkpoint, rebuild, save_checkpoint
from pairsynth.images import GRID, center_crop, to_network
from pairsynth.inference import inference


def _levels(size: int) -> int:
    """How many halvings lead from `size` to the 4 x 4 grid of phi."""
    return (size // GRID).bit_length() - 1


class Reading(nn.Linear):
    """What a discriminator reads off phi for a contrastive term: psi, or noise."""

    def forward(self, phi: Tensor) -> Tensor:
        """phi (N, C, 4, 4) to unit vectors (N, D), or (N, Z)."""
        means = phi.mean((2, 3))  # (N, C, 4, 4) -> (N, C)
        return F.normalize(super().forward(means).float(), dim=1)


class ConditioningAugmentation(nn.Module):
    """What generators have in common: noise enters beside psi, and moves psi."""

    open_directions: Tensor

    def __init__(self, dimension: int, noise: int) -> None:
        super().__init__()
        self.noise = noise
        self.register_buffer("open_directions", torch.zeros(dimension, noise))

    def augment(self, noise: Tensor, psi: Tensor) -> Tensor:
        """psi (N, D), moved by noise (N, Z) where its caption leaves things open.

        psi + A z, with A A' the covariance of captions of one image: what one of them does not
        say is drawn as another might have said it. As in StackGAN (arXiv 1612.03242), but that the
        covariance is measured instead of learned.
        """
        strayed = noise @ self.open_directions.T.to(noise.dtype)  # (N, Z) (Z, D) -> (N, D)
        return F.normalize(psi + strayed, dim=1)


# ---------------------------------------------------------------- Reed's DCGAN (gan-cls)


class Unfold(nn.ConvTranspose2d):
    """From one place to 4 x 4; computed as the matrix product that it is, which is faster."""

    def forward(self, seed: Tensor) -> Tensor:  # type: ignore[override]
        """Seeds (N, Z, 1, 1) to (N, C, 4, 4)."""
        grid = seed.flatten(1) @ self.weight.flatten(1)  # (N, Z) (Z, 16 C) -> (N, 16 C)
        grid = grid.unflatten(1, (self.out_channels, GRID, GRID))  # (N, C, 4, 4)
        return grid.contiguous(memory_format=torch.channels_last)


class DCGenerator(ConditioningAugmentation):
    """Transposed convolutions and batch norm from 4 x 4 up (Reed et al., arXiv 1605.05396)."""

    def __init__(self, size: int, dimension: int, noise: int, channels: int) -> None:
        super().__init__(dimension, noise)
        self.project = nn.Sequential(nn.Linear(dimension, 128), nn.LeakyReLU(0.2))
        width = channels * 2 ** (_levels(size) - 1)
        layers: list[nn.Module] = [Unfold(noise + 128, width, GRID, bias=False)]
        while width > channels:
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False)]
            width //= 2
        layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.ConvTranspose2d(width, 3, 4, 2, 1)]
        self.layers = nn.Sequential(*layers)
        self.apply(_dcgan_weights)

    def forward(self, noise: Tensor, psi: Tensor) -> Tensor:
        """Noise (N, Z) and psi (N, D) to images (N, 3, S, S) in [-1, 1]."""
        text = self.project(self.augment(noise, psi))  # (N, D) -> (N, 128)
        seed = torch.cat([noise, text], 1)[:, :, None, None]  # (N, Z + 128, 1, 1)
        return torch.tanh(self.layers(seed))


class DCDiscriminator(nn.Module):
    """Strided convolutions and batch norm down to 4 x 4, where text joins."""

    def __init__(self, size: int, dimension: int, noise: int, channels: int) -> None:
        super().__init__()
        width = channels
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for _ in range(_levels(size) - 1):
            layers += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False)]
            layers += [nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2)]
            width *= 2
        self.trunk = nn.Sequential(*layers)
        self.phi_channels = width
        self.project = nn.Sequential(nn.Linear(dimension, 128), nn.LeakyReLU(0.2))
        self.join = nn.Sequential(
            nn.Conv2d(width + 128, width, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)
        )
        self.out = nn.Conv2d(width, 1, GRID)
        self.joint = Reading(width, dimension)
        self.noise = Reading(width, noise)
        self.apply(_dcgan_weights)

    def phi(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) to phi(v) (N, C, 4, 4)."""
        return self.trunk(images)

    def score(self, phi: Tensor, psi: Tensor) -> Tensor:
        """phi (N, C, 4, 4) and psi (N, D) to logits (N)."""
        text = self.project(psi)[:, :, None, None].expand(-1, -1, GRID, GRID)  # (N, 128, 4, 4)
        joined = self.join(torch.cat([phi, text], 1))  # (N, C + 128, 4, 4) -> (N, C, 4, 4)
        return self.out(joined).flatten()  # (N, 1, 1, 1) -> (N)


def _dcgan_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)


# ---------------------------------------------------------------- the default


class Enlarge(nn.Conv2d):
    """Each pixel repeated in 2 x 2, then a 3 x 3 convolution, as the one transposed that they are.

    Weights that fall on one repeated pixel are added first, which leaves 4 products of 9 (Karras et
    al., arXiv 1710.10196): forward and gradient together take three fifths of the time.
    """

    added: Tensor

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer, 3, bias=False)
        # Along one side: which of the 3 weights each of the 4 of the transposed kernel adds up.
        side = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
        self.register_buffer("added", torch.kron(side, side).T.contiguous(), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, I, H, W) to (N, O, 2 H, 2 W)."""
        weights = self.weight.transpose(0, 1).flatten(2)  # (O, I, 3, 3) -> (I, O, 9)
        kernel = (weights @ self.added).unflatten(2, (4, 4))  # (I, O, 9) (9, 16) -> (I, O, 4, 4)
        return F.conv_transpose2d(maps, kernel, stride=2, padding=1)


class Generator(ConditioningAugmentation):
    """Noise and psi to a grid of 4 x 4; then each pixel is repeated and a convolution smooths it.

    Transposed convolutions leave a chequered image (Odena et al., distill.pub, 2016), smooth
    upsampling leaves rings.
    """

    def __init__(self, size: int, dimension: int, noise: int, channels: int) -> None:
        super().__init__(dimension, noise)
        widths = [channels * min(8, 2**i) for i in reversed(range(_levels(size)))]
        self.seed = nn.Linear(noise + dimension, widths[0] * GRID * GRID)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for inner, outer in itertools.pairwise([*widths, channels]):
            layers += [Enlarge(inner, outer), nn.BatchNorm2d(outer), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 3, 3, 1, 1))

    def forward(self, noise: Tensor, psi: Tensor) -> Tensor:
        """Noise (N, Z) and psi (N, D) to images (N, 3, S, S) in [-1, 1]."""
        psi = self.augment(noise, psi) * psi.shape[1] ** 0.5  # numbers as large as those of noise
        seed = self.seed(torch.cat([noise, psi], 1))  # (N, Z + D) -> (N, 16 C)
        grid = seed.unflatten(1, (-1, GRID, GRID)).contiguous(memory_format=torch.channels_last)
        return torch.tanh(self.layers(grid))  # (N, C, 4, 4) -> (N, 3, S, S)


class ScaledLeakyReLU(nn.LeakyReLU):
    """Leaky, and made up for what it takes (He et al., arXiv 1502.01852).

    Spectral norm lets no convolution do so: what tells real from fake would fade layer by layer.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Features of any shape."""
        return super().forward(features) * 2**0.5


class Discriminator(nn.Module):
    """Spectrally normalised strided convolutions (arXiv 1802.05957); text joins at 4 x 4."""

    def __init__(self, size: int, dimension: int, noise: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for i in range(_levels(size)):
            wider = channels * min(8, 2**i)
            layers += [spectral_norm(nn.Conv2d(width, wider, 4, 2, 1)), ScaledLeakyReLU(0.2)]
            width = wider
        self.trunk = nn.Sequential(*layers)
        self.phi_channels = width
        self.join = nn.Sequential(
            spectral_norm(nn.Conv2d(width + dimension, width, 1)), nn.LeakyReLU(0.2)
        )
        self.out = spectral_norm(nn.Conv2d(width, 1, GRID))
        self.joint = Reading(width, dimension)
        self.noise = Reading(width, noise)

    def phi(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) to phi(v) (N, C, 4, 4)."""
        return self.trunk(images.contiguous(memory_format=torch.channels_last))

    def score(self, phi: Tensor, psi: Tensor) -> Tensor:
        """phi (N, C, 4, 4) and psi (N, D) to logits (N)."""
        text = psi[:, :, None, None].expand(-1, -1, GRID, GRID).to(phi.dtype)  # (N, D, 4, 4)
        joined = self.join(torch.cat([phi, text], 1))  # (N, C + D, 4, 4) -> (N, C, 4, 4)
        return self.out(joined).flatten()  # (N, 1, 1, 1) -> (N)


# ---------------------------------------------------------------- losses


def gan_cls_discriminator_loss(real: Tensor, wrong: Tensor, fake: Tensor) -> Tensor:
    """-log D(v, t) - [log(1 - D(v, t_wrong)) + log(1 - D(v_fake, t))] / 2, from logits (N)."""
    return F.softplus(-real).mean() + (F.softplus(wrong).mean() + F.softplus(fake).mean()) / 2


def gan_cls_generator_loss(fake: Tensor) -> Tensor:
    """-log D(v_fake, t), from logits (N)."""
    return F.softplus(-fake).mean()


def hinge_discriminator_loss(real: Tensor, wrong: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - real) + [max(0, 1 + wrong) + max(0, 1 + fake)] / 2 (arXiv 1705.02894)."""
    return F.relu(1 - real).mean() + (F.relu(1 + wrong).mean() + F.relu(1 + fake).mean()) / 2


def hinge_generator_loss(fake: Tensor) -> Tensor:
    """-fake, from scores (N)."""
    return -fake.mean()


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The networks and losses that belong together."""

    generator: Callable[[int, int, int, int], nn.Module]
    discriminator: Callable[[int, int, int, int], nn.Module]
    discriminator_loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    generator_loss: Callable[[Tensor], Tensor]


OBJECTIVES: Mapping[str, Objective] = {
    "gan-cls": Objective(
        generator=DCGenerator,
        discriminator=DCDiscriminator,
        discriminator_loss=gan_cls_discriminator_loss,
        generator_loss=gan_cls_generator_loss,
    ),
    "hinge": Objective(
        generator=Generator,
        discriminator=Discriminator,
        discriminator_loss=hinge_discriminator_loss,
        generator_loss=hinge_generator_loss,
    ),
}


# ---------------------------------------------------------------- the checkpoint


@dataclass(frozen=True)
class Gan:
    """A generator and a discriminator that were trained together, and what rebuilds them."""

    generator: Any
    discriminator: Any
    options: dict[str, Any]

    @classmethod
    def build(
        cls,
        objective: str,
        *,
        size: int,
        dimension: int,
        noise: int,
        generator_channels: int,
        discriminator_channels: int,
        made_from: Mapping[str, str] | None = None,
    ) -> "Gan":
        """Untrained networks of `objective` for images of `size` and psi of `dimension`.

        made_from: digests, by name, of what these networks learn from.
        """
        options = {
            "objective": objective,
            "size": size,
            "dimension": dimension,
            "noise": noise,
            "generator_channels": generator_channels,
            "discriminator_channels": discriminator_channels,
            "made_from": dict(made_from or {}),
        }
        kind = OBJECTIVES[objective]
        return cls(
            kind.generator(size, dimension, noise, generator_channels),
            kind.discriminator(size, dimension, noise, discriminator_channels),
            options,
        )

    @property
    def objective(self) -> Objective:
        """Losses and networks."""
        return OBJECTIVES[self.options["objective"]]

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.options["size"])

    @property
    def noise(self) -> int:
        """Z, how many normal numbers the generator takes besides psi."""
        return int(self.options["noise"])

    def to(self, device: torch.device) -> "Gan":
        """The same networks on `device`."""
        for network in (self.generator, self.discriminator):
            network.to(device, memory_format=torch.channels_last)
        return self

    def eval(self) -> "Gan":
        """The same networks, ready for inference: a row never depends on its batch."""
        self.generator.eval().requires_grad_(False)
        self.discriminator.eval().requires_grad_(False)
        return self

    def save(self, path: Path) -> None:
        """Write a checkpoint that `load_gan` rebuilds."""
        state = {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
        }
        save_checkpoint(path, "gan", self.options, state)


def load_gan(path: Path, device: torch.device, **wanted: str) -> Gan:
    """The networks in the checkpoint at `path`, ready for inference.

    wanted: digests, by name, of what it must have learned from.

    Raises:
        InputError: where it is missing, damaged or made from something else.
    """
    options, state = load_checkpoint(path, "gan")
    check_source(path, options.get("made_from", {}), **wanted)
    gan = rebuild(path, options, state, Gan.build, _networks)
    return gan.to(device).eval()


def _networks(gan: Gan) -> dict[str, nn.Module]:
    return {"generator": gan.generator, "discriminator": gan.discriminator}


def phi_of(gan: Gan, pixels: Tensor, device: torch.device, batch: int = 256) -> Tensor:
    """phi (N, C, 4, 4), float32 on the CPU, of the middle of uint8 images (N, 3, S, S)."""
    with inference(gan.discriminator):
        parts = [
            gan.discriminator.phi(to_network(center_crop(part, gan.size).to(device))).float().cpu()
            for part in pixels.split(batch)
        ]
    return torch.cat(parts)
