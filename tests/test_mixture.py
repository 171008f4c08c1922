"""Density over vectors, against scikit-learn and against what is known of normal numbers."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from pairsynth import mixture, mixture_fitting
from pairsynth.errors import InputError
from pairsynth.mixture import Mixture
from pairsynth.mixture_fitting import Fit, MixtureConfig
from pairsynth.whole_files import write_reports

CONFIG = MixtureConfig(
    psi_dimensions=3, phi_dimensions=4, max_components=8, rows=1000, held_out=0.25
)


def log_density(mixture: Mixture, vectors: np.ndarray) -> np.ndarray:
    """log p (N) of vectors (N, D) in the space after PCA, by scipy."""
    reduced = (vectors - mixture.mean) @ mixture.basis.T
    terms = [
        np.log(weight) + multivariate_normal(mean, factor @ factor.T).logpdf(reduced)
        for weight, mean, factor in zip(
            mixture.weights, mixture.means, mixture.factors, strict=True
        )
    ]
    return np.asarray(logsumexp(terms, axis=0))


def clusters(count: int, rows: int = 400, seed: int = 0) -> np.ndarray:
    """Rows around `count` far apart centres in six dimensions, in mixed order."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(count, 6)) * 20
    return centres[rng.integers(count, size=rows)] + rng.normal(size=(rows, 6))


def fitted(vectors: np.ndarray, config: MixtureConfig = CONFIG, dimensions: int = 3) -> Fit:
    rng = np.random.default_rng(1)
    rows = mixture_fitting.drawn(len(vectors), config, rng)
    return mixture_fitting.fit("psi", vectors[rows], dimensions, config, rng)


def by_hand(covariance: str = "full") -> tuple[Mixture, PCA, GaussianMixture]:
    """A mixture and the two scikit-learn models that it should equal."""
    vectors = clusters(3)
    pca = PCA(4, svd_solver="full").fit(vectors)
    model = GaussianMixture(3, covariance_type=covariance, random_state=0)
    model.fit(pca.transform(vectors))
    factors = (
        np.linalg.cholesky(model.covariances_)
        if covariance == "full"
        else np.stack([np.diag(np.sqrt(row)) for row in model.covariances_])
    )
    own = Mixture(
        mean=pca.mean_,
        basis=pca.components_,
        explained=np.ones(1),
        weights=model.weights_,
        means=model.means_,
        factors=factors,
    )
    return own, pca, model


# ---------------------------------------------------------------- density and samples


@pytest.mark.parametrize("covariance", mixture_fitting.COVARIANCES)
def test_density_is_that_of_scikit_learn(covariance: str) -> None:
    own, pca, model = by_hand(covariance)
    vectors = np.concatenate([clusters(3, 50, 5), np.random.default_rng(2).normal(size=(20, 6))])
    wanted = model.score_samples(pca.transform(vectors))
    assert np.allclose(log_density(own, vectors), wanted, rtol=1e-8)


def test_samples_have_the_mean_and_covariance_of_their_component() -> None:
    own, pca, model = by_hand()
    rng = np.random.default_rng(0)
    for component in range(3):
        drawn = np.stack([own.sample_of(component, rng) for _ in range(4000)])
        reduced = pca.transform(drawn)
        assert np.allclose(reduced.mean(0), model.means_[component], atol=0.12)
        assert np.allclose(np.cov(reduced.T), model.covariances_[component], atol=0.25)
        # nothing outside of the plane that PCA kept
        assert np.allclose(pca.inverse_transform(reduced), drawn)


def test_components_are_drawn_by_their_weights() -> None:
    own, _, model = by_hand()
    rng = np.random.default_rng(0)
    drawn = [own.sample(rng) for _ in range(3000)]
    counts = np.bincount([component for _, component in drawn], minlength=3) / 3000
    assert np.allclose(counts, model.weights_, atol=0.04)
    nearest = model.predict((np.stack([v for v, _ in drawn]) - own.mean) @ own.basis.T)
    assert np.mean(nearest == [component for _, component in drawn]) > 0.99


def test_a_sample_depends_on_its_own_randomness_alone() -> None:
    own, _, _ = by_hand()
    one, component = own.sample(np.random.default_rng(4))
    again, same = own.sample(np.random.default_rng(4))
    other, _ = own.sample(np.random.default_rng(5))
    assert np.array_equal(one, again)
    assert component == same
    assert not np.allclose(one, other)


# ---------------------------------------------------------------- fitting


@pytest.mark.parametrize("count", [1, 4])
def test_held_out_rows_choose_the_number_of_clusters(count: int) -> None:
    found = fitted(clusters(count))
    assert len(found.mixture.weights) == count
    assert {(one.components, one.covariance) for one in found.tried} == {
        (n, c) for n in (1, 2, 4, 8) for c in ("diag", "full")
    }
    best = max(found.tried, key=lambda one: one.held_out)
    assert best.components == count
    summary = mixture_fitting.summary([found])
    assert summary["psi_components"] == count
    assert summary["psi_covariance"] == best.covariance
    assert summary["psi_held_out_log_likelihood"] == best.held_out


