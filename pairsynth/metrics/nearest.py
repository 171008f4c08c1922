"""Nearest training images: by exact search among few, by a faiss index among many.

A search is built from a view (a function from images to features) and the training images. For each
image it finds the nearest two, of the image itself or of its mirror image. Distances of what an
index finds are recomputed exactly; the share it misses is measured (`recall`).

Shapes: N rows, M training images, F features, S side of an image.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pairsynth.errors import InputError

# Up to so many an exact search is quick enough.
EXACT = 50_000
# An index puts vectors into lists, a list for so many, and looks through the nearest of them; it
# learns the lists from so many vectors each.
ROWS_PER_LIST, LOOKED_THROUGH, LEARNED_FROM = 1000, 32, 40
SHORTLIST = 8
CHUNK = 8192
ASKED = 200  # images by which recall is measured

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Near:
    """The nearest training image of N images: distance (N), ratio to the second (N), row (N)."""

    distance: Tensor
    ratio: Tensor
    row: Tensor


class Search(Protocol):
    """A search among training images."""

    recall: float

    def find(self, pixels: Tensor) -> Near:
        """The nearest training image of each of (N, 3, S, S), or of its mirror image."""


class Exact:
    """Exact search in blocks.

    |q - r|^2 = |q|^2 - 2 q . r + |r|^2 of centred features finds the nearest two: without the mean,
    small differences are not lost in large norms. Their distances are then computed from q - r, so
    that of a copy is exactly 0. It is 16 times as fast as taking all differences (300 images among
    4,500: 0.06 s instead of 0.95 s, one thread).
    """

    recall = 1.0

    def __init__(self, features: Features, train: Tensor) -> None:
        """train: uint8 images (M, 3, S, S)."""
        self.features = features
        self.references = features(train)  # (M, F)
        self.middle = self.references.mean(0)  # (F)
        self.centred = self.references - self.middle
        self.square = self.centred.square().sum(1)  # (M)

    def find(self, pixels: Tensor) -> Near:
        """The nearest training image of each of (N, 3, S, S), or of its mirror image."""
        return self.two(self.features(pixels), self.features(pixels.flip(3)))

    def two(self, own: Tensor, mirrored: Tensor, block: int = 1024) -> Near:
        """The nearest by features (N, F) of images and of their mirror images.

        The distance is the root mean square. Where the two nearest are both at 0 the ratio is 1.
        """
        parts = []
        for a, b in zip(own.split(block), mirrored.split(block), strict=True):
            # (block, M): the square distance of the nearer of the image and its mirror image
            scores = torch.minimum(*(self._apart(side - self.middle) for side in (a, b)))
            rows = scores.argmin(1, keepdim=True)  # (block, 1)
            rows = torch.cat([rows, scores.scatter(1, rows, torch.inf).argmin(1, keepdim=True)], 1)
            parts.append(nearest_of(rows, self.references[rows], a, b))  # (block, 2), (block, 2, F)
        names = [field.name for field in fields(Near)]
        return Near(**{name: torch.cat([getattr(one, name) for one in parts]) for name in names})

    def _apart(self, queries: Tensor) -> Tensor:
        """Squared distances (N, M)."""
        # |r|^2 - 2 q . r + |q|^2: (M) + (N, M) + (N, 1)
        return self.square - 2 * queries @ self.centred.T + queries.square().sum(1, keepdim=True)


def nearest_of(rows: Tensor, chosen: Tensor, own: Tensor, mirrored: Tensor) -> Near:
    """The nearest among candidate rows (N, K) of the training images.

    chosen: features (N, K, F) of the candidates. own, mirrored: features (N, F) of the images.
    """
    squares = (chosen - side[:, None] for side in (own, mirrored))  # (N, K, F)
    return two_of(torch.minimum(*(one.square().mean(2) for one in squares)).sqrt(), rows)


def two_of(distance: Tensor, rows: Tensor) -> Near:
    """The nearest of candidate rows (N, K) at distances (N, K); a row may occur twice.

    Where both are at 0 the ratio is 1.
    """
    distance, order = distance.sort(dim=1, stable=True)
    rows = rows.gather(1, order)
    again = (rows[:, :, None] == rows[:, None]).tril(-1).any(2)  # (N, K): stands further left
    first, second = distance.masked_fill(again, torch.inf).sort(1).values[:, :2].unbind(1)
    return Near(distance=first, ratio=torch.where(second > 0, first / second, 1.0), row=rows[:, 0])


def faiss() -> Any:
    """The library faiss, set to one thread as all code that makes pairs.

    Raises:
        InputError: where it is not installed.
    """
    try:
        library = importlib.import_module("faiss")
    except ImportError as error:
        raise InputError(
            f"more than {EXACT:,} train images need an index to be compared with; "
            "pip install 'pairsynth[large]'"
        ) from error
    library.omp_set_num_threads(1)
    return library


class Lists:
    """A faiss inverted file: vectors quantised to bytes, in lists of which a search visits some."""

    def __init__(self, count: int, sample: Tensor) -> None:
        """count: how many vectors there will be. sample: some of them (N, F), for training."""
        library = faiss()
        lists = max(1, count // ROWS_PER_LIST)
        self.middle = sample.mean(0)
        self.coarse = library.IndexFlatL2(sample.shape[1])  # the index alone does not keep it
        kind = library.ScalarQuantizer.QT_8bit
        self.index = library.IndexIVFScalarQuantizer(self.coarse, sample.shape[1], lists, kind)
        self.index.nprobe = min(lists, LOOKED_THROUGH)
        self.index.cp.seed, self.index.cp.min_points_per_centroid = 1, 1
        self.index.train((sample - self.middle).numpy())

    def add(self, vectors: Tensor) -> None:
        """Append vectors (N, F) as the next rows."""
        self.index.add((vectors - self.middle).numpy())

    def shortlist(self, vectors: Tensor, length: int) -> Tensor:
        """Candidate rows (N, length) for vectors (N, F); 0 where fewer are found."""
        rows = self.index.search((vectors - self.middle).contiguous().numpy(), length)[1]
        return torch.from_numpy(rows).clamp(min=0)


def _evenly(count: int) -> slice:
    """The slice of `count` rows that lists are trained on."""
    return slice(None, None, max(1, count // (max(1, count // ROWS_PER_LIST) * LEARNED_FROM)))


class Indexed:
    """`Lists` of a view; the features of candidates are recomputed from the images.

    recall: measured on `ASKED` blends of two training images: the share for which the image found
    is as near as that of an exact search.
    """

    def __init__(self, features: Features, train: Tensor) -> None:
        """train: uint8 images (M, 3, S, S), which are not copied."""
        self.features, self.train = features, train
        sample = train[_evenly(len(train))]
        self.lists = Lists(len(train), torch.cat([features(part) for part in sample.split(CHUNK)]))
        step = max(1, len(train) // ASKED)
        ends = train[::step][:ASKED].int()
        asked = ((3 * ends + ends.roll(1, 0)) // 4).to(torch.uint8)
        # (ASKED, F) each
        sides = [features(side) - self.lists.middle for side in (asked, asked.flip(3))]
        best = torch.full((len(asked),), torch.inf)
        for part in train.split(CHUNK):
            vectors = features(part)
            self.lists.add(vectors)
            apart = [torch.cdist(side, vectors - self.lists.middle).amin(1) for side in sides]
            best = torch.minimum(best, torch.minimum(*apart) / vectors.shape[1] ** 0.5)
        found = self.find(asked).distance
        self.recall = float((found <= best * 1.001 + 1e-4).float().mean())

    def find(self, pixels: Tensor) -> Near:
        """The nearest training image of each of (N, 3, S, S), or of its mirror image."""
        sides = [self.features(side) for side in (pixels, pixels.flip(3))]  # (N, F) each
        rows = torch.cat([self.lists.shortlist(side, SHORTLIST) for side in sides], 1)  # (N, K)
        # (N, K) -> (N K, 3, S, S) -> (N K, F) -> (N, K, F)
        chosen = self.features(self.train[rows.flatten()]).view(*rows.shape, -1)
        return nearest_of(rows, chosen, *sides)


class IndexedBits:
    """Exact search on features that are 0 or 1, packed eight to a byte."""

    recall = 1.0

    def __init__(self, features: Features, train: Tensor) -> None:
        """train: uint8 images (M, 3, S, S)."""
        self.features, self.width = features, features(train[:1]).shape[1]
        self.index = faiss().IndexBinaryFlat(-(-self.width // 8) * 8)
        for part in train.split(CHUNK):
            self.index.add(self._packed(part))

    def _packed(self, pixels: Tensor) -> NDArray[np.uint8]:
        # (N, 3, S, S) -> (N, F) bits -> (N, F / 8) bytes
        return np.packbits(self.features(pixels).numpy().astype(np.uint8), axis=1)

    def find(self, pixels: Tensor) -> Near:
        """The nearest training image of each of (N, 3, S, S), or of its mirror image."""
        sides = [self.index.search(self._packed(side), 2) for side in (pixels, pixels.flip(3))]
        # two of each side, (N, 2) -> (N, 4): differing bits, and rows
        apart, rows = (torch.from_numpy(np.hstack(part)) for part in zip(*sides, strict=True))
        return two_of((apart / self.width).sqrt(), rows)


class Directions:
    """Nearest unit vectors by cosine; among more than `EXACT` by `Lists`."""

    def __init__(self, references: Tensor) -> None:
        """references: (M, D) of unit length."""
        self.references = references
        self.lists: Lists | None = None
        if len(references) > EXACT:
            self.lists = Lists(len(references), references[_evenly(len(references))])
            for part in references.split(CHUNK):
                self.lists.add(part)

    def find(self, queries: Tensor, block: int = 512) -> tuple[Tensor, Tensor]:
        """The cosine (N) with the nearest of the references, and its row (N)."""
        if self.lists is not None:
            rows = self.lists.shortlist(queries, SHORTLIST)  # (N, K)
            cosines = (self.references[rows] * queries[:, None]).sum(2)  # (N, K, D) -> (N, K)
            best = cosines.max(1)
            return best.values, rows.gather(1, best.indices[:, None])[:, 0]
        # (block, M) -> (block)
        found = [(part @ self.references.T).max(1) for part in queries.split(block)]
        return torch.cat([b.values for b in found]), torch.cat([b.indices for b in found])
