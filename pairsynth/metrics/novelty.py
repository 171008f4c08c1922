"""Is a pair new? Per row: the nearest training image and caption, and what kind of pair it is.

Shapes: N rows, M training images, F features.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth.examples import Examples
from pairsynth.images import center_crop
from pairsynth.metrics.nearest import (
    EXACT,
    Directions,
    Exact,
    Features,
    Indexed,
    IndexedBits,
    Near,
    Search,
)
from pairsynth.text import normalize

THUMBNAIL = 16
FALSE_ALARMS = 0.01

NEW = "new"
NEW_IMAGE = "new image, seen caption"
NEW_CAPTION = "seen image, new caption"
RECOMBINATION = "recombination"
COPY = "copy"
KINDS = (NEW, NEW_IMAGE, NEW_CAPTION, RECOMBINATION, COPY)


@dataclass(frozen=True)
class Novelty:
    """One row. kind: NEW, NEW_IMAGE, NEW_CAPTION, RECOMBINATION or COPY.

    nearest_image: id of the nearest training image. image_distance: root mean square difference
    of the two thumbnails, 0 to 1. image_ratio: that distance as a share of the distance to the
    second nearest; near 0 where one training image alone was copied. nearest_caption: the
    nearest training caption by psi, nearest_caption_id: `image_id#place` of it.
    caption_similarity: the cosine of the two. caption_seen: word for word in train.
    """

    kind: str
    nearest_image: str
    image_distance: float
    image_ratio: float
    nearest_caption: str
    nearest_caption_id: str
    caption_similarity: float
    caption_seen: bool


class Neighbours:
    """One view of the training images: how near others come, and how near is alarming.

    The alarms are calibrated on real held-out images: no more than `false_alarms` of them are
    nearer than `distance`, and no more have a smaller ratio than `ratio`.
    """

    def __init__(
        self,
        features: Features,
        train: Tensor,
        held_out: Tensor,
        false_alarms: float,
        search: Callable[[Features, Tensor], Search] = Exact,
    ) -> None:
        """train, held_out: uint8 images (M, 3, S, S) and (N, 3, S, S). search: among train's.

        Raises:
            ValueError: for fewer than two training images or no held-out one.
        """
        if len(train) < 2 or not len(held_out):
            raise ValueError(
                f"{len(train)} training and {len(held_out)} held-out images; novelty needs two "
                "to be near to, and one or more to tell how near real images come"
            )
        self.search = search(features, train)
        near = self.find(held_out)
        self.distance = alarm(near.distance, false_alarms)
        self.ratio = alarm(near.ratio, false_alarms)

    def find(self, pixels: Tensor) -> Near:
        """The nearest training image of each of uint8 (N, 3, S, S), or of its mirror image."""
        return self.search.find(pixels)

    def alarming(self, near: Near) -> Tensor:
        """Which rows (N) come too near; the same image always does."""
        return (near.distance < self.distance) | (near.distance == 0)

    def lonely(self, near: Near) -> Tensor:
        """Which rows (N) are far nearer to one training image than to all others."""
        return near.ratio < self.ratio


class NoveltyIndex:
    """Train images and captions to compare with.

    An image counts as seen where, of real held-out images, all but `FALSE_ALARMS` are further
    from the training images and their mirror images: in thumbnails, in the ratio of the first
    distance to the second, or in hashes. The three share the false alarms evenly.
    """

    def __init__(self, train: Examples, psi: Tensor, held_out: Examples, size: int) -> None:
        """psi (captions, D) of the train captions; images are compared at `size` pixels."""
        self.train, self.captions = train, train.flat_captions
        real, others = center_crop(train.pixels, size), center_crop(held_out.pixels, size)
        view = partial(
            Neighbours, train=real, held_out=others, false_alarms=FALSE_ALARMS / len(DETECTORS)
        )
        many = len(train) > EXACT
        self.thumbnails = view(thumbnails, search=Indexed if many else Exact)
        self.hashes = view(hashes, search=IndexedBits if many else Exact)
        self.directions = Directions(psi)
        self.owners: dict[str, set[int]] = {}
        for row, captions in enumerate(train.captions):
            for caption in captions:
                self.owners.setdefault(normalize(caption), set()).add(row)

    @property
    def recall(self) -> float:
        """The share of nearest images that the search by thumbnails finds; 1: it is exact."""
        return self.thumbnails.search.recall

    @property
    def threshold(self) -> float:
        """The distance of thumbnails below which an image counts as seen."""
        return self.thumbnails.distance

    def alarms(self, pixels: Tensor) -> tuple[Near, dict[str, Tensor]]:
        """Nearest by thumbnails, and which rows (N) each of `DETECTORS` takes for seen."""
        small = shrunk(pixels)
        near, hashed = self.thumbnails.find(small), self.hashes.find(small)
        flags = (
            self.thumbnails.alarming(near),
            self.thumbnails.lonely(near),
            hashed.distance < self.hashes.distance,
        )
        return near, dict(zip(DETECTORS, flags, strict=True))

    def judge(self, pixels: Tensor, captions: Sequence[str], psi: Tensor) -> list[Novelty]:
        """One `Novelty` for each image, caption and psi (N, D) of the caption."""
        if not captions:
            return []
        near, flags = self.alarms(pixels)
        seen = torch.stack(list(flags.values())).any(0)
        similarity, place = self.directions.find(psi)
        columns = (near.row, near.distance, near.ratio, seen, similarity, place)
        return [
            self._row(*row)
            for row in zip(captions, *(column.tolist() for column in columns), strict=True)
        ]

    def _row(
        self,
        caption: str,
        row: int,
        distance: float,
        ratio: float,
        seen: bool,
        similarity: float,
        place: int,
    ) -> Novelty:
        owners = self.owners.get(normalize(caption), set())
        first = self.train.first_caption
        owner = int(torch.searchsorted(first, place, right=True)) - 1
        return Novelty(
            kind_of(seen, bool(owners), row in owners),
            self.train.ids[row],
            distance,
            ratio,
            self.captions[place],
            f"{self.train.ids[owner]}#{place - int(first[owner])}",
            similarity,
            bool(owners),
        )


def kind_of(image_seen: bool, caption_seen: bool, together: bool) -> str:
    """What the parts of a pair say of the whole; `together`: the caption is the seen image's."""
    if not image_seen:
        return NEW_IMAGE if caption_seen else NEW
    if not caption_seen:
        return NEW_CAPTION
    return COPY if together else RECOMBINATION


