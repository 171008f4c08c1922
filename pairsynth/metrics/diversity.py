"""Diversity of captions: distinct n-grams, self-BLEU, words used."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from nltk.util import ngrams

from pairsynth.text import normalize

ORDERS = (1, 2, 3, 4)
SMOOTH = 0.1

Gram = tuple[str, ...]


def distinct(captions: Sequence[str], order: int) -> float | None:
    """Distinct n-grams as a share of all (Li et al., arXiv 1510.03055); None where there is none.

    It falls as captions are added: compare equal numbers of captions only.
    """
    counts = Counter(gram for words in _split(captions) for gram in ngrams(words, order))
    return len(counts) / counts.total() if counts else None


def vocabulary_coverage(captions: Sequence[str], references: Sequence[str]) -> float | None:
    """The share of the words of `references` that `captions` use; None where these have none."""
    used, known = (
        {word for words in _split(few) for word in words} for few in (captions, references)
    )
    return len(used & known) / len(known) if known else None


def mean_words(captions: Sequence[str]) -> float | None:
    """Mean number of words per caption; None without captions."""
    return sum(map(len, _split(captions))) / len(captions) if captions else None


def self_bleu(captions: Sequence[str]) -> float | None:
    """Mean BLEU-4 of each caption against all the others (Zhu et al., arXiv 1802.01886), 0 to 1.

    Exact. The two largest counts of each n-gram are enough to clip a caption's counts by the
    largest of any other, which makes it linear in the number of captions: of 500 it takes 0.04 s,
    BLEU against all others by nltk 5 s. Zero matches count as 0.1, like nltk's smoothing method 1.
    None for fewer than two captions.
    """
    sentences = _split(captions)
    if len(sentences) < 2:
        return None
    lengths = Counter(map(len, sentences))
    top = {order: _top_two(sentences, order) for order in ORDERS}
    scores = [_bleu(words, top, lengths) for words in sentences]
    return math.fsum(scores) / len(scores)


def _split(captions: Iterable[str]) -> list[list[str]]:
    return [normalize(caption).split() for caption in captions]


def _top_two(sentences: Sequence[list[str]], order: int) -> dict[Gram, tuple[int, int]]:
    """n-gram -> its two largest counts in different sentences."""
    top: dict[Gram, tuple[int, int]] = {}
    for words in sentences:
        for gram, count in Counter(ngrams(words, order)).items():
            first, second = top.get(gram, (0, 0))
            top[gram] = (max(first, count), max(second, min(first, count)))
    return top


def _bleu(
    words: list[str], top: dict[int, dict[Gram, tuple[int, int]]], lengths: Counter[int]
) -> float:
    precisions = []
    for order in ORDERS:
        counts = Counter(ngrams(words, order))
        matched = sum(
            min(count, _others(top[order][gram], count)) for gram, count in counts.items()
        )
        if order == 1 and not matched:
            return 0.0
        precisions.append((matched or SMOOTH) / max(1, counts.total()))
    return _brevity(len(words), lengths) * math.exp(math.fsum(map(math.log, precisions)) / 4)


def _others(top: tuple[int, int], own: int) -> int:
    """The largest count of an n-gram in all sentences but one that has it `own` times."""
    return top[1] if own == top[0] else top[0]


def _brevity(length: int, lengths: Counter[int]) -> float:
    others = (n for n, count in lengths.items() if count > (n == length))
    closest = min(others, key=lambda n: (abs(n - length), n))
    return 1.0 if length >= closest else math.exp(1 - closest / length)
