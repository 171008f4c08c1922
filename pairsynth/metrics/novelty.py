"""Is a pair new? Per row: the nearest training picture and caption, and what kind of pair it is.

Shapes: N rows, M training pictures, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth.artifacts import Pictures
from pairsynth.images import center_crop
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

    nearest_image: id of the nearest training picture. image_distance: root mean square difference
    of the two thumbnails, 0 to 1. nearest_caption: the nearest training caption by psi.
    caption_similarity: the cosine of the two. caption_seen: word for word in train.
    """

    kind: str
    nearest_image: str
    image_distance: float
    nearest_caption: str
    caption_similarity: float
    caption_seen: bool


class NoveltyIndex:
    """Train pictures and captions to compare with.

    A picture counts as seen where it is nearer to a training picture, or to its mirror image,
    than all but `FALSE_ALARMS` of real held-out pictures are.
    """

    def __init__(self, train: Pictures, psi: Tensor, held_out: Pictures, size: int) -> None:
        """psi (captions, D) of the train captions; pictures are compared at `size` pixels."""
        self.train, self.psi, self.size = train, psi, size
        self.thumbnails = thumbnails(center_crop(train.pixels, size))
        self.captions = train.flat_captions
        self.owners: dict[str, set[int]] = {}
        for row, captions in enumerate(train.captions):
            for caption in captions:
                self.owners.setdefault(normalize(caption), set()).add(row)
        distances, _ = self.nearest_images(center_crop(held_out.pixels, size))
        self.threshold = float(torch.quantile(distances, FALSE_ALARMS))

    def nearest_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Distance (N) and row (N) of the training picture nearest to each uint8 (N, 3, S, S)."""
        own, mirrored = thumbnails(pixels), thumbnails(pixels.flip(3))
        distance, row = nearest(own, self.thumbnails)
        other, other_row = nearest(mirrored, self.thumbnails)
        closer = other < distance
        return torch.where(closer, other, distance), torch.where(closer, other_row, row)

    def judge(self, pixels: Tensor, captions: Sequence[str], psi: Tensor) -> list[Novelty]:
        """One `Novelty` for each picture, caption and psi (N, D) of the caption."""
        distances, rows = self.nearest_images(pixels)
        similarity, place = _nearest_cosine(psi, self.psi)
        return [
            self._row(*row)
            for row in zip(
                captions,
                distances.tolist(),
                rows.tolist(),
                similarity.tolist(),
                place.tolist(),
                strict=True,
            )
        ]

    def _row(
        self, caption: str, distance: float, row: int, similarity: float, place: int
    ) -> Novelty:
        owners = self.owners.get(normalize(caption), set())
        kind = kind_of(distance <= self.threshold, bool(owners), row in owners)
        return Novelty(
            kind, self.train.ids[row], distance, self.captions[place], similarity, bool(owners)
        )


def kind_of(image_seen: bool, caption_seen: bool, together: bool) -> str:
    """What the parts of a pair say of the whole; `together`: the caption is the seen picture's."""
    if not image_seen:
        return NEW_IMAGE if caption_seen else NEW
    if not caption_seen:
        return NEW_CAPTION
    return COPY if together else RECOMBINATION


def thumbnails(pixels: Tensor) -> Tensor:
    """uint8 (N, 3, S, S) to means over a 16 x 16 raster, (N, 768) in [0, 1]."""
    parts = [F.adaptive_avg_pool2d(p.float() / 255, THUMBNAIL) for p in pixels.split(1024)]
    return torch.cat(parts).flatten(1)


def nearest(queries: Tensor, references: Tensor, block: int = 1024) -> tuple[Tensor, Tensor]:
    """Root mean square distance (N) to, and row (N) of, the nearest of references (M, F).

    Exact, in blocks: about the mean, where a squared norm does not drown small differences, and
    the distance is taken from the difference itself, so a copy is at exactly 0.
    """
    middle = references.mean(0)
    queries, references = queries - middle, references - middle
    square = (references**2).sum(1)
    rows = torch.cat(
        [(square - 2 * part @ references.T).argmin(1) for part in queries.split(block)]
    )
    return (queries - references[rows]).square().mean(1).sqrt(), rows


def _nearest_cosine(queries: Tensor, references: Tensor, block: int = 512) -> tuple[Tensor, Tensor]:
    best = [(part @ references.T).max(1) for part in queries.split(block)]
    return torch.cat([b.values for b in best]), torch.cat([b.indices for b in best])
