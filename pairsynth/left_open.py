"""What captions leave open about their images: where psi strays, and the noise of a real image.

Shapes: N images, M captions, D psi's dimension, Z noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth.examples import Embeddings, Examples
from pairsynth.sampling import class_groups


@dataclass(frozen=True, kw_only=True)
class LeftOpen:
    """Of a train split.

    directions: A (D, Z), so that A A' is the covariance of psi among captions of one image.
    noise: (N, Z), for each image what no linear way from its captions tells of its joint vector, in
        units of deviation: the noise from which a generator would draw it.
    share: of the variance of that, what differences among captions of one image do not cover;
        0 to 1.
    """

    directions: Tensor
    noise: Tensor
    share: float


def left_open(examples: Examples, embeddings: Embeddings, noise: int, reach: float) -> LeftOpen:
    """What captions leave open, in `noise` numbers. reach: of A, a factor.

    Of all principal components the Z largest. Where each image has one caption only, A is that of
    captions of one class; where there are no classes either, it is 0: nothing is known.
    """
    psi, rows = embeddings.psi.double(), torch.arange(len(examples))  # (M, D), (N)
    counts = examples.first_caption.diff()
    own = rows.repeat_interleave(counts)  # (M): the image of each caption
    owner = own
    if (counts == 1).all():
        owner = class_groups(examples.class_ids)
    means, members, groups = _group_means(psi, owner)
    among_captions = _components(psi - means[members], max(1, len(psi) - groups), noise)
    # In a draw noise does not depend on psi, so nothing that captions tell may be in it.
    told = F.pad(_group_means(psi, own)[0], (0, 1), value=1.0)  # (N, D + 1)
    images = embeddings.image.double()  # (N, D)
    beside = images - told @ torch.linalg.lstsq(told, images, driver="gelsd").solution
    among_images = _components(beside, len(beside), noise)
    # (N, D) (D, Z) / (Z): directions are orthogonal, their squared lengths are the variances.
    variances = among_images.square().sum(0)
    numbers = beside @ among_images / variances.clamp(min=1e-12)
    # Where captions tell all, nothing is left, but for rounding.
    rounding = 1e-6 * images.var(0).sum()
    covered = reach**2 * among_captions.square().sum() + rounding
    return LeftOpen(
        directions=(reach * among_captions).float(),
        noise=numbers.float(),
        share=1 - min(1.0, (covered / (variances.sum() + rounding)).item()),
    )


def _group_means(vectors: Tensor, owner: Tensor) -> tuple[Tensor, Tensor, int]:
    """Means (G, D) of vectors (M, D) of one owner each, the group of each (M), and G."""
    _, members, counts = owner.unique(return_inverse=True, return_counts=True)
    sums = vectors.new_zeros(len(counts), vectors.shape[1]).index_add_(0, members, vectors)
    return sums / counts[:, None], members, len(counts)


def _components(left: Tensor, freedom: int, count: int) -> Tensor:
    """(D, count): the largest principal components of left (N, D), as long as their deviation."""
    values, vectors = torch.linalg.eigh(left.T @ left / freedom)  # the largest last
    found = (vectors * values.clamp(min=0).sqrt())[:, -count:]  # (D, count at most)
    return F.pad(found, (count - found.shape[1], 0))
