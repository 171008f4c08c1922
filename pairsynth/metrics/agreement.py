"""Do caption and image agree: on attributes, and by finding each other among others."""

import bisect
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.stats import binomtest
from torch import Tensor

from pairsynth.text import normalize

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
    """For each attribute, how often what a caption names of it is what is seen in its image.

    Captions that do not name the attribute do not count.
    """
    right: dict[str, int] = {}
    count: dict[str, int] = {}
    for caption, attributes in zip(captions, seen, strict=True):
        for attribute, value in named(caption).items():
            count[attribute] = count.get(attribute, 0) + 1
            right[attribute] = right.get(attribute, 0) + (attributes.get(attribute) == value)
    return {attribute: Share(right[attribute], count[attribute]) for attribute in sorted(count)}


class Rivals:
    """Captions that an image's own caption is ranked among: vectors (M, D), of each wording one.

    They stand in a circle in the order of a stable digest of their words, and a row meets those
    that come after its own words in that circle: who meets whom depends on words alone, on no
    order of rows. A rival of the same words as the row's own caption would be no rival.
    """

    def __init__(self, captions: Sequence[str], vectors: Tensor) -> None:
        """captions (M) and their unit vectors (M, D).

        Raises:
            ValueError: where the two differ in number.
        """
        if len(captions) != len(vectors):
            raise ValueError(f"{len(captions)} captions and {len(vectors)} vectors of them")
        rows = {_place(caption): i for i, caption in reversed(list(enumerate(captions)))}
        self.places = sorted(rows)
        self.vectors = vectors[[rows[place] for place in self.places]]

    def ranks(
        self, images: Tensor, psi: Tensor, captions: Sequence[str], block: int = 512
    ) -> list[int]:
        """The rank, 1 to 100, of each image's own caption among it and 99 rivals.

        images, psi: unit vectors (N, D) of images and of their captions. Ties count as misses.
        Of fewer than 99 rivals, all are met.
        """
        met = min(RIVALS, len(self.places))
        found: list[int] = []
        for start in range(0, len(captions), block):
            part = slice(start, start + block)
            table, other = self._circle(captions[part], met)
            scores = (images[part, None] * self.vectors[table]).sum(2)
            own = (images[part] * psi[part]).sum(1, keepdim=True)
            # As good as the own one, or not a number: a miss.
            found += (1 + (~(scores < own) & other).sum(1)).tolist()
        return found

    def _circle(self, captions: Sequence[str], met: int) -> tuple[Tensor, Tensor]:
        """Rows (N, met) of the rivals after each caption, and which of them are not itself."""
        places = [_place(caption) for caption in captions]
        start = torch.tensor([bisect.bisect_left(self.places, place) for place in places])
        after = torch.tensor([bisect.bisect_right(self.places, place) for place in places])
        rows = (after[:, None] + torch.arange(met)) % len(self.places)
        return rows, ~((after > start)[:, None] & (rows == start[:, None]))


RIVALS = 99


def _place(caption: str) -> bytes:
    return hashlib.sha256(normalize(caption).encode()).digest()


def r_precision(ranks: Sequence[int]) -> Share:
    """How often an image is nearer to its own caption than to all of its rivals."""
    return Share(sum(rank == 1 for rank in ranks), len(ranks))


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
    """Unit vectors (N, D) look for row i of `answers` (N, D), N > 1; ties count as misses.

    Raises:
        ValueError: for fewer than two rows, or where queries and answers differ in number.
    """
    if len(queries) != len(answers) or len(queries) < 2:
        raise ValueError(
            f"{len(queries)} queries and {len(answers)} answers; give two or more, as many of each"
        )
    scores = queries @ answers.T
    own = scores.diagonal().clone()
    rank = (~(scores < own[:, None])).sum(1)
    scores.fill_diagonal_(-2)
    return Retrieval(
        {k: Share(int((rank <= k).sum()), len(rank)) for k in ranks},
        float(rank.float().median()),
        float((own - scores.amax(1)).mean()),
    )


@dataclass(frozen=True)
class ZeroShot:
    """How well classes are told by their captions alone.

    first: images whose class is, of all, the nearest. precision: mean over classes of the share
    of its own among the 50 images nearest to it, or as many as it has; classes counts them.
    """

    first: Share
    precision: float
    classes: int


def zero_shot(
    images: Tensor, image_classes: Tensor, psi: Tensor, caption_classes: Tensor, most: int = 50
) -> ZeroShot | None:
    """Vectors (N, D) of images and (M, D) of captions, and their classes (N) and (M).

    The mean psi of its captions stands for a class (Reed et al., arXiv 1605.05395). Class -1 is
    unknown and left out; None where fewer than two classes are left.
    """
    known = image_classes >= 0
    images, image_classes = images[known], image_classes[known]
    classes = image_classes.unique()
    if len(classes) < 2:
        return None
    means = torch.stack([psi[caption_classes == one].mean(0) for one in classes])
    scores = images @ means.T
    right = classes[scores.argmax(1)] == image_classes
    precision = 0.0
    for column, one in zip(scores.T, classes, strict=True):
        own = image_classes == one
        near = column.topk(min(most, int(own.sum()))).indices
        precision += float(own[near].float().mean()) / len(classes)
    return ZeroShot(Share(int(right.sum()), len(right)), precision, len(classes))
