"""The contrastive loss between images and captions."""

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(
    left: Tensor, right: Tensor, class_ids: Tensor, scale: Tensor | float
) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al., arXiv 1807.03748) between unit vectors (N, D).

    Row i of `left` belongs to row i of `right`. Other rows of the same class are no negatives and
    are left out of the sum; each row of class -1 (unknown) is a class of its own.
    """
    logits = scale * left.float() @ right.float().T  # (N, N)
    same = (class_ids[:, None] == class_ids) & (class_ids[:, None] >= 0)
    same.fill_diagonal_(False)
    logits = logits.masked_fill(same, -torch.inf)
    # -[log softmax(logits)_ii + log softmax(logits')_ii] / 2, the mean over i
    target = torch.arange(len(left), device=left.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
