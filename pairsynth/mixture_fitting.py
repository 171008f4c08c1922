"""Fit Gaussian mixtures over vectors after PCA; held-out likelihood chooses the mixture.

Shapes: N rows, D dimension of the vectors, R dimension after PCA, K components, C channels of phi.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from pairsynth.config import check, check_between
from pairsynth.errors import InputError
from pairsynth.memory import check_bytes
from pairsynth.minimums import FEWEST
from pairsynth.mixture import Array, Mixture

COVARIANCES = ("diag", "full")
FITTED = 10  # rows fitted, where there are more, however many are held out
EACH = 5  # rows to each component at least


@dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """Section `fit_gmm` of params.yaml.

    psi_dimensions: principal components of psi that the mixture over captions sees.
    phi_dimensions: principal components of phi that the mixture over images sees.
    max_components: 1, 2, 4, 8 ... components are tried up to this many, diagonal and full.
    rows: vectors the mixtures are fitted to at most, drawn evenly.
    held_out: share of these rows that chooses components and covariance by its likelihood.
    """

    psi_dimensions: int
    phi_dimensions: int
    max_components: int
    rows: int
    held_out: float

    def __post_init__(self) -> None:
        check_between(self, 1, 4096, "psi_dimensions", "phi_dimensions", "max_components")
        check_between(self, FEWEST["train"], 1_000_000, "rows")
        check(0 < self.held_out < 1, "held_out", self.held_out, "between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class TriedMixture:
    """A mixture that was tried: mean log-likelihoods per row in nats, BIC of the fitted rows."""

    over: str
    components: int
    covariance: str
    log_likelihood: float
    held_out: float
    bic: float


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The result of fitting over "psi" or "phi": the mixture kept, and all that were tried."""

    over: str
    mixture: Mixture
    tried: list[TriedMixture]


def fit_both(
    psi: Tensor,
    pixels: Tensor,
    phi_of: Callable[[Tensor], Tensor],
    config: MixtureConfig,
    rng: np.random.Generator,
) -> Iterator[Fit]:
    """The mixtures over psi (captions, D) and over phi of uint8 images (images, 3, S, S).

    phi_of: images (N, 3, S, S) to phi (N, C, 4, 4). It is given those alone that are fitted.
    """
    vectors = psi[drawn(len(psi), config, rng)]  # (N, D)
    yield fit("psi", vectors.double().numpy(), config.psi_dimensions, config, rng)
    phi = phi_of(pixels[drawn(len(pixels), config, rng)]).flatten(1)  # (N, 16 C)
    yield fit("phi", phi.double().numpy(), config.phi_dimensions, config, rng)


def drawn(count: int, config: MixtureConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    """Up to `config.rows` of `count` rows, in random order: (N)."""
    return rng.permutation(count)[: config.rows]


def fit(
    over: str, vectors: Array, dimensions: int, config: MixtureConfig, rng: np.random.Generator
) -> Fit:
    """Fit PCA and mixtures to vectors (N, D); keep the one of greatest held-out likelihood.

    The first vectors are held out: give them in random order.

    Raises:
        InputError: where there are fewer than `minimums.FEWEST` vectors, or all are alike.
    """
    least = FEWEST["train"]
    if len(vectors) < least:
        raise InputError(
            f"fit_gmm: {len(vectors)} vectors of {over} are too few; {least} are needed"
        )
    rows = len(vectors)
    kept = min(max(1, int(config.held_out * rows)), rows - min(FITTED, rows - 1))
    held_out, fitted = np.split(vectors, [kept])  # (kept, D), (N - kept, D)
    if not fitted.std(0).any():
        raise InputError(f"fit_gmm: all vectors of {over} are alike; train_gan or embed collapsed")
    directions = min(dimensions, len(fitted) - 1, fitted.shape[1])  # in which N rows differ
    pca = PCA(directions, svd_solver="full").fit(fitted)
    train, test = pca.transform(fitted), pca.transform(held_out)  # (N - kept, R), (kept, R)
    most = max(1, min(config.max_components, len(train) // EACH))
    check_bytes(
        24 * most * (len(train) + train.shape[1] ** 2),  # shares, covariances, and what they take
        f"params.yaml: fit_gmm over {over}",
        f"lower fit_gmm.max_components, .{over}_dimensions or .rows",
    )
    tried = [
        _try(over, train, test, components, covariance, int(rng.integers(2**31)))
        for components in _doublings(most)
        for covariance in COVARIANCES
    ]
    best, _ = max(tried, key=lambda pair: pair[1].held_out)
    mixture = Mixture(
        mean=pca.mean_,
        basis=pca.components_,
        explained=pca.explained_variance_ratio_.sum(keepdims=True),
        weights=best.weights_ / best.weights_.sum(),
        means=best.means_,
        factors=_factors(best),
    )
    return Fit(over=over, mixture=mixture, tried=[one for _, one in tried])


def summary(fits: list[Fit]) -> dict[str, float | int | str]:
    """What `fit_gmm` reports of each mixture kept."""
    told: dict[str, float | int | str] = {}
    for one in fits:
        kept = max(one.tried, key=lambda one: one.held_out)
        told[f"{one.over}_components"] = kept.components
        told[f"{one.over}_covariance"] = kept.covariance
        told[f"{one.over}_held_out_log_likelihood"] = kept.held_out
        told[f"{one.over}_explained_variance"] = float(one.mixture.explained[0])
    return told


def _doublings(top: int) -> list[int]:
    return [2**i for i in range(top.bit_length())]


def _try(
    over: str, train: Array, test: Array, components: int, covariance: str, seed: int
) -> tuple[GaussianMixture, TriedMixture]:
    model = GaussianMixture(
        components, covariance_type=covariance, reg_covar=1e-5, max_iter=60, random_state=seed
    )
    with warnings.catch_warnings():
        # 60 rounds settle the likelihood to a hundredth of a nat; held-out rows judge the rest.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train)
    one = TriedMixture(
        over=over,
        components=components,
        covariance=covariance,
        log_likelihood=float(model.score(train)),
        held_out=float(model.score(test)),
        bic=float(model.bic(train)),
    )
    return model, one


def _factors(model: GaussianMixture) -> Array:
    if model.covariance_type == "diag":
        # (K, R) -> (K, R, R)
        return np.stack([np.diag(np.sqrt(row)) for row in model.covariances_])
    return np.linalg.cholesky(model.covariances_)  # L L' = Sigma, (K, R, R)
