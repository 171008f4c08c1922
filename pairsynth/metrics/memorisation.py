"""Is a set as a whole too near to its training set: three global scores.

They take features (N, F). A few copies hardly change any of them, so the per-row checks (`novelty`)
are more important; read these beside the value of real held-out rows.
"""

import math

import torch
from torch import Tensor

from pairsynth.metrics.agreement import Share


def authenticity(rows: Tensor, train: Tensor) -> Share:
    """The share of rows further from their nearest training row than that is from its own.

    Alaa et al., arXiv 2102.08921. For real held-out rows it is about a half, not 1.
    """
    apart = _checked(torch.cdist(rows.double(), train.double()))  # (N, M)
    among = torch.cdist(train.double(), train.double()).fill_diagonal_(torch.inf)  # (M, M)
    distance, nearest = apart.min(1)  # (N) each
    return Share(int((distance > among.amin(1)[nearest]).sum()), len(rows))


def data_copying(rows: Tensor, held_out: Tensor, train: Tensor) -> float:
    """C_T of one cell (Meehan et al., arXiv 2004.05675): below 0 where rows are nearer to train.

    The Mann-Whitney statistic of the distances to the nearest training row, as a z score: between
    -2 and 2 for real rows.
    """
    own, real = (_nearest(some, train) for some in (rows, held_out))  # (N), (H)
    # U = #(own > real) + #(own = real) / 2 of all pairs, (N, H); z = (U - mean) / deviation
    above = (own[:, None] > real).double() + 0.5 * (own[:, None] == real).double()
    count = len(own) * len(real)
    deviation = math.sqrt(count * (len(own) + len(real) + 1) / 12)
    return (float(above.sum()) - count / 2) / deviation


def nearer_to_train(rows: Tensor, held_out: Tensor, train: Tensor) -> Share:
    """The share of rows nearer to train than to as many held-out rows; a half for real ones."""
    if len(held_out) != len(train):
        raise ValueError(f"{len(held_out)} held-out and {len(train)} training rows; take as many")
    return Share(int((_nearest(rows, train) < _nearest(rows, held_out)).sum()), len(rows))


def _nearest(rows: Tensor, references: Tensor) -> Tensor:
    return _checked(torch.cdist(rows.double(), references.double())).amin(1)


def _checked(apart: Tensor) -> Tensor:
    if not apart.numel():
        raise ValueError("no rows; this measure needs one or more of each set")
    if apart.isnan().any():
        raise ValueError("features are not finite; look at the images that gave them")
    return apart
