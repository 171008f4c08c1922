"""Density over vectors: p(x) = sum_k w_k N(x | mu_k, Sigma_k), fitted after PCA.

scikit-learn fits; sampling is here, because `GaussianMixture.sample` returns rows grouped by
component, and the same rows at every call with a whole-numbered seed.

Shapes: N rows, D dimension of the vectors, R dimension after PCA, K components.
"""

import hashlib
import io
import json
import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from pairsynth.artifacts import FORMAT, check_source, maker, remake, write_whole
from pairsynth.config import check
from pairsynth.errors import InputError

Array = NDArray[np.float64]

COVARIANCES = ("diag", "full")


@dataclass(frozen=True)
class MixtureConfig:
    """Section `fit_gmm` of params.yaml.

    psi_dimensions: principal components of psi that the mixture over captions sees.
    phi_dimensions: principal components of phi that the mixture over pictures sees.
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
        for key in ("psi_dimensions", "phi_dimensions", "max_components"):
            check(getattr(self, key) >= 1, key, getattr(self, key), "1 or more")
        check(self.rows >= 20, "rows", self.rows, "20 or more")
        check(0 < self.held_out < 1, "held_out", self.held_out, "between 0 and 1")


@dataclass(frozen=True)
class Candidate:
    """One mixture that was tried; log-likelihoods are nats a row, BIC is the fitted rows'."""

    over: str
    components: int
    covariance: str
    log_likelihood: float
    held_out: float
    bic: float


@dataclass(frozen=True)
class Fit:
    """What came of fitting: over "psi" or "phi", the mixture kept, and all that were tried."""

    over: str
    mixture: "Mixture"
    tried: list[Candidate]


@dataclass(frozen=True)
class Mixture:
    """A PCA and a mixture behind it.

    mean (D), basis (R, D): the PCA. explained: its share of the variance.
    weights (K), means (K, R), factors (K, R, R): Sigma_k = factor factor^T, lower triangular.
    """

    mean: Array
    basis: Array
    explained: Array
    weights: Array
    means: Array
    factors: Array

    def sample(self, randomness: np.random.Generator) -> tuple[Array, int]:
        """One vector (D) and the component it came from."""
        component = int(randomness.choice(len(self.weights), p=self.weights))
        return self.sample_of(component, randomness), component

    def sample_of(self, component: int, randomness: np.random.Generator) -> Array:
        """One vector (D) from one component."""
        noise = randomness.standard_normal(self.means.shape[1])
        return (self.means[component] + self.factors[component] @ noise) @ self.basis + self.mean

    def log_density(self, vectors: Array) -> Array:
        """log p (N) of vectors (N, D), in the space after PCA."""
        reduced = (vectors - self.mean) @ self.basis.T
        return np.asarray(np.logaddexp.reduce(list(self._log_terms(reduced)), axis=0))

    def _log_terms(self, reduced: Array) -> Iterator[Array]:
        constant = reduced.shape[1] * np.log(2 * np.pi)
        for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True):
            scaled = np.linalg.solve(factor, (reduced - mean).T)
            log_determinant = 2 * np.log(np.diagonal(factor)).sum()
            square = (scaled**2).sum(0)
            yield np.log(weight) - (constant + log_determinant + square) / 2


def fit_both(
    psi: Tensor, phi: Tensor, config: MixtureConfig, randomness: np.random.Generator
) -> Iterator[Fit]:
    """The mixtures over psi (N, D) and over phi (N, C, 4, 4)."""
    yield fit("psi", psi.double().numpy(), config.psi_dimensions, config, randomness)
    yield fit("phi", phi.flatten(1).double().numpy(), config.phi_dimensions, config, randomness)


