"""Agreement of captions and images: on attributes, and in retrieval."""

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
    """A proportion: `right` of `count`, with its 95 % Wilson interval."""

    right: int
    count: int

    @property
    def value(self) -> float | None:
        """right / count, or None where count is 0."""
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
    """Attribute -> how often the value that a caption names is the one seen in its image.

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
    """The captions that an image's own caption is ranked among: vectors (M, D), one per wording.

    They are arranged in a circle by a digest of their words, and a row is compared with the
    `RIVALS` that follow its own words in that circle. So a rank depends on words only, not on the
    order of rows. A caption with the same words as the row's own is not a rival.
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

    @property
    def among(self) -> int:
        """How many captions a rank is of: 100, or fewer where there are fewer rivals."""
        return 1 + min(RIVALS, len(self.places))

    def ranks(
        self, images: Tensor, psi: Tensor, captions: Sequence[str], block: int = 512
    ) -> list[int]:
        """The rank, 1 to 100, of each image's own caption among it and 99 rivals.

        images, psi: unit vectors (N, D) of images and of their captions. Ties count as misses.
        Where there are fewer than 99 rivals, all are used.
        """
        met = min(RIVALS, len(self.places))
        found: list[int] = []
        for start in range(0, len(captions), block):
            part = slice(start, start + block)
            table, other = self._circle(captions[part], met)  # (block, met) each
            # (block, 1, D) * (block, met, D) -> (block, met)
            scores = (images[part, None] * self.vectors[table]).sum(2)
            own = (images[part] * psi[part]).sum(1, keepdim=True)  # (block, 1)
            # As good as the own one, or not a number: a miss.
            found += (1 + (~(scores < own) & other).sum(1)).tolist()
        return found

    def _circle(self, captions: Sequence[str], met: int) -> tuple[Tensor, Tensor]:
        """Rows (N, met) of the captions after each one, and whether each is a rival (N, met)."""
        places = [_place(caption) for caption in captions]
        start = torch.tensor([bisect.bisect_left(self.places, place) for place in places])
        after = torch.tensor([bisect.bisect_right(self.places, place) for place in places])
        rows = (after[:, None] + torch.arange(met)) % len(self.places)  # (N) -> (N, met)
        return rows, ~((after > start)[:, None] & (rows == start[:, None]))


RIVALS = 99


def _place(caption: str) -> bytes:
    return hashlib.sha256(normalize(caption).encode()).digest()


def r_precision(ranks: Sequence[int]) -> Share:
    """The share of images that are nearer to their own caption than to all rivals."""
    return Share(sum(rank == 1 for rank in ranks), len(ranks))


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Retrieval of one half of a pair by the other, among all of a set.

    recall: k -> share of rows whose own answer is among the first k. median_rank: 1 is best.
    margin: mean cosine with the own answer minus that with the nearest other.
    """

    recall: dict[int, Share]
    median_rank: float
    margin: float


def retrieval(queries: Tensor, answers: Tensor, ranks: Sequence[int] = (1, 5, 10)) -> Retrieval:
    """Retrieve row i of `answers` (N, D) by row i of `queries` (N, D); ties count as misses.

    Raises:
        ValueError: for fewer than two rows, or where queries and answers differ in number.
    """
    if len(queries) != len(answers) or len(queries) < 2:
        raise ValueError(
            f"{len(queries)} queries and {len(answers)} answers; give two or more, as many of each"
        )
    scores = queries @ answers.T  # (N, N)
    own = scores.diagonal().clone()  # (N)
    rank = (~(scores < own[:, None])).sum(1)
    scores.fill_diagonal_(-2)  # less than any cosine
    return Retrieval(
        recall={k: Share(int((rank <= k).sum()), len(rank)) for k in ranks},
        median_rank=float(rank.float().median()),
        margin=float((own - scores.amax(1)).mean()),
    )


@dataclass(frozen=True, kw_only=True)
class ZeroShot:
    """Zero-shot classification by captions.

    first: share of images whose class is the nearest. precision: mean over classes of the share of
    its own images among the 50 nearest to it, or as many as it has. classes: their number.
    """

    first: Share
    precision: float
    classes: int


def zero_shot(
    images: Tensor, image_classes: Tensor, psi: Tensor, caption_classes: Tensor, most: int = 50
) -> ZeroShot | None:
    """Classify images (N, D) by the mean psi of each class's captions (arXiv 1605.05395).

    psi: (M, D) of captions. image_classes (N), caption_classes (M): -1 is unknown and left out.
    None where fewer than two classes are left.
    """
    known = image_classes >= 0
    images, image_classes = images[known], image_classes[known]
    classes = image_classes.unique()
    if len(classes) < 2:
        return None
    means = torch.stack([psi[caption_classes == one].mean(0) for one in classes])  # (classes, D)
    scores = images @ means.T  # (N, classes)
    right = classes[scores.argmax(1)] == image_classes  # (N)
    precision = 0.0
    for column, one in zip(scores.T, classes, strict=True):
        own = image_classes == one
        near = column.topk(min(most, int(own.sum()))).indices
        precision += float(own[near].float().mean()) / len(classes)
    return ZeroShot(
        first=Share(int(right.sum()), len(right)), precision=precision, classes=len(classes)
    )
