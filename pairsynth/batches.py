"""What a step of train_gan learns from: images, their captions, and captions of other classes."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pairsynth import parallel
from pairsynth.examples import Embeddings, Examples
from pairsynth.images import random_crop_flip, to_network
from pairsynth.sampling import one_caption


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images (N, 3, S, S), psi of their captions and of wrong ones (N, D), class_ids (N).

    noise: (N, Z), what each image has beside its captions.
    """

    images: Tensor
    psi: Tensor
    wrong_psi: Tensor
    noise: Tensor
    class_ids: Tensor


class Batches:
    """Everything on the device once; a step takes its rows by index, none in Python."""

    def __init__(
        self,
        examples: Examples,
        embeddings: Embeddings,
        noise: Tensor,
        size: int,
        image_size: int,
        device: torch.device,
    ) -> None:
        order = examples.class_ids.argsort(stable=True)
        self.size, self.image_size = parallel.whole_batch(size, len(order)), image_size
        self.pixels = examples.pixels.to(device)
        self.psi = embeddings.psi.to(device)
        self.noise = noise.to(device)
        self.first = examples.first_caption.to(device)
        self.class_ids = examples.class_ids.to(device)
        self.order = order.to(device)
        self.start, self.count = (t.to(device) for t in class_ranges(examples.class_ids[order]))
        self.position = order.argsort().to(device)

    def epoch(self, rng: torch.Generator) -> Iterator[Batch]:
        """All images in a new order, one caption each; the incomplete last batch is left out.

        Where several processes train, each gets its share of every batch.
        """
        count = len(self.order)
        order = torch.randperm(count, generator=rng, device=self.order.device)
        order = parallel.same(order)
        for batch in order[: count // self.size * self.size].split(self.size):
            rows = parallel.own(batch)
            # (B) rows of pixels (N, 3, H, W), and for each one of its captions' psi (B, D)
            images = random_crop_flip(self.pixels[rows], self.image_size, rng)
            psi = self.psi[one_caption(rows, self.first, rng)]
            wrong = self.psi[one_caption(self.wrong_rows(rows, rng), self.first, rng)]
            yield Batch(
                images=to_network(images),
                psi=psi,
                wrong_psi=wrong,
                noise=self.noise[rows],
                class_ids=self.class_ids[rows],
            )

    def wrong_rows(self, rows: Tensor, rng: torch.Generator) -> Tensor:
        """For each image of `rows` (N) one of another class, drawn evenly from all of those."""
        place = self.position[rows]
        start, count = self.start[place], self.count[place]
        draw = torch.rand(len(rows), generator=rng, device=rows.device)  # (N)
        # A place among the rows that are not of the class; those after it lie `count` further.
        others = len(self.order) - count
        skipped = (draw * others).long().clamp(max=others - 1)
        return self.order[torch.where(skipped < start, skipped, skipped + count)]


def class_ranges(sorted_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row's class starts, and its size, in class ids (N) sorted upwards.

    Images of unknown class (-1), and those of a set that has one class only, are each a class
    of their own.
    """
    rows = torch.arange(len(sorted_ids))
    one_class = bool((sorted_ids == sorted_ids[0]).all())
    keys = (
        rows - len(rows) if one_class else torch.where(sorted_ids < 0, rows - len(rows), sorted_ids)
    )
    _, inverse, counts = keys.unique_consecutive(return_inverse=True, return_counts=True)
    starts = counts.cumsum(0) - counts
    return starts[inverse], counts[inverse]
