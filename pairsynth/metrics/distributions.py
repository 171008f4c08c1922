"""Are drawn pictures like real ones, as sets: KID, Fréchet, precision and coverage, Vendi.

Every measure takes features, whatever made them: (N, F) and (M, F), float. Sets are compared at
the same number of rows, for most of these change with it.
"""

import math
from dataclasses import dataclass

import torch
from scipy.stats import linregress
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from pairsynth.metrics.agreement import Share

SUBSETS = 50
SUBSET_SIZE = 200
NEIGHBOURS = 5
FRECHET_SIZES = 8


@dataclass(frozen=True)
class Spread:
    """A mean over random subsets, and between what 95 % of them lie."""

    mean: float
    low: float
    high: float


def kid(real: Tensor, drawn: Tensor, randomness: torch.Generator) -> Spread:
    """Kernel distance, unbiased, cubic kernel (Binkowski et al., arXiv 1801.01401); 0 is alike.

    Over `SUBSETS` random subsets of `SUBSET_SIZE` rows, or of as many as the smaller set has.

    Raises:
        ValueError: for fewer than two rows in either.
    """
    size = min(SUBSET_SIZE, _enough(real, 2), _enough(drawn, 2))
    values = torch.stack(
        [
            _mmd(_subset(real, size, randomness), _subset(drawn, size, randomness))
            for _ in range(SUBSETS)
        ]
    )
    low, high = values.quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    return Spread(float(values.mean()), low, high)


def _mmd(left: Tensor, right: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy of two sets of equal size."""
    within = [
        (kernel.sum() - kernel.trace()) for kernel in (_cubic(left, left), _cubic(right, right))
    ]
    return sum(within) / (len(left) * (len(left) - 1)) - 2 * _cubic(left, right).mean()


def _cubic(left: Tensor, right: Tensor) -> Tensor:
    return (left.double() @ right.double().T / left.shape[1] + 1) ** 3


def _subset(features: Tensor, size: int, randomness: torch.Generator) -> Tensor:
    return features[torch.randperm(len(features), generator=randomness)[:size]]


def frechet(real: Tensor, drawn: Tensor) -> float:
    """Distance of the two Gaussians that fit: |m - m'|^2 + tr(S + S' - 2 (S S')^1/2).

    It is biased upwards, the more the fewer the rows; see `frechet_infinity`.
    """
    (mean, cov), (other_mean, other_cov) = _moments(real), _moments(drawn)
    values, vectors = torch.linalg.eigh(cov)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ other_cov @ root).clamp(min=0).sqrt().sum()
    return float((mean - other_mean).square().sum() + cov.trace() + other_cov.trace() - 2 * cross)


def principal(real: Tensor, drawn: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Both sets in the first `count` principal components of the real one."""
    middle = real.mean(0)
    _, axes = torch.linalg.eigh(torch.cov(real.double().T))
    axes = axes[:, -count:].float()
    return (real - middle) @ axes, (drawn - middle) @ axes


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    return features.double().mean(0), torch.atleast_2d(torch.cov(features.double().T))


def frechet_infinity(real: Tensor, drawn: Tensor, randomness: torch.Generator) -> float:
    """The Fréchet distance of ever more rows (Chong and Forsyth, arXiv 1911.07023).

    Measured at several sizes, it is a line in one over the size; this is where the line ends.

    Raises:
        ValueError: where there are fewer rows than four times the features.
    """
    most = min(len(real), len(drawn))
    least = 2 * real.shape[1]
    if most < 2 * least:
        raise ValueError(f"{most} rows; {real.shape[1]} features need {2 * least} or more")
    sizes = torch.linspace(least, most, FRECHET_SIZES).long().tolist()
    values = [
        frechet(_subset(real, size, randomness), _subset(drawn, size, randomness)) for size in sizes
    ]
    return float(linregress([1 / size for size in sizes], values).intercept)


@dataclass(frozen=True)
class Manifold:
    """Share of drawn within real (precision) and real within drawn (recall); density, coverage."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(real: Tensor, drawn: Tensor) -> Manifold:
    """Precision and recall (arXiv 1904.06991), density and coverage (arXiv 2002.09797).

    A set's neighbourhoods are balls that reach to each row's fifth neighbour; both sets need the
    same number of rows.

    Raises:
        ValueError: for sets of unequal size, or of `NEIGHBOURS` rows or fewer.
    """
    if len(real) != len(drawn):
        raise ValueError(f"{len(real)} real and {len(drawn)} drawn rows; take as many of each")
    _enough(real, NEIGHBOURS + 1)
    reach, drawn_reach = _radii(real), _radii(drawn)
    apart = torch.cdist(real.double(), drawn.double())
    inside = apart <= reach[:, None]
    return Manifold(
        precision=float(inside.any(0).double().mean()),
        recall=float((apart <= drawn_reach).any(1).double().mean()),
        density=float(inside.double().sum(0).mean() / NEIGHBOURS),
        coverage=float((apart.amin(1) <= reach).double().mean()),
    )


def _radii(features: Tensor) -> Tensor:
    """Distance of each row to its fifth neighbour; the nearest of all is the row itself."""
    apart = torch.cdist(features.double(), features.double())
    return apart.fill_diagonal_(0).kthvalue(NEIGHBOURS + 1, dim=1).values


def vendi(features: Tensor) -> float:
    """How many different rows there seem to be (Friedman and Dieng, arXiv 2210.02410), 1 to N.

    exp of the entropy of the eigenvalues of the cosine kernel, taken from the smaller of the two
    matrices that share them.
    """
    rows = torch.nn.functional.normalize(features.double(), dim=1)
    square = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    shares = torch.linalg.eigvalsh(square / len(rows)).clamp(min=0)
    return math.exp(-float(torch.special.xlogy(shares, shares).sum()))


def told_apart(real: Tensor, drawn: Tensor) -> Share:
    """How often logistic regression, over five folds, tells real from drawn; half is chance.

    The classifier two-sample test (Lopez-Paz and Oquab, arXiv 1610.06545).
    """
    size = min(_enough(real, NEIGHBOURS), _enough(drawn, NEIGHBOURS))
    features = torch.cat([real[:size], drawn[:size]]).double().numpy()
    truth = [0] * size + [1] * size
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    said = cross_val_predict(model, features, truth, cv=5)
    return Share(int((said == truth).sum()), 2 * size)


def _enough(features: Tensor, least: int) -> int:
    if len(features) < least:
        raise ValueError(f"{len(features)} rows; this measure needs {least} or more")
    return len(features)
