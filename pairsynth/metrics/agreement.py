"""Do caption and picture agree: on attributes, and by finding each other among others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.stats import binomtest
from torch import Tensor

Reader = Callable[[str], Mapping[str, str]]


@dataclass(frozen=True)
class Share:
    """How often something held: `right` of `count`, and the 95 % Wilson interval of the share."""

    right: int
    count: int

    @property
    def value(self) -> float | None:
        """The share, or None of none."""
        return self.right / self.count if self.count else None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """Lower and upper end of the 95 % interval."""
        if not self.count:
            return None, None
        interval = binomtest(self.right, self.count).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)


def attribute_agreement(
    captions: Sequence[str], seen: Sequence[Mapping[str, str]], named: Reader
) -> dict[str, Share]:
    """For each attribute, how often what a caption names of it is what is seen in its picture.

    Captions that do not name the attribute do not count.
    """
    right: dict[str, int] = {}
    count: dict[str, int] = {}
    for caption, attributes in zip(captions, seen, strict=True):
        for attribute, value in named(caption).items():
            count[attribute] = count.get(attribute, 0) + 1
            right[attribute] = right.get(attribute, 0) + (attributes.get(attribute) == value)
    return {attribute: Share(right[attribute], count[attribute]) for attribute in sorted(count)}


def r_precision(images: Tensor, psi: Tensor, others: Tensor) -> Share:
    """How often a picture is nearer to its own caption than to 99 of `others` (M, D).

    images, psi: unit vectors (N, D) of pictures and of their captions. Row i meets `others` from
    row 99 i on, round and round, so that its result does not depend on the rows beside it. Ties
    count as misses.
    """
    own = (images * psi).sum(1)
    start = torch.arange(len(images))[:, None] * 99
    rivals = others[(start + torch.arange(99)) % len(others)]
    scores = (images[:, None] * rivals).sum(2)
    return Share(int((scores < own[:, None]).all(1).sum()), len(images))


@dataclass(frozen=True)
class Retrieval:
    """How well one half of a pair finds the other among all others of its set.

    recall: share of rows whose own is among the first k, by k. median_rank: 1 is best.
    margin: how much nearer the own is than the nearest other, on average, in cosine.
    """

    recall: dict[int, Share]
    median_rank: float
    margin: float


def retrieval(queries: Tensor, answers: Tensor, ranks: Sequence[int] = (1, 5, 10)) -> Retrieval:
    """Unit vectors (N, D) look for row i of `answers` (N, D), N > 1; ties count as misses."""
    scores = queries @ answers.T
    own = scores.diagonal().clone()
    rank = (scores >= own[:, None]).sum(1)
    scores.fill_diagonal_(-2)
    return Retrieval(
        {k: Share(int((rank <= k).sum()), len(rank)) for k in ranks},
        float(rank.float().median()),
        float((own - scores.amax(1)).mean()),
    )
