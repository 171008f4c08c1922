"""Which captions a step of a training learns from."""

import torch
from torch import Tensor


def one_caption(rows: Tensor, first: Tensor, rng: torch.Generator) -> Tensor:
    """For each image of `rows` (N) the flat row of one of its captions, drawn evenly."""
    draw = torch.rand(len(rows), generator=rng, device=rng.device).to(rows.device)
    count = first[rows + 1] - first[rows]
    return first[rows] + (draw * count).long().clamp(max=count - 1)