def alarm(values: Tensor, rate: float) -> float:
    """The value that no more than a share `rate` of `values` (N) is smaller than.

    Raises:
        ValueError: where one is not a number.
    """
    if values.isnan().any():
        raise ValueError("distances are not numbers; are the features finite?")
    return float(values.sort().values[min(int(rate * len(values)), len(values) - 1)])


def thumbnails(pixels: Tensor) -> Tensor:
    """Pixels (N, 3, S, S) of 0 to 255 to means over a 16 x 16 raster, (N, 768) in [0, 1]."""
    return _raster(pixels, THUMBNAIL).flatten(1)


def _raster(pixels: Tensor, side: int) -> Tensor:
    """Means over a raster; summed as whole numbers, which no order of summing changes."""
    parts = [F.adaptive_avg_pool2d(p.float(), side) for p in pixels.split(1024)]
    return torch.cat(parts) / 255


def shrunk(pixels: Tensor) -> Tensor:
    """(N, 3, S, S) to what both views look at, (N, 3, 32, 32): the means are the same of it."""
    return pixels if pixels.shape[3] % HASHED else F.adaptive_avg_pool2d(pixels.float(), HASHED)


def hashes(pixels: Tensor) -> Tensor:
    """Pixels (N, 3, S, S) to bits (N, 191), 0 or 1: a perceptual hash, then a colour hash.

    Perceptual: which of the lowest 63 cosine frequencies of the brightness are above their
    median. It sees no colour, so: at 4 x 4 places, how far red outweighs green, and blue both.
    """
    grey = _raster(pixels, HASHED).mean(1)
    low = (_COSINES @ grey @ _COSINES.T).flatten(1)[:, 1:]
    shape = low > low.median(1, keepdim=True).values
    red, green, blue = _raster(pixels, 4).unbind(1)
    opponents = torch.stack([red - green, blue - (red + green) / 2], 1)
    colour = opponents[..., None] > torch.tensor(LEVELS)
    return torch.cat([shape, colour.flatten(1)], 1).float()


def _cosines(count: int, side: int) -> Tensor:
    """The first `count` rows of the discrete cosine transform of `side` numbers."""
    places = torch.arange(side) + 0.5
    return torch.cos(math.pi / side * torch.arange(count)[:, None] * places)


HASHED, LEVELS = 32, (-0.2, -0.05, 0.05, 0.2)
_COSINES = _cosines(8, HASHED)
DETECTORS = ("distance", "ratio", "hash")