def test_pca_is_that_of_scikit_learn() -> None:
    vectors = clusters(4)
    found = fitted(vectors).mixture
    rows = np.random.default_rng(1).permutation(400)[100:]
    pca = PCA(3, svd_solver="full").fit(vectors[rows])
    assert np.allclose(found.mean, pca.mean_)
    assert np.allclose(np.abs(found.basis @ pca.components_.T), np.eye(3), atol=1e-6)
    assert found.explained == pytest.approx(pca.explained_variance_ratio_.sum())
    assert found.basis.shape == (3, 6)
    assert found.means.shape[1:] == (3,)
    assert found.factors.shape[1:] == (3, 3)
    assert found.weights.sum() == pytest.approx(1)


def test_the_candidate_kept_is_the_density_that_was_scored() -> None:
    vectors = clusters(4)
    found = fitted(vectors)
    held_out = vectors[np.random.default_rng(1).permutation(400)[:100]]
    best = max(found.tried, key=lambda one: one.held_out)
    assert log_density(found.mixture, held_out).mean() == pytest.approx(best.held_out)


def test_no_more_dimensions_than_there_are() -> None:
    assert fitted(clusters(2), dimensions=500).mixture.basis.shape == (6, 6)
    few = fitted(np.random.default_rng(0).normal(size=(20, 64)), dimensions=64)
    assert few.mixture.basis.shape[0] <= 15


def test_rows_bound_what_is_fitted() -> None:
    found = fitted(
        clusters(2),
        MixtureConfig(psi_dimensions=3, phi_dimensions=3, max_components=8, rows=40, held_out=0.5),
    )
    assert max(one.components for one in found.tried) == 4


def test_fitting_is_repeatable() -> None:
    one, other = fitted(clusters(4)), fitted(clusters(4))
    assert np.array_equal(one.mixture.means, other.mixture.means)
    assert one.tried == other.tried


def test_too_few_vectors_are_refused() -> None:
    with pytest.raises(InputError, match="3 vectors of psi are too few; 4 are needed"):
        fitted(clusters(1, 3))
    assert len(fitted(clusters(1, 4)).mixture.weights) == 1


@pytest.mark.parametrize("count", [4, 5, 11, 20])
@pytest.mark.parametrize("held_out", [0.01, 0.8, 0.9, 0.99])
def test_any_share_may_be_held_out_of_the_fewest_vectors(held_out: float, count: int) -> None:
    """A share that `MixtureConfig` allows either works or is refused in words."""
    config = MixtureConfig(
        psi_dimensions=3, phi_dimensions=3, max_components=8, rows=1000, held_out=held_out
    )
    try:
        found = fitted(clusters(1, count), config)
    except InputError as error:
        assert "held_out" in str(error)  # noqa: PT017
    else:
        assert len(found.mixture.weights) >= 1


def test_vectors_that_are_all_alike_do_not_crash() -> None:
    """What a collapsed discriminator makes of every image."""
    try:
        found = fitted(np.ones((40, 6)))
    except InputError as error:
        assert "psi" in str(error)  # noqa: PT017
    else:
        json.dumps(mixture_fitting.summary([found]), allow_nan=False)


def test_both_domains_are_fitted_and_tried_is_a_table(tmp_path: Path) -> None:
    psi = torch.from_numpy(clusters(2, 60)).float()
    phi = torch.randn(30, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    looked_at: list[int] = []

    def look(pixels: torch.Tensor) -> torch.Tensor:
        looked_at.extend(pixels.flatten().tolist())
        return phi[pixels.flatten().int()]

    pixels = torch.arange(30, dtype=torch.uint8)[:, None, None, None]
    config, rng = replace(CONFIG, rows=24), np.random.default_rng(0)
    psi_fit, phi_fit = mixture_fitting.fit_both(psi, pixels, look, config, rng)
    assert len(looked_at) == len(set(looked_at)) == 24, "of the others phi is never taken"
    assert (psi_fit.over, phi_fit.over) == ("psi", "phi")
    assert psi_fit.mixture.basis.shape == (3, 6)
    assert phi_fit.mixture.basis.shape == (4, 32)
    tried = psi_fit.tried + phi_fit.tried
    write_reports(tmp_path / "tried.csv", tried)
    lines = (tmp_path / "tried.csv").read_text().splitlines()
    assert lines[0] == ",".join(asdict(tried[0]))
    assert len(lines) == len(tried) + 1
    assert set(mixture_fitting.summary([psi_fit, phi_fit])) == {
        f"{over}_{key}"
        for over in ("psi", "phi")
        for key in (
            "components",
            "covariance",
            "held_out_log_likelihood",
            "explained_variance",
        )
    }


# ---------------------------------------------------------------- the file


SOURCE = {"gan": "digest of phi", "pictures": "digest of them"}


def equal(one: Mixture, other: Mixture) -> bool:
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in mixture.NAMES)


