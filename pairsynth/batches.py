"""What a step of train_gan learns from: images, their captions, and captions of other classes."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pairsynth import parallel
from pairsynth.examples import Embeddings, Examples
from pairsynth.images import random_crop_flip, to_network
from pairsynth.sampling import class_groups, one_caption


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images (N, 3, S, S), psi of their captions and of wrong ones (N, D), class_ids (N).

    class_ids: images of unknown class are each a class of their own.
    noise: (N, Z), what each image has beside its captions.
    rival_psi: (R, D), psi of captions of any images; rival_class_ids: (R).
    """

    images: Tensor
    psi: Tensor
    wrong_psi: Tensor
    noise: Tensor
    class_ids: Tensor
    rival_psi: Tensor
    rival_class_ids: Tensor


RIVALS = 512  # captions drawn beside those of a batch: psi is fixed, so they cost next to nothing


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
        class_ids = told_apart(examples.class_ids)
        order = class_ids.argsort(stable=True)
        self.size, self.image_size = parallel.whole_batch(size, len(order)), image_size
        self.pixels = examples.pixels.to(device)
        self.psi = embeddings.psi.to(device)
        self.noise = noise.to(device)
        self.first = examples.first_caption.to(device)
        self.class_ids = class_ids.to(device)
        self.order = order.to(device)
        self.start, self.count = (t.to(device) for t in class_ranges(class_ids[order]))
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
            # Images (B, 3, S, S) of rows (B), and psi (B, D) of a caption of each
            images = random_crop_flip(self.pixels[rows], self.image_size, rng)
            psi = self.psi[one_caption(rows, self.first, rng)]
            wrong = self.psi[one_caption(self.wrong_rows(rows, rng), self.first, rng)]
            rivals = torch.randint(count, (RIVALS,), generator=rng, device=self.order.device)  # (R)
            yield Batch(
                images=to_network(images),
                psi=psi,
                wrong_psi=wrong,
                noise=self.noise[rows],
                class_ids=self.class_ids[rows],
                rival_psi=self.psi[one_caption(rivals, self.first, rng)],
                rival_class_ids=self.class_ids[rivals],
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


def told_apart(class_ids: Tensor) -> Tensor:
    """Class ids (N) where images of unknown class (-1) are each a class of their own.

    So are all images of a set that has one class only: a caption of another is a wrong one.
    """
    one_class = bool((class_ids == class_ids[0]).all())
    return torch.arange(len(class_ids)) if one_class else class_groups(class_ids)


def class_ranges(sorted_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row's class starts, and its size (N), in class ids (N) sorted upwards."""
    _, inverse, counts = sorted_ids.unique_consecutive(return_inverse=True, return_counts=True)
    starts = counts.cumsum(0) - counts
    return starts[inverse], counts[inverse]
