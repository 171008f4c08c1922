"""The two mappings between the domains and their cycles: v = f(psi(t)) and t = g(phi(v)).

Shapes: N batch, D psi's dimension, Z noise, C channels of phi, S side of an image.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth.artifacts import file_digest
from pairsynth.captioner import Captioner, load_captioner
from pairsynth.decoding import decode_beam, decode_nucleus
from pairsynth.encoders import JointEncoder, load_encoder
from pairsynth.gan import Gan, load_gan
from pairsynth.images import GRID, to_network, to_pixels
from pairsynth.inference import inference

# A processor has the maps of so few images in its cache: of 64 x 64 one is drawn in 2.4 ms, and of
# 150 at once in 3.8 (one thread of an AMD EPYC, Zen 5).
FEW = 16


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One step of a cycle: the captions (N), the images uint8 (N, 3, S, S), their phi."""

    captions: list[str]
    pixels: Tensor
    phi: Tensor


@dataclass(frozen=True, kw_only=True)
class Mappings:
    """The trained networks together. digests: of their files, by name."""

    encoder: JointEncoder
    gan: Gan
    captioner: Captioner
    device: torch.device
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """The dimension of each space with a mixture: D of psi, 16 C of phi."""
        return {"phi": GRID**2 * self.gan.discriminator.phi_channels, "psi": self.encoder.dimension}

    def draw(self, psi: Tensor, noise: Tensor) -> Tensor:
        """f: psi (N, D) and noise (N, Z) to images, uint8 (N, 3, S, S), on the CPU."""
        parts = max(1, math.ceil(len(psi) / FEW)) if self.device.type == "cpu" else 1
        some = zip(noise.tensor_split(parts), psi.tensor_split(parts), strict=True)
        with inference(self.gan.generator):
            images = [self.gan.generator(z.to(self.device), p.to(self.device)) for z, p in some]
        return torch.cat([to_pixels(one).cpu() for one in images])

    def phi(self, pixels: Tensor) -> Tensor:
        """Images, uint8 (N, 3, S, S), to phi (N, C, 4, 4)."""
        with inference(self.gan.discriminator):
            return self.gan.discriminator.phi(to_network(pixels.to(self.device))).float()

    def describe(self, phi: Tensor) -> list[str]:
        """g by beam search: phi (N, C, 4, 4) to captions (N)."""
        return decode_beam(self.captioner, phi.to(self.device))

    def describe_freely(self, phi: Tensor, draws: Tensor) -> list[str]:
        """g by nucleus sampling: phi (N, C, 4, 4), uniform draws (N, MAX_WORDS) to captions."""
        return decode_nucleus(self.captioner, phi.to(self.device), draws.to(self.device))

    def psi(self, captions: list[str]) -> Tensor:
        """psi (N, D) of captions, on the CPU."""
        return self.encoder.embed_captions(captions)

    def consistency(self, captions: list[str], pixels: Tensor) -> Tensor:
        """Cosine (N) of psi of each caption with the joint vector of its image."""
        return (self.psi(captions) * self.encoder.embed_images(pixels)).sum(1)  # (N, D) -> (N)

    def image_cycle(self, pixels: Tensor, noise: Tensor) -> Iterator[Turn]:
        """v -> g(phi(v)) -> v' = f(psi(g(phi(v)))) -> ..., endless; the same noise in all turns."""
        while True:
            captions = self.describe(self.phi(pixels))
            pixels = self.draw(self.psi(captions), noise)
            yield Turn(captions=captions, pixels=pixels, phi=self.phi(pixels))

    def text_cycle(self, captions: list[str], noise: Tensor) -> Iterator[Turn]:
        """t -> f(psi(t)) -> t' = g(phi(f(psi(t)))) -> ..., endless; the same noise in all turns."""
        while True:
            pixels = self.draw(self.psi(captions), noise)
            phi = self.phi(pixels)
            captions = self.describe(phi)
            yield Turn(captions=captions, pixels=pixels, phi=phi)


def between(left: Tensor, right: Tensor, share: Tensor) -> Tensor:
    """share left + (1 - share) right, (N, D), normalised to unit length as psi is."""
    return F.normalize(share * left + (1 - share) * right, dim=-1)


def load_mappings(
    encoder: Path, gan: Path, captioner: Path, device: torch.device, examples: str = ""
) -> Mappings:
    """The three checkpoints, checked against one another.

    examples: digest of the train images that all three must have learned from; "": any, but the
    same.

    Raises:
        InputError: where one is missing, damaged, or was not made from the other two given.
    """
    wanted = {"pictures": examples} if examples else {}
    psi = load_encoder(encoder, device, **wanted)
    wanted = {"pictures": psi.made_from.get("pictures", "")}
    digests = {"encoder": file_digest(encoder)}
    networks = load_gan(gan, device, encoder=digests["encoder"], **wanted)
    digests["gan"] = file_digest(gan)
    reader = load_captioner(captioner, device, gan=digests["gan"], **wanted)
    digests["captioner"] = file_digest(captioner)
    return Mappings(encoder=psi, gan=networks, captioner=reader, device=device, digests=digests)
