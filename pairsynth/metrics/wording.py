"""What real pairs ask of a synthetic one: that it agree as they do, in words as rare as theirs.

The caption that agrees best with its image is the plainest: a data set of such captions uses half
of the words that people use. So agreement is asked for up to what held-out real pairs have, and
beyond it words as rare as people's.
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
    """How rare the words of a caption are: bits a word, by how often people use each.

    p(word) = (count + 1) / (all + distinct + 1): words that nobody uses count as one. Of single
    words, not of pairs of them: by odd pairs of common words a caption is as surprising as a
    person's, and the vocabulary stays small.
    """

    def __init__(self, captions: Sequence[str]) -> None:
        """captions: those that people wrote."""
        self.words = Counter(word for caption in captions for word in normalize(caption).split())
        self.total = self.words.total() + len(self.words) + 1

    def __call__(self, caption: str) -> float:
        """Bits a word of `caption`; 0 of none."""
        words = normalize(caption).split()
        bits = [math.log2(self.total / (self.words[word] + 1)) for word in words]
        return sum(bits) / len(bits) if bits else 0.0


@dataclass(frozen=True, kw_only=True)
class Standard:
    """What a candidate is held to, measured on real pairs that no network learned from.

    consistency: which `QUANTILE` of them fall short of. surprises: of their captions.
    """

    consistency: float
    surprises: Sequence[float]
    surprise: Surprise

    def draw(self, rng: np.random.Generator) -> float:
        """The surprise of one real caption."""
        return self.surprises[int(rng.integers(len(self.surprises)))]


def standard(
    captions: Sequence[str], held_out: Sequence[str], psi: Tensor, images: Tensor
) -> Standard:
    """Of train captions, and of held-out ones with their psi (N, D) and their images' vectors."""
    surprise = Surprise(captions)
    return Standard(
        consistency=float((psi * images).sum(1).quantile(QUANTILE)),
        surprises=[surprise(caption) for caption in held_out],
        surprise=surprise,
    )
