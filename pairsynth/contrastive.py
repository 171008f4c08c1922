"""The contrastive loss between images and captions."""

import torch
from torch import Tensor
from torch.nn import functional as F

SCALE = 10.0  # one over the temperature


def contrastive_loss(
    left: Tensor, right: Tensor, class_ids: Tensor, scale: Tensor | float = SCALE
) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al., arXiv 1807.03748) of unit vectors.

    Row i of `left` (N, D) belongs to row i of `right` (M, D), M >= N; the rows of `right` after
    those are negatives of all of `left`. class_ids: of `right` (M). Other rows of the same class
    are no negatives and are left out of the sum; each row of class -1 (unknown) is a class of its
    own.
    """
    logits = scale * left.float() @ right.float().T  # (N, D) (D, M) -> (N, M)
    same = (class_ids[: len(left), None] == class_ids) & (class_ids >= 0)  # (N, M)
    logits = logits.masked_fill(same.fill_diagonal_(False), -torch.inf)
    # -[log softmax(logits)_ii + log softmax(logits')_ii] / 2, the mean over i
    target = torch.arange(len(left), device=left.device)
    own = logits[:, : len(left)]  # (N, N)
    return (F.cross_entropy(logits, target) + F.cross_entropy(own.T, target)) / 2
