"""Distances between sets of images: KID, Fréchet, precision and coverage, Vendi.

Every measure takes features (N, F) and (M, F), float, from any network. Sets are compared at equal
numbers of rows, since most measures depend on it. Random subsets are drawn from rows sorted by
content, so that the order of rows does not matter.

Raises (all measures):
    ValueError: for features that are not finite, or fewer rows than the measure needs.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import linregress
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from pairsynth.metrics.agreement import Share

SUBSETS = 50
SUBSET_SIZE = 200
NEIGHBOURS = 5
FRECHET_SIZES = 8
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The value of the whole sets, and the 95 % interval of values of random subsets."""

    value: float
    low: float
    high: float


def kid(real: Tensor, drawn: Tensor, rng: torch.Generator) -> Estimate:
    """Kernel distance, unbiased, cubic kernel (Binkowski et al., arXiv 1801.01401); 0 is alike.

    The value is that of all rows, which is what the mean over subsets estimates; the interval is
    that of `SUBSETS` random subsets of `SUBSET_SIZE` rows, or of as many as the smaller set has.
    """
    size = min(SUBSET_SIZE, _enough(real, 2), _enough(drawn, 2))
    real, drawn = in_order(real), in_order(drawn)
    values = torch.stack(
        [_mmd(_subset(real, size, rng), _subset(drawn, size, rng)) for _ in range(SUBSETS)]
    )
    low, high = values.quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    return Estimate(value=float(_mmd(real, drawn)), low=low, high=high)


def in_order(features: Tensor) -> Tensor:
    """The rows (N, F) in lexicographic order of their features."""
    rows = np.lexsort(features.detach().cpu().numpy().T[::-1])
    return features[torch.from_numpy(rows.copy())]


