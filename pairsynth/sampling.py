"""Which captions a training step learns from, and which images are of one group."""

import torch
from torch import Tensor


def one_caption(rows: Tensor, first: Tensor, rng: torch.Generator) -> Tensor:
    """For each image of `rows` (N) the flat row (N) of one of its captions, drawn uniformly."""
    draw = torch.rand(len(rows), generator=rng, device=rng.device).to(rows.device)
    count = first[rows + 1] - first[rows]  # (N), captions of each image
    return first[rows] + (draw * count).long().clamp(max=count - 1)


def class_groups(class_ids: Tensor) -> Tensor:
    """Class ids (N), where each image of unknown class (-1) is a group of its own."""
    alone = torch.arange(len(class_ids), device=class_ids.device) + class_ids.max().clamp(min=0) + 1
    return torch.where(class_ids < 0, alone, class_ids)
