"""What real pairs ask of a synthetic one: that it agree as they do, in words as rare as theirs.

The caption that agrees best with its image is the plainest: a data set of such captions uses half
of the words that people use. So agreement is asked for up to what held-out real pairs have, and
beyond it words as rare as people's.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import Tensor

from pairsynth.text import normalize

# The share of real pairs that agree less than a synthetic one should.
QUANTILE = 0.5
START, END = "<start>", "<end>"


class Surprise:
    """How rare the wording of a caption is: bits a word, by the pairs of words people write.

    p(word | last) = (count(last, word) + p(word)) / (count(last) + 1), and p(word) likewise with
    even chances below it (MacKay and Peto, 1995, with both weights 1): no word is impossible.
    """

    def __init__(self, captions: Sequence[str]) -> None:
        """captions: those that people wrote."""
        self.words: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        for caption in captions:
            words = _marked(caption)
            self.words.update(words[1:])
            self.pairs.update(pairwise(words))
        self.total = self.words.total()
        self.first = Counter(last for last, _ in self.pairs.elements())

    def chance(self, last: str, word: str) -> float:
        """p(word | last); of all words that people do not write together as of one."""
        plain = (self.words[word] + 1 / (len(self.words) + 1)) / (self.total + 1)
        return (self.pairs[last, word] + plain) / (self.first[last] + 1)

    def __call__(self, caption: str) -> float:
        """Bits a word of `caption`, its end counted as one."""
        words = _marked(caption)
        chances = (self.chance(*pair) for pair in pairwise(words))
        return -sum(map(math.log2, chances)) / (len(words) - 1)


def _marked(caption: str) -> list[str]:
    return [START, *normalize(caption).split(), END]


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
