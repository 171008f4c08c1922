"""How much of a caption stands in the training captions: the longest copied run, the best BLEU."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from pairsynth.text import normalize

ORDERS = (1, 2, 3, 4)
BLOCK = 256

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def longest_copied(captions: Sequence[str], train: Sequence[str]) -> list[int]:
    """For each caption, the words of its longest run that stands in a training caption.

    Exact. All runs of both are numbered together, first those of one word; a run of n + 1 words
    is the number of its first n and its last word. Only runs that both have grow on.
    """
    words, owners = _stream([*captions, *train])
    longest = np.zeros(len(captions), np.int64)
    places = np.flatnonzero(words >= 0)
    runs, length = words[places], 1
    while True:
        ours = owners[places] < len(captions)
        shared = np.isin(runs, np.intersect1d(runs[ours], runs[~ours]))
        if not shared.any():
            return [int(n) for n in longest]
        longest[owners[places[shared & ours]]] = length
        growing = shared & (words[places + length] >= 0)
        places, numbers = places[growing], np.unique(runs[growing], return_inverse=True)[1]
        runs = numbers * len(words) + words[places + length]
        length += 1


def _stream(captions: Sequence[str]) -> tuple[Ints, Ints]:
    """All words as numbers, -1 after each caption; and the caption each belongs to."""
    numbers: dict[str, int] = {}
    words: list[int] = []
    owners: list[int] = []
    for i, caption in enumerate(captions):
        own = [numbers.setdefault(word, len(numbers)) for word in normalize(caption).split()]
        words += [*own, -1]
        owners += [i] * (len(own) + 1)
    return np.array(words, np.int64), np.array(owners, np.int64)


def closest_bleu(captions: Sequence[str], train: Sequence[str]) -> tuple[list[float], list[int]]:
    """For each caption the best BLEU-4 against one training caption, 0 to 1, and whose it is.

    Exact, unsmoothed: of all training captions only those can score that share four words in a
    row. The row is that of the first best in `train`, or 0 where none scores.
    """
    hypotheses, references = ([normalize(one) for one in few] for few in (captions, train))
    lengths = np.array([len(one.split()) for one in hypotheses], float)
    others = np.array([len(one.split()) for one in references], float)
    tables = [_layers(hypotheses, references, order) for order in ORDERS]
    best, rows = np.zeros(len(captions)), np.zeros(len(captions), np.int64)
    if not all(tables):
        return best.tolist(), rows.tolist()
    for start in range(0, len(captions), BLOCK):
        part = slice(start, start + BLOCK)
        matched = [sum(own[part] @ other.T for own, other in layers) for layers in tables]
        scores = _bleu(matched, lengths[part], others)
        best[part] = scores.max(1).toarray()[:, 0]
        rows[part] = np.asarray(scores.argmax(1)).ravel()
    return best.tolist(), rows.tolist()


def _layers(
    hypotheses: Sequence[str], references: Sequence[str], order: int
) -> list[tuple[csr_matrix, csr_matrix]]:
    """Which n-grams each has once or more, twice or more, ...: products of these sum to clips."""
    counter = CountVectorizer(
        tokenizer=str.split, token_pattern=None, ngram_range=(order, order), dtype=np.float32
    )
    try:
        own = counter.fit_transform(hypotheses)
    except ValueError:  # none of the captions has `order` words
        return []
    other = counter.transform(references)
    most = int(min(own.max(), other.max()))
    return [(_reach(own, k), _reach(other, k)) for k in range(1, most + 1)]


def _reach(counts: csr_matrix, least: int) -> csr_matrix:
    return (counts >= least).astype(np.float32)


def _bleu(matched: Sequence[csr_matrix], lengths: Floats, others: Floats) -> csr_matrix:
    """BLEU-4 where four words in a row are shared, from clipped matches (block, train)."""
    four = matched[3].tocoo()
    rows, columns = four.row, four.col
    own, other = lengths[rows], others[columns]
    score = np.exp(np.minimum(0, 1 - other / own))
    for order, table in zip(ORDERS, matched, strict=True):
        values = four.data if order == 4 else table.toarray()[rows, columns]
        score *= (values / (own - order + 1)) ** 0.25
    return csr_matrix((score, (rows, columns)), shape=four.shape)
