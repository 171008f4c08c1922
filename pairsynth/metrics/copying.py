"""How much of a caption is copied from training captions: the longest run, the best BLEU-4.

Shapes: W words of all captions, R rows of captions to score, M training captions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from pairsynth.text import normalize

ORDERS = (1, 2, 3, 4)
BLOCK = 256
TINY = 1e-9

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def longest_copied(captions: Sequence[str], train: Sequence[str]) -> list[int]:
    """For each caption, the length in words of its longest run found in a training caption.

    Exact. Runs of n words get numbers, equal for equal runs; a run of n + 1 words is the pair of
    the number of its first n words and its last word. Only runs that both sides have are extended:
    1,000 captions against 57,000 take 1.0 s, a set of all runs as tuples takes 5.1 s.
    """
    words, owners = _stream([*captions, *train])  # (W) each
    longest = np.zeros(len(captions), np.int64)  # (R)
    places = np.flatnonzero(words >= 0)  # (P), where the runs that are left start
    runs, length = words[places], 1  # (P), the number of each run
    while True:
        ours = owners[places] < len(captions)
        shared = np.isin(runs, np.intersect1d(runs[ours], runs[~ours]))  # (P), on both sides
        if not shared.any():
            return [int(n) for n in longest]
        longest[owners[places[shared & ours]]] = length
        growing = shared & (words[places + length] >= 0)  # (P): the caption goes on after the run
        places, numbers = places[growing], np.unique(runs[growing], return_inverse=True)[1]
        # (P') -> (P'): the pair (number of the run, next word) as one number
        runs = numbers * len(words) + words[places + length]
        length += 1


def _stream(captions: Sequence[str]) -> tuple[Ints, Ints]:
    """All words as numbers (W), -1 after each caption; and the row (W) of each word's caption."""
    numbers: dict[str, int] = {}
    words: list[int] = []
    owners: list[int] = []
    for i, caption in enumerate(captions):
        own = [numbers.setdefault(word, len(numbers)) for word in normalize(caption).split()]
        words += [*own, -1]
        owners += [i] * (len(own) + 1)
    return np.array(words, np.int64), np.array(owners, np.int64)


def closest_bleu(captions: Sequence[str], train: Sequence[str]) -> tuple[list[float], list[int]]:
    """For each caption the best BLEU-4 against one training caption, 0 to 1, and that one's row.

    Exact, unsmoothed. Only training captions that share four words in a row score at all, and their
    4-gram precision and brevity penalty bound the score. So the candidates with the highest bound
    are scored first, then only those whose bound reaches the best score so far: 500 captions
    against 5,500 take 0.1 s, all pairs by nltk 156 s. The row is that of the first best in `train`,
    or 0 where none scores.
    """
    lengths, others = (
        np.array([len(normalize(one).split()) for one in few], float) for few in (captions, train)
    )
    best, found = np.zeros(len(captions)), np.zeros(len(captions), np.int64)  # (R) each
    tables = _tables(captions, train)
    if not tables:
        return best.tolist(), found.tolist()
    for start in range(0, len(captions), BLOCK):
        part = slice(start, start + BLOCK)
        # (BLOCK, M), sparse: the clipped matches of four words; then its C nonzero cells
        four = sum(own[part] @ other.T for own, other in tables[3]).tocoo()
        rows, columns = four.row + start, four.col  # (C) each
        # exp(min(0, 1 - r / c)) p4^(1/4): BLEU-4 if p1 = p2 = p3 = 1, (C)
        bound = np.exp(np.minimum(0, 1 - others[columns] / lengths[rows])) * (
            four.data / (lengths[rows] - 3)
        ) ** (1 / 4)
        peak = np.zeros(len(captions))  # (R), the highest bound of each row
        np.maximum.at(peak, rows, bound)
        for floor in (peak, best):
            kept = bound >= floor[rows] - TINY
            own, other = rows[kept], columns[kept]
            score = bound[kept] * _shorter(tables, own, other, lengths)  # (C'), those kept
            top = _first_best(own, other, score)
            best[own[top]], found[own[top]] = score[top], other[top]
    return best.tolist(), found.tolist()


def _first_best(rows: Ints, columns: Ints, scores: Floats) -> Ints:
    """For each distinct row, the place of its best score; among equals the lowest column."""
    order = np.lexsort((columns, -scores, rows))
    return order[np.unique(rows[order], return_index=True)[1]]


def _shorter(
    tables: Sequence[list[tuple[csr_matrix, csr_matrix]]],
    rows: Ints,
    columns: Ints,
    lengths: Floats,
) -> Floats:
    """(p1 p2 p3)^(1/4), the part of BLEU-4 from runs of one to three words, for each candidate."""
    left = np.ones(len(rows))  # (C)
    for order in ORDERS[:3]:
        # (C, runs) of each side -> (C)
        matched = sum(
            np.asarray(own[rows].multiply(other[columns]).sum(1)).ravel()
            for own, other in tables[order - 1]
        )
        left *= matched / (lengths[rows] - order + 1)
    return left ** (1 / 4)


def _tables(
    captions: Sequence[str], train: Sequence[str]
) -> list[list[tuple[csr_matrix, csr_matrix]]]:
    """For runs of 1 to 4 words, sparse indicators that a caption has a run k times or more.

    Sum over k of own_k . other_k = sum over runs of min(count, other count), the clipped matches.
    Empty where no caption, or none of `train`, has four words.
    """
    words, owners = _stream([*captions, *train])
    places = np.flatnonzero(words >= 0)
    runs, tables = words[places], []
    for order in ORDERS:
        numbers = np.unique(runs, return_inverse=True)[1]  # (P)
        shape = (len(captions) + len(train), int(numbers.max(initial=-1)) + 1)
        ones = np.ones(len(places), np.float32)
        # (R + M, runs): how often each caption has each run
        counts = csr_matrix((ones, (owners[places], numbers)), shape=shape)
        own, other = counts[: len(captions)], counts[len(captions) :]
        if not (own.nnz and other.nnz):
            return []
        most = int(min(own.max(), other.max()))
        tables.append([(_reach(own, k), _reach(other, k)) for k in range(1, most + 1)])
        growing = words[places + order] >= 0
        places = places[growing]
        runs = numbers[growing] * len(words) + words[places + order]
    return tables


def _reach(counts: csr_matrix, least: int) -> csr_matrix:
    return (counts >= least).astype(np.float32)
