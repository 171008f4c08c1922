"""Draw the captions that a training step learns from."""

import torch
from torch import Tensor


def one_caption(rows: Tensor, first: Tensor, rng: torch.Generator) -> Tensor:
    """For each image of `rows` (N) the flat row (N) of one of its captions, drawn uniformly."""
    draw = torch.rand(len(rows), generator=rng, device=rng.device).to(rows.device)
    count = first[rows + 1] - first[rows]  # (N), captions of each image
    return first[rows] + (draw * count).long().clamp(max=count - 1)