def test_mixtures_come_back_as_they_went_and_in_equal_bytes(
    tmp_path: Path, mixtures: dict[str, Mixture]
) -> None:
    path = tmp_path / "gmm.npz"
    mixture.save(path, mixtures, SOURCE)
    loaded = mixture.load(path)
    assert set(loaded) == {"psi", "phi"}
    assert all(equal(loaded[name], mixtures[name]) for name in loaded)
    one, _ = loaded["phi"].sample(np.random.default_rng(0))
    other, _ = mixtures["phi"].sample(np.random.default_rng(0))
    assert np.array_equal(one, other)
    before = path.read_bytes()
    mixture.save(path, loaded, SOURCE)
    assert mixture.load(path).keys() == loaded.keys()
    mixture.save(tmp_path / "again.npz", mixtures, SOURCE)
    assert (tmp_path / "again.npz").read_bytes() == before


def test_mixtures_fitted_to_something_else_are_refused(
    tmp_path: Path, mixtures: dict[str, Mixture]
) -> None:
    mixture.save(tmp_path / "gmm.npz", mixtures, SOURCE)
    assert mixture.load(tmp_path / "gmm.npz", gan=SOURCE["gan"]).keys() == mixtures.keys()
    with pytest.raises(InputError, match=r"gmm.npz was made from another gan; remake it"):
        mixture.load(tmp_path / "gmm.npz", gan="another")


BROKEN: dict[str, Callable[[Mixture], Mixture]] = {
    "NaN": lambda one: replace(one, means=one.means * np.nan),
    "infinite": lambda one: replace(one, factors=one.factors / 0.0),
    "another size": lambda one: replace(one, basis=one.basis[:, 1:]),
    "a component less": lambda one: replace(one, weights=one.weights[:0]),
    "weights of two in all": lambda one: replace(one, weights=one.weights * 2),
    "a weight below none": lambda one: replace(one, weights=one.weights - 2),
}


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("how", BROKEN)
def test_numbers_that_are_no_mixture_are_refused(
    tmp_path: Path, mixtures: dict[str, Mixture], how: str
) -> None:
    broken = {**mixtures, "phi": BROKEN[how](mixtures["phi"])}
    mixture.save(tmp_path / "gmm.npz", broken, SOURCE)
    with pytest.raises(InputError, match=r"gmm.npz is damaged: its numbers are no mixtures"):
        mixture.load(tmp_path / "gmm.npz")


def test_a_packed_file_is_not_unpacked(
    tmp_path: Path, mixtures: dict[str, Mixture], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of a megabyte would become one of a gigabyte."""
    parts: dict[str, Any] = {"psi.mean": np.zeros(1000)}
    np.savez_compressed(tmp_path / "gmm.npz", **parts)
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(InputError, match=r"gmm.npz is damaged or not ours \(ValueError\)"):
        mixture.load(tmp_path / "gmm.npz")


def test_a_missing_file_says_which_stage_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gmm.npz is missing; run: dvc repro fit_gmm"):
        mixture.load(tmp_path / "gmm.npz")


def test_another_format_is_refused(
    tmp_path: Path, mixtures: dict[str, Mixture], monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture.save(tmp_path / "gmm.npz", mixtures, SOURCE)
    monkeypatch.setattr(mixture, "FORMAT", 3)
    with pytest.raises(InputError, match="is of format 2, not 3; remake it: dvc repro --force"):
        mixture.load(tmp_path / "gmm.npz")


@pytest.mark.parametrize("share", [0, 4, 0.5, -1])
def test_a_file_cut_short_is_refused(
    tmp_path: Path, mixtures: dict[str, Mixture], share: float
) -> None:
    path = tmp_path / "gmm.npz"
    mixture.save(path, mixtures, SOURCE)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data)) if share == 0.5 else int(share)])
    with pytest.raises(InputError, match=r"gmm.npz is damaged or not ours"):
        mixture.load(path)


def test_flipped_bits_are_found(tmp_path: Path, mixtures: dict[str, Mixture]) -> None:
    path = tmp_path / "gmm.npz"
    mixture.save(path, mixtures, SOURCE)
    whole = path.read_bytes()
    refused = 0
    for bit in np.random.default_rng(0).integers(0, len(whole) * 8, 200).tolist():
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        try:
            loaded = mixture.load(path)
        except InputError as error:
            assert "gmm.npz" in str(error)  # noqa: PT017
            refused += 1
        else:
            assert all(equal(loaded[name], mixtures[name]) for name in ("psi", "phi"))
    assert refused > 100


def test_a_pickle_in_disguise_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "x.npy").rename(tmp_path / "gmm.npz")
    with pytest.raises(InputError, match="is damaged or not ours"):
        mixture.load(tmp_path / "gmm.npz")
