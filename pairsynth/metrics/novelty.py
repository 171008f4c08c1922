"""Novelty of pairs: the nearest training image and caption of each, and its kind.

Shapes: N rows, M training images, F features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.fft import dct
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


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """The novelty of one pair. kind: NEW, NEW_IMAGE, NEW_CAPTION, RECOMBINATION or COPY.

    nearest_image: id of the nearest training image. image_distance: root mean square difference of
    the thumbnails, 0 to 1. image_ratio: that distance divided by that of the second nearest, near 0
    where a single training image was copied. nearest_caption: the nearest training caption by psi.
    nearest_caption_id: its `image_id#place`. caption_similarity: its cosine. caption_seen: whether
    the caption is in train word for word.
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
    """A search in one view of the training images, with thresholds for being too near.

    The thresholds are calibrated on real held-out images: a share of at most `false_alarms` of them
    is nearer than `distance`, and at most that share has a smaller ratio than `ratio`.
    """

    def __init__(
        self,
        features: Features,
        train: Tensor,
        held_out: Tensor,
        false_alarms: float,
        search: Callable[[Features, Tensor], Search] = Exact,
    ) -> None:
        """train, held_out: uint8 images (M, 3, S, S) and (N, 3, S, S). search: builds the search.

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
        """Which rows (N) are nearer than the threshold; distance 0 always counts."""
        return (near.distance < self.distance) | (near.distance == 0)

    def lonely(self, near: Near) -> Tensor:
        """Which rows (N) are far nearer to one training image than to the second nearest."""
        return near.ratio < self.ratio


class NoveltyIndex:
    """Judges the novelty of pairs against train images and captions.

    An image counts as seen if it is nearer to a training image, or to its mirror image, than all
    but `FALSE_ALARMS` of real held-out images: by distance of thumbnails, by the ratio of the first
    distance to the second, or by hashes. The three rules share the false alarms evenly.
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
        """The recall of the search by thumbnails; 1: it is exact."""
        return self.thumbnails.search.recall

    @property
    def threshold(self) -> float:
        """The distance of thumbnails below which an image counts as seen."""
        return self.thumbnails.distance

    def alarms(self, pixels: Tensor) -> tuple[Near, dict[str, Tensor]]:
        """Nearest by thumbnails, and the rows (N) that each of `DETECTORS` flags as seen."""
        near, hashed = self.thumbnails.find(pixels), self.hashes.find(pixels)
        flags = (
            self.thumbnails.alarming(near),
            self.thumbnails.lonely(near),
            hashed.distance < self.hashes.distance,
        )
        return near, dict(zip(DETECTORS, flags, strict=True))

    def judge(self, pixels: Tensor, captions: Sequence[str], psi: Tensor) -> list[Novelty]:
        """One `Novelty` per pair: uint8 (N, 3, S, S), captions, and psi (N, D) of captions."""
        if not captions:
            return []
        near, flags = self.alarms(pixels)
        seen = torch.stack(list(flags.values())).any(0)  # (3, N) -> (N)
        similarity, place = self.directions.find(psi)  # (N) each
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
            kind=kind_of(seen, bool(owners), row in owners),
            nearest_image=self.train.ids[row],
            image_distance=distance,
            image_ratio=ratio,
            nearest_caption=self.captions[place],
            nearest_caption_id=f"{self.train.ids[owner]}#{place - int(first[owner])}",
            caption_similarity=similarity,
            caption_seen=bool(owners),
        )


def kind_of(image_seen: bool, caption_seen: bool, together: bool) -> str:
    """The kind of a pair; together: the seen caption belongs to the seen image."""
    if not image_seen:
        return NEW_IMAGE if caption_seen else NEW
    if not caption_seen:
        return NEW_CAPTION
    return COPY if together else RECOMBINATION


def alarm(values: Tensor, rate: float) -> float:
    """The threshold that at most a share `rate` of `values` (N) is smaller than.

    Raises:
        ValueError: where one is not a number.
    """
    if values.isnan().any():
        raise ValueError("distances are not numbers; are the features finite?")
    return float(values.sort().values[min(int(rate * len(values)), len(values) - 1)])


def thumbnails(pixels: Tensor) -> Tensor:
    """Pixels (N, 3, S, S) of 0 to 255, averaged to 16 x 16, as (N, 768) in [0, 1]."""
    return _raster(pixels, THUMBNAIL).flatten(1)  # (N, 3, 16, 16) -> (N, 768)


def _raster(pixels: Tensor, side: int) -> Tensor:
    """Means over side x side cells, (N, 3, side, side) in [0, 1]; sums of integers are exact."""
    parts = [F.adaptive_avg_pool2d(p.float(), side) for p in pixels.split(1024)]
    return torch.cat(parts) / 255


def hashes(pixels: Tensor) -> Tensor:
    """Pixels (N, 3, S, S) to bits (N, 191), 0 or 1: a perceptual hash and a colour hash.

    Perceptual: which of the lowest 63 coefficients of the brightness's cosine transform are above
    their median. Colour: red - green and blue - (red + green) / 2 in 4 x 4 cells against `LEVELS`.
    """
    grey = _raster(pixels, HASHED).mean(1)  # (N, 32, 32)
    # C grey C', the lowest 8 x 8 frequencies, without the mean: (N, 63)
    low = (_COSINES @ grey @ _COSINES.T).flatten(1)[:, 1:]
    shape = low > low.median(1, keepdim=True).values
    red, green, blue = _raster(pixels, 4).unbind(1)  # (N, 4, 4) each
    opponents = torch.stack([red - green, blue - (red + green) / 2], 1)  # (N, 2, 4, 4)
    colour = opponents[..., None] > torch.tensor(LEVELS)  # (N, 2, 4, 4, 4)
    return torch.cat([shape, colour.flatten(1)], 1).float()


HASHED, LEVELS = 32, (-0.2, -0.05, 0.05, 0.2)
# The 8 lowest frequencies of the cosine transform of 32 numbers: (8, 32).
_COSINES = torch.from_numpy(dct(np.eye(HASHED), axis=0)[:8]).float()
DETECTORS = ("distance", "ratio", "hash")
