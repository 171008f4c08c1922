"""Blends, cycles and mixture components for a user's own sentences and images.

Shapes: N images, D psi's dimension, Z noise, C channels of phi, S side of an image.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pairsynth import seeds
from pairsynth.captioner import MAX_WORDS
from pairsynth.images import GRID
from pairsynth.mappings import Mappings, Turn, between
from pairsynth.mixture import Mixture

BATCH = 64

Blend = tuple[list[str], Tensor]
Around = tuple[list[Turn], Tensor]


def noise_rows(mappings: Mappings, count: int, seed: int) -> Tensor:
    """Noise (N, Z); row i is the same whatever the count."""
    return _floats(seeds.stream(seed, "noise").standard_normal((count, mappings.gan.noise)))


def draw(mappings: Mappings, psi: Tensor, noise: Tensor) -> Tensor:
    """f, batch by batch: psi (N, D) and noise (N, Z) to images, uint8 (N, 3, S, S)."""
    parts = zip(psi.split(BATCH), noise.split(BATCH), strict=True)
    return torch.cat([mappings.draw(*part) for part in parts])


def describe_freely(
    mappings: Mappings, phi: Tensor, keys: Sequence[str], count: int, seed: int
) -> list[list[str]]:
    """`count` captions of each phi (N, C, 4, 4) by nucleus sampling.

    keys: one string per phi; its random numbers depend on the seed and its key only.
    """
    if not count:
        return [[] for _ in keys]
    shape = (count, MAX_WORDS)
    draws = np.concatenate([seeds.stream(seed, "caption", key).random(shape) for key in keys])
    free = mappings.describe_freely(phi.repeat_interleave(count, 0), _floats(draws))
    return [free[i : i + count] for i in range(0, len(free), count)]


def blend_images(mappings: Mappings, ends: list[Tensor], shares: Tensor, noise: Tensor) -> Blend:
    """Captions of share phi(left) + (1 - share) phi(right), and images drawn from these captions.

    ends: two of uint8 (1, 3, S, S). shares: (N, 1). noise: (1, Z).
    """
    left, right = (mappings.phi(end) for end in ends)
    weights = shares[:, :, None, None].to(left.device)
    captions = mappings.describe(weights * left + (1 - weights) * right)
    return captions, draw(mappings, mappings.psi(captions), noise.expand(len(shares), -1))


def blend_sentences(mappings: Mappings, ends: list[str], shares: Tensor, noise: Tensor) -> Blend:
    """Captions of images drawn from psi between two sentences, and those images."""
    left, right = mappings.psi(ends).split(1)
    pixels = draw(mappings, between(left, right, shares), noise.expand(len(shares), -1))
    return mappings.describe(mappings.phi(pixels)), pixels


def image_cycle(mappings: Mappings, pixels: Tensor, turns: int, noise: Tensor) -> Around:
    """Turns of a cycle from one image, and the cosine of phi of each to the start's."""
    found = list(islice(mappings.image_cycle(pixels, noise), turns))
    reached = torch.cat([turn.phi for turn in found]).flatten(1)
    return found, F.cosine_similarity(reached, mappings.phi(pixels).flatten(1))


def sentence_cycle(mappings: Mappings, sentence: str, turns: int, noise: Tensor) -> Around:
    """Turns of a cycle from one sentence, and the cosine of psi of each to the start's."""
    found = list(islice(mappings.text_cycle([sentence], noise), turns))
    reached = mappings.psi([turn.captions[0] for turn in found])
    return found, F.cosine_similarity(reached, mappings.psi([sentence]))


def heaviest(mixture: Mixture, count: int) -> list[int]:
    """The components of largest weight, the heaviest first."""
    order: list[int] = np.argsort(-mixture.weights, kind="stable")[:count].tolist()
    return order


def component_psi(
    mappings: Mappings, mixture: Mixture, over: str, component: int, count: int, seed: int
) -> Tensor:
    """psi (N, D) sampled from a component of a mixture over psi; of one over phi, psi of the
    captions of the samples.
    """
    vectors = _floats(np.stack(list(_samples(mixture, over, component, count, seed))))
    if over == "psi":
        return F.normalize(vectors, dim=1)
    phi = vectors.unflatten(1, (-1, GRID, GRID)).split(BATCH)
    return torch.cat([mappings.psi(mappings.describe(part)) for part in phi])


def _samples(
    mixture: Mixture, over: str, component: int, count: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    rng = seeds.stream(seed, "components", over, component)
    for _ in range(count):
        yield mixture.sample_of(component, rng)


def _floats(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values).float()
