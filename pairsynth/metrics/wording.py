"""The standard for candidates: as consistent as real pairs, with words as rare as people's.

The most consistent caption is the plainest: a data set of such captions has half of the words that
people use. So consistency is required only up to that of held-out real pairs; above it, candidates
are chosen by how rare their words are.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pairsynth.text import normalize

# The share of real pairs that agree less than a synthetic one should.
QUANTILE = 0.5


class Surprise:
    """The rarity of a caption: mean -log2 p(word) by people's captions.

    p(word) = (count + 1) / (all + distinct + 1); all unseen words count as one word. Single words
    are used, not pairs: with pairs, odd combinations of common words reach a person's rarity, and
    the vocabulary stays small.
    """

    def __init__(self, captions: Sequence[str]) -> None:
        """captions: those that people wrote."""
        self.words = Counter(word for caption in captions for word in normalize(caption).split())
        self.total = self.words.total() + len(self.words) + 1

    def __call__(self, caption: str) -> float:
        """Bits per word of `caption`; 0 without words."""
        words = normalize(caption).split()
        bits = [math.log2(self.total / (self.words[word] + 1)) for word in words]
        return sum(bits) / len(bits) if bits else 0.0


@dataclass(frozen=True, kw_only=True)
class Standard:
    """The standard, measured on held-out real pairs.

    consistency: their `QUANTILE`. surprises: those of their captions. surprise: computes one.
    """

    consistency: float
    surprises: Sequence[float]
    surprise: Surprise

    def draw(self, rng: np.random.Generator) -> float:
        """The surprise of a random real caption."""
        return self.surprises[int(rng.integers(len(self.surprises)))]


def standard(
    captions: Sequence[str], held_out: Sequence[str], psi: Tensor, images: Tensor
) -> Standard:
    """The standard by train captions, and held-out ones with psi and image vectors (N, D)."""
    surprise = Surprise(captions)
    return Standard(
        consistency=float((psi * images).sum(1).quantile(QUANTILE)),  # (N, D) -> (N) -> ()
        surprises=[surprise(caption) for caption in held_out],
        surprise=surprise,
    )
