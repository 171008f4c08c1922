"""Global scores of copying: against loops and scipy, and what copies do to them."""

import math

import pytest
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor

from pairsynth.metrics.memorisation import authenticity, data_copying, nearer_to_train


def rows(count: int, seed: int) -> Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))


def nearest(row: Tensor, others: Tensor) -> tuple[float, int]:
    return min((float((row - other).norm()), i) for i, other in enumerate(others))


def test_authenticity_against_a_loop() -> None:
    own, train = rows(30, 1), rows(40, 2)
    count = 0
    for row in own:
        distance, i = nearest(row, train)
        others = torch.cat([train[:i], train[i + 1 :]])
        count += distance > nearest(train[i], others)[0]
    assert authenticity(own, train).right == count


def test_data_copying_is_the_mann_whitney_statistic() -> None:
    own, held_out, train = rows(30, 1), rows(25, 3), rows(40, 2)
    a, b = ([nearest(row, train)[0] for row in some] for some in (own, held_out))
    u = mannwhitneyu(a, b).statistic
    wanted = (u - 30 * 25 / 2) / math.sqrt(30 * 25 * 56 / 12)
    assert data_copying(own, held_out, train) == pytest.approx(wanted, abs=1e-9)


def test_real_rows_are_about_as_near_to_both() -> None:
    own, held_out, train = rows(300, 1), rows(300, 2), rows(300, 3)
    assert abs(data_copying(own, held_out, train)) < 3
    for share in (authenticity(own, train), nearer_to_train(own, held_out, train)):
        low, high = share.interval
        assert low is not None
        assert high is not None
        assert low - 0.05 < 0.5 < high + 0.05


def test_copies_are_seen_where_all_are_copies() -> None:
    held_out, train = rows(50, 2), rows(50, 3)
    assert authenticity(train, train).value == 0
    assert nearer_to_train(train, held_out, train).value == 1
    assert data_copying(train, held_out, train) < -5


def test_the_order_of_rows_does_not_count() -> None:
    own, held_out, train = rows(30, 1), rows(30, 2), rows(30, 3)
    order = torch.randperm(30)
    assert authenticity(own[order], train[order]) == authenticity(own, train)
    assert data_copying(own[order], held_out[order], train) == data_copying(own, held_out, train)


def test_odd_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="3 held-out and 4 training rows; take as many"):
        nearer_to_train(rows(2, 1), rows(3, 1), rows(4, 1))
    with pytest.raises(ValueError, match="no rows"):
        authenticity(rows(0, 1), rows(4, 1))
    with pytest.raises(ValueError, match="not finite"):
        data_copying(rows(2, 1) * torch.nan, rows(3, 1), rows(4, 1))
