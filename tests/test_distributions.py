"""Measures between sets, against numpy, scipy and loops; their floors and ceilings."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel
from torch import Tensor

from pairsynth.metrics import distributions
from pairsynth.metrics.distributions import (
    frechet,
    frechet_infinity,
    in_order,
    kid,
    manifold,
    principal,
    told_apart,
    vendi,
)


def rows(count: int, seed: int, features: int = 6, shift: float = 0.0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, features, generator=rng) + shift


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- KID


def test_kid_of_whole_sets_against_scikit_learn() -> None:
    """Subsets as large as the sets are the sets: no spread, and the closed form."""
    real, drawn = rows(40, 1), rows(40, 2, shift=0.5)
    kernels = [
        polynomial_kernel(a.double().numpy(), b.double().numpy(), degree=3)
        for a, b in ((real, real), (drawn, drawn), (real, drawn))
    ]
    within = sum((k.sum() - np.trace(k)) / (40 * 39) for k in kernels[:2])
    found = kid(real, drawn, stream())
    assert found.value == pytest.approx(within - 2 * kernels[2].mean(), rel=1e-9)
    assert (found.low, found.high) == pytest.approx((found.value, found.value))


def test_kid_is_unbiased_where_the_sets_are_alike_and_large_where_not() -> None:
    alike = [kid(rows(100, i), rows(100, 100 + i), stream()).value for i in range(40)]
    error = np.std(alike) / 40**0.5
    assert abs(np.mean(alike)) < 3 * error
    assert kid(rows(100, 1), rows(100, 2, shift=1), stream()).value > 10 * np.std(alike)


# ---------------------------------------------------------------- Frechet


def test_frechet_against_scipy() -> None:
    real, drawn = rows(80, 1), rows(60, 2, shift=0.3) @ rows(6, 3)
    a, b = real.double().numpy(), drawn.double().numpy()
    cov, other = np.cov(a.T), np.cov(b.T)
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum()
    wanted += np.trace(cov + other - 2 * sqrtm(cov @ other).real)
    assert frechet(real, drawn) == pytest.approx(wanted, rel=1e-6)


def test_frechet_of_one_feature_by_hand() -> None:
    real, drawn = torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [7.0]])
    assert frechet(real, drawn) == pytest.approx((5 - 1) ** 2 + (8**0.5 - 2**0.5) ** 2)


def test_extrapolation_takes_the_bias_away() -> None:
    """Two samples of one distribution: the plain distance is far above 0, its limit is not."""
    plain = np.mean([frechet(rows(300, i, 20), rows(300, 50 + i, 20)) for i in range(8)])
    limit = np.mean(
        [frechet_infinity(rows(300, i, 20), rows(300, 50 + i, 20), stream(i)) for i in range(8)]
    )
    assert plain > 0.5
    assert abs(limit) < plain / 4


def test_too_few_rows_for_the_limit_are_refused() -> None:
    with pytest.raises(ValueError, match="6 features need 24 or more"):
        frechet_infinity(rows(23, 1), rows(23, 2), stream())


# ---------------------------------------------------------------- manifolds


def slow_manifold(real: np.ndarray, drawn: np.ndarray, k: int) -> list[float]:
    def reach(points: np.ndarray, i: int) -> float:
        return sorted(np.linalg.norm(points - points[i], axis=1))[k]

    n = len(real)
    near = np.array([[np.linalg.norm(r - d) for d in drawn] for r in real])
    real_reach = [reach(real, i) for i in range(n)]
    drawn_reach = [reach(drawn, i) for i in range(n)]
    inside = [[near[i, j] <= real_reach[i] for j in range(n)] for i in range(n)]
    return [
        np.mean([any(inside[i][j] for i in range(n)) for j in range(n)]),
        np.mean([any(near[i, j] <= drawn_reach[j] for j in range(n)) for i in range(n)]),
        sum(inside[i][j] for i in range(n) for j in range(n)) / (k * n),
        np.mean([min(near[i]) <= real_reach[i] for i in range(n)]),
    ]


@pytest.mark.parametrize("shift", [0.0, 0.7, 9.0])
def test_manifold_against_loops(shift: float) -> None:
    real, drawn = rows(40, 1, 3), rows(40, 2, 3, shift)
    found = manifold(real, drawn)
    wanted = slow_manifold(real.double().numpy(), drawn.double().numpy(), 5)
    told = [found.precision, found.recall, found.density, found.coverage]
    assert told == pytest.approx(wanted, abs=1e-9)


def test_sets_of_unequal_size_and_tiny_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="take as many of each"):
        manifold(rows(10, 1), rows(9, 2))
    with pytest.raises(ValueError, match="needs 6 or more"):
        manifold(rows(5, 1), rows(5, 2))


def test_a_collapsed_set_covers_nothing() -> None:
    collapsed = rows(1, 3).expand(50, -1)
    found = manifold(rows(50, 1), collapsed)
    assert found.coverage < 0.2
    assert vendi(collapsed) == pytest.approx(1)


# ---------------------------------------------------------------- Vendi, two-sample test


def test_vendi_against_the_kernel_matrix() -> None:
    for count in (4, 30):
        features = rows(count, 1)
        unit = features.double().numpy()
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        shares = np.linalg.eigvalsh(unit @ unit.T / count)
        shares = shares[shares > 1e-12]
        assert vendi(features) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-6)


def test_vendi_counts_what_is_different() -> None:
    assert vendi(torch.eye(6)) == pytest.approx(6)
    assert vendi(torch.eye(6).repeat(3, 1)) == pytest.approx(6)


def test_alike_cannot_be_told_apart_and_unlike_can() -> None:
    low, high = told_apart(rows(300, 1), rows(300, 2)).interval
    assert low is not None
    assert high is not None
    assert low < 0.5 < high
    assert told_apart(rows(100, 1), rows(100, 2, shift=5)).value == 1


@settings(max_examples=10)
@given(st.permutations(range(40)), st.permutations(range(40)))
def test_the_order_of_rows_does_not_count(order: list[int], other: list[int]) -> None:
    real, drawn = rows(40, 1), rows(40, 2, shift=0.4)
    mixed = (real[other], drawn[order])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributions, "SUBSET_SIZE", 10)
        found, wanted = kid(*mixed, stream()), kid(real, drawn, stream())
    assert (found.value, found.low, found.high) == pytest.approx(
        (wanted.value, wanted.low, wanted.high)
    )
    assert frechet(*mixed) == pytest.approx(frechet(real, drawn))
    limit = frechet_infinity(real, drawn, stream())
    assert frechet_infinity(*mixed, stream()) == pytest.approx(limit)
    assert manifold(*mixed) == manifold(real, drawn)
    assert vendi(mixed[1]) == pytest.approx(vendi(drawn))
    assert told_apart(*mixed) == told_apart(real, drawn)


def test_rows_are_sorted_like_words_in_a_dictionary() -> None:
    features = torch.tensor([[2.0, 1.0], [1.0, 3.0], [1.0, 2.0]])
    assert in_order(features).tolist() == sorted(features.tolist())


Measure = Callable[[Tensor, Tensor], object]
MEASURES: dict[str, tuple[int, Measure]] = {
    "kid": (2, lambda a, b: kid(a, b, stream())),
    "frechet": (2, frechet),
    "frechet_infinity": (1, lambda a, b: frechet_infinity(a, b, stream())),
    "manifold": (6, manifold),
    "vendi": (1, lambda a, b: vendi(a)),
    "told_apart": (5, told_apart),
}


@pytest.mark.parametrize("name", MEASURES)
def test_fewer_rows_than_a_measure_needs_are_refused(name: str) -> None:
    least, measure = MEASURES[name]
    for count in range(least):
        with pytest.raises(ValueError, match=f"{count} rows; this measure needs {least} or more"):
            measure(rows(count, 1), rows(count, 2))


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused_by_row(name: str, odd: float) -> None:
    broken = rows(30, 1)
    broken[7, 2] = odd
    with pytest.raises(ValueError, match="features of row 7 are not finite"):
        MEASURES[name][1](broken, rows(30, 2))


def test_a_set_and_itself() -> None:
    """Nothing divides the two: no distance, all covered, and nobody can tell them apart."""
    real = rows(60, 1)
    assert frechet(real, real) == pytest.approx(0, abs=1e-6)
    assert kid(real, real, stream()).value < 0
    found = manifold(real, real)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    share = told_apart(real, real).value
    assert share is not None
    assert share <= 0.5


def test_subsets_are_of_the_stated_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributions, "SUBSET_SIZE", 10)
    found = kid(rows(40, 1), rows(40, 2), stream())
    assert found.low < found.value < found.high


def test_principal_components_are_those_of_the_singular_values() -> None:
    real, drawn = rows(50, 1) @ rows(6, 3), rows(20, 2)
    middle = real.double().mean(0)
    axes = torch.linalg.svd(real.double() - middle).Vh[:3].T
    for ours, theirs in zip(principal(real, drawn, 3), (real, drawn), strict=True):
        assert torch.allclose(ours.abs(), ((theirs - middle) @ axes).abs(), atol=1e-4)
    few, _ = principal(real, drawn, 500)
    assert few.shape == (50, 6)
