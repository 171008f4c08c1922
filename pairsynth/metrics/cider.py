"""CIDEr-D: agreement of captions with references, weighted by how rare n-grams are."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pairsynth.metrics.captions import check_references
from pairsynth.text import normalize

ORDERS = 4
WIDTH = 6.0

Gram = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A caption as tf-idf weights, one dict and norm per n, and its number of words."""

    weights: list[dict[Gram, float]]
    norms: list[float]
    words: int


class CiderD:
    """CIDEr-D (Vedantam et al., arXiv 1411.5726): cosine of clipped tf-idf n-grams, times 10.

    Document frequencies come from the captions of the train images, so that a score depends
    neither on the other captions measured nor on their number.
    """

    def __init__(self, documents: Sequence[Sequence[str]]) -> None:
        """documents: the captions of each train image; an image is one document.

        Raises:
            ValueError: where there are none.
        """
        if not documents:
            raise ValueError("no documents; how rare a word is cannot be told")
        self.documents = math.log(len(documents))
        self.frequency = Counter(
            gram
            for captions in documents
            for gram in {gram for caption in captions for gram in _grams(caption)}
        )

    def __call__(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        """The mean over `hypotheses`, each against its own list of references, 0 to 10."""
        check_references(hypotheses, references)
        total = 0.0
        for hypothesis, own in zip(hypotheses, references, strict=True):
            vector = self.vector(hypothesis)
            total += sum(similarity(vector, self.vector(caption)) for caption in own) / len(own)
        return 10 * total / len(hypotheses)

    def vector(self, caption: str) -> Vector:
        """tf-idf of every n-gram of 1 to 4 words."""
        grams = _grams(caption)
        weights: list[dict[Gram, float]] = [{} for _ in range(ORDERS)]
        for gram, count in Counter(grams).items():
            rarity = self.documents - math.log(max(1, self.frequency[gram]))
            weights[len(gram) - 1][gram] = count * rarity
        norms = [math.sqrt(sum(w * w for w in kind.values())) for kind in weights]
        return Vector(weights=weights, norms=norms, words=sum(len(gram) == 1 for gram in grams))


def similarity(hypothesis: Vector, reference: Vector) -> float:
    """Mean over n of clipped cosines, times a Gaussian penalty on the length gap; 0 to 1."""
    total = 0.0
    for n in range(ORDERS):
        own, other = hypothesis.weights[n], reference.weights[n]
        dot = sum(min(w, other[gram]) * other[gram] for gram, w in own.items() if gram in other)
        if dot:
            total += dot / (hypothesis.norms[n] * reference.norms[n])
    gap = hypothesis.words - reference.words
    return math.exp(-(gap**2) / (2 * WIDTH**2)) * total / ORDERS


def _grams(caption: str) -> list[Gram]:
    words = normalize(caption).split()
    return [
        tuple(words[i : i + n]) for n in range(1, ORDERS + 1) for i in range(len(words) - n + 1)
    ]