def fit(
    over: str,
    vectors: Array,
    dimensions: int,
    config: MixtureConfig,
    randomness: np.random.Generator,
) -> Fit:
    """Fit PCA and mixtures to vectors (N, D) and keep the one that held-out rows like best.

    Raises:
        InputError: where there are fewer than 20 vectors, or all are alike.
    """
    if len(vectors) < 20:
        raise InputError(f"fit_gmm: {len(vectors)} vectors of {over} are too few; 20 are needed")
    rows = randomness.permutation(len(vectors))[: config.rows]
    kept = min(max(1, int(config.held_out * len(rows))), len(rows) - 10)
    held_out, fitted = np.split(vectors[rows], [kept])
    if not fitted.std(0).any():
        raise InputError(f"fit_gmm: all vectors of {over} are alike; train_gan or embed collapsed")
    pca = PCA(min(dimensions, *fitted.shape), svd_solver="full").fit(fitted)
    train, test = pca.transform(fitted), pca.transform(held_out)
    tried = [
        _try(over, train, test, components, covariance, int(randomness.integers(2**31)))
        for components in _doublings(min(config.max_components, len(train) // 5))
        for covariance in COVARIANCES
    ]
    best, _ = max(tried, key=lambda pair: pair[1].held_out)
    mixture = Mixture(
        pca.mean_,
        pca.components_,
        pca.explained_variance_ratio_.sum(keepdims=True),
        best.weights_ / best.weights_.sum(),
        best.means_,
        _factors(best),
    )
    return Fit(over, mixture, [candidate for _, candidate in tried])


def figures(fits: list[Fit]) -> dict[str, float | int | str]:
    """What `fit_gmm` reports of each mixture kept."""
    told: dict[str, float | int | str] = {}
    for one in fits:
        kept = max(one.tried, key=lambda candidate: candidate.held_out)
        told[f"{one.over}_components"] = kept.components
        told[f"{one.over}_covariance"] = kept.covariance
        told[f"{one.over}_held_out_log_likelihood"] = kept.held_out
        told[f"{one.over}_explained_variance"] = float(one.mixture.explained[0])
    return told


def _doublings(top: int) -> list[int]:
    return [2**i for i in range(top.bit_length())]


def _try(
    over: str, train: Array, test: Array, components: int, covariance: str, seed: int
) -> tuple[GaussianMixture, Candidate]:
    model = GaussianMixture(
        components, covariance_type=covariance, reg_covar=1e-5, max_iter=60, random_state=seed
    )
    with warnings.catch_warnings():
        # 60 rounds settle the likelihood to a hundredth of a nat; held-out rows judge the rest.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train)
    candidate = Candidate(
        over,
        components,
        covariance,
        float(model.score(train)),
        float(model.score(test)),
        float(model.bic(train)),
    )
    return model, candidate


def _factors(model: GaussianMixture) -> Array:
    if model.covariance_type == "diag":
        return np.stack([np.diag(np.sqrt(row)) for row in model.covariances_])
    return np.linalg.cholesky(model.covariances_)


# ---------------------------------------------------------------- the file

NAMES = [field.name for field in fields(Mixture)]


def save(path: Path, mixtures: Mapping[str, Mixture], made_from: Mapping[str, str]) -> None:
    """Write named mixtures to one .npz file; equal mixtures give equal bytes.

    made_from: digests, by name, of what they were fitted to. The file carries them, and a digest
    of all of it.
    """
    arrays = {
        f"{name}.{key}": getattr(mixture, key)
        for name, mixture in mixtures.items()
        for key in NAMES
    }
    told = json.dumps(dict(sorted(made_from.items())))
    arrays |= {"format": np.array(FORMAT), "made_from": np.array(told)}
    buffer = io.BytesIO()
    np.savez(buffer, digest=np.array(_digest(arrays)), **arrays)
    write_whole(path, buffer.getvalue())


def load(path: Path, **wanted: str) -> dict[str, Mixture]:
    """The mixtures that `save` wrote.

    wanted: digests, by name, of what they must have been fitted to.

    Raises:
        InputError: where the file is missing, damaged, of another format or fitted to something
            else.
    """
    if not path.exists():
        raise InputError(f"{path} is missing; run: dvc repro {maker(path)}")
    try:
        arrays = _arrays(path)
        stated = str(arrays.pop("digest"))
        format, told = int(arrays["format"]), json.loads(str(arrays["made_from"]))
        names = sorted({key.split(".")[0] for key in arrays if "." in key})
        found = {name: Mixture(**{k: arrays[f"{name}.{k}"] for k in NAMES}) for name in names}
        sound = stated == _digest(arrays) and all(map(_is_mixture, found.values()))
    except Exception as error:  # numpy raises many kinds, all of them meaning: not our file
        reason = type(error).__name__
        raise InputError(f"{path} is damaged or not ours ({reason}); {remake(path)}") from error
    if format != FORMAT:
        raise InputError(f"{path} is of format {format}, not {FORMAT}; {remake(path)}")
    if not sound:
        raise InputError(f"{path} is damaged: its numbers are no mixtures; {remake(path)}")
    check_source(path, told, **wanted)
    return found


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file that holds them as they are: a packed one may have no end."""
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("packed")
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return dict(file)


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    total = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        total.update(f"{name}{values.dtype}{values.shape}".encode())
        total.update(np.ascontiguousarray(values).tobytes())
    return total.hexdigest()


def _is_mixture(mixture: Mixture) -> bool:
    """Whether the arrays are finite, of the shapes of one mixture, and the weights a share each."""
    components, dimensions = mixture.means.shape
    shapes = {
        "mean": (mixture.basis.shape[1],),
        "basis": (dimensions, mixture.basis.shape[1]),
        "explained": (1,),
        "weights": (components,),
        "factors": (components, dimensions, dimensions),
    }
    return (
        all(getattr(mixture, name).shape == shape for name, shape in shapes.items())
        and all(bool(np.isfinite(getattr(mixture, name)).all()) for name in NAMES)
        and bool((mixture.weights >= 0).all())
        and math.isclose(mixture.weights.sum(), 1, rel_tol=1e-6)
    )