def _mmd(left: Tensor, right: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy of two sets."""
    # sum_{i != j} k(x_i, x_j) / n (n - 1) of each set, minus 2 mean_{ij} k(x_i, y_j)
    within = [
        (kernel.sum() - kernel.trace()) / (len(kernel) * (len(kernel) - 1))
        for kernel in (_cubic(left, left), _cubic(right, right))
    ]
    return within[0] + within[1] - 2 * _cubic(left, right).mean()


def _cubic(left: Tensor, right: Tensor) -> Tensor:
    return (left.double() @ right.double().T / left.shape[1] + 1) ** 3  # (N, F), (M, F) -> (N, M)


def _subset(features: Tensor, size: int, rng: torch.Generator) -> Tensor:
    return features[torch.randperm(len(features), generator=rng)[:size]]


def frechet(real: Tensor, drawn: Tensor) -> float:
    """Distance of the Gaussians of both sets: |m - m'|^2 + tr(S + S' - 2 (S S')^1/2).

    It is biased upwards, more so with fewer rows; see `frechet_infinity`.
    """
    _enough(real, 2), _enough(drawn, 2)
    (mean, cov), (other_mean, other_cov) = _moments(real), _moments(drawn)
    values, vectors = torch.linalg.eigh(cov)  # (F), (F, F)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # S^1/2, (F, F)
    # tr (S S')^1/2 = tr (S^1/2 S' S^1/2)^1/2, whose matrix is symmetric
    cross = torch.linalg.eigvalsh(root @ other_cov @ root).clamp(min=0).sqrt().sum()
    return float((mean - other_mean).square().sum() + cov.trace() + other_cov.trace() - 2 * cross)


def principal(real: Tensor, drawn: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Both sets projected on the first `count` principal components of the real one."""
    first, second = real.double().numpy(), drawn.double().numpy()
    pca = PCA(min(count, *first.shape), svd_solver="covariance_eigh").fit(first)
    # (N, F) -> (N, count)
    return torch.from_numpy(pca.transform(first)), torch.from_numpy(pca.transform(second))


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    # (N, F) -> (F), (F, F)
    return features.double().mean(0), torch.atleast_2d(torch.cov(features.double().T))


def frechet_infinity(real: Tensor, drawn: Tensor, rng: torch.Generator) -> float:
    """The Fréchet distance extrapolated to infinitely many rows (arXiv 1911.07023).

    The distance at several numbers of rows is linear in 1 / number; this is the line's intercept.

    Raises:
        ValueError: where there are fewer rows than four times the features.
    """
    most = min(_enough(real, 1), _enough(drawn, 1))
    real, drawn = in_order(real), in_order(drawn)
    least = 2 * real.shape[1]
    if most < 2 * least:
        raise ValueError(f"{most} rows; {real.shape[1]} features need {2 * least} or more")
    sizes = torch.linspace(least, most, FRECHET_SIZES).long().tolist()
    values = [frechet(_subset(real, size, rng), _subset(drawn, size, rng)) for size in sizes]
    return float(linregress([1 / size for size in sizes], values).intercept)


@dataclass(frozen=True, kw_only=True)
class Manifold:
    """Precision, recall, density and coverage of drawn rows; see `manifold`."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(real: Tensor, drawn: Tensor) -> Manifold:
    """Precision and recall (arXiv 1904.06991), density and coverage (arXiv 2002.09797).

    Each row has a ball that reaches to the fifth nearest neighbour in its own set. precision: share
    of drawn rows inside of a real ball; recall: the reverse; density: mean number of real balls
    around a drawn row over 5; coverage: share of real balls with a drawn row.

    Raises:
        ValueError: for sets of unequal size, or of `NEIGHBOURS` rows or fewer.
    """
    if len(real) != len(drawn):
        raise ValueError(f"{len(real)} real and {len(drawn)} drawn rows; take as many of each")
    _enough(real, NEIGHBOURS + 1), _enough(drawn, NEIGHBOURS + 1)
    reach, drawn_reach = _radii(real), _radii(drawn)  # (N) each
    apart = torch.cdist(real.double(), drawn.double())  # (N real, N drawn)
    inside = apart <= reach[:, None]  # (N real, N drawn): a drawn row in a real ball
    return Manifold(
        precision=float(inside.any(0).double().mean()),
        recall=float((apart <= drawn_reach).any(1).double().mean()),
        density=float(inside.double().sum(0).mean() / NEIGHBOURS),
        coverage=float((apart.amin(1) <= reach).double().mean()),
    )


def _radii(features: Tensor) -> Tensor:
    """Distance (N) of each row to its fifth neighbour; its nearest is the row itself."""
    apart = torch.cdist(features.double(), features.double())  # (N, N)
    return apart.fill_diagonal_(0).kthvalue(NEIGHBOURS + 1, dim=1).values


def vendi(features: Tensor) -> float:
    """Vendi score, the effective number of different rows (arXiv 2210.02410), 1 to N.

    exp(-sum l log l) of the eigenvalues l of the cosine kernel over N, computed from the smaller of
    the two matrices that have the same nonzero ones.
    """
    _enough(features, 1)
    rows = torch.nn.functional.normalize(features.double(), dim=1)
    square = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows  # (N, N) or (F, F)
    shares = torch.linalg.eigvalsh(square / len(rows)).clamp(min=0)  # they sum to 1
    return math.exp(-float(torch.special.xlogy(shares, shares).sum()))


def told_apart(real: Tensor, drawn: Tensor) -> Share:
    """Accuracy of logistic regression in telling real from drawn, over five folds; half is chance.

    The classifier two-sample test (Lopez-Paz and Oquab, arXiv 1610.06545).
    """
    size = min(_enough(real, FOLDS), _enough(drawn, FOLDS))
    sets = [
        some[torch.linspace(0, len(some) - 1, size).round().long()]
        for some in (in_order(real), in_order(drawn))
    ]
    features = torch.cat(sets).double().numpy()  # (2 size, F)
    truth = [0] * size + [1] * size
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    said = cross_val_predict(model, features, truth, cv=folds)
    return Share(int((said == truth).sum()), 2 * size)


def _enough(features: Tensor, least: int) -> int:
    """The number of rows, checked to be at least `least` and all finite."""
    if len(features) < least:
        raise ValueError(f"{len(features)} rows; this measure needs {least} or more")
    odd = (~features.isfinite().all(1)).nonzero()[:, 0]
    if len(odd):
        raise ValueError(f"features of row {int(odd[0])} are not finite; look at its image")
    return len(features)
