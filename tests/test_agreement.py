"""Shares with their intervals, agreement on attributes, R-precision: by hand and brute force."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth.metrics.agreement import Share, attribute_agreement, r_precision, retrieval


def vectors(count: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(count, 16, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_the_interval_is_wilsons() -> None:
    right, count, z = 37, 120, 1.959963984540054
    share = right / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count)
    half *= math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    found = Share(right, count)
    assert found.value == share
    assert found.interval == pytest.approx((middle - half, middle + half))


def test_a_share_of_nothing_has_no_value() -> None:
    assert Share(0, 0).value is None
    assert Share(0, 0).interval == (None, None)


def colours(caption: str) -> dict[str, str]:
    said = [word for word in caption.split() if word in ("red", "blue")]
    return {"colour": said[0]} if said else {}


def test_only_captions_that_name_the_attribute_count() -> None:
    seen = [{"colour": "red"}, {"colour": "red"}, {"colour": "blue"}]
    found = attribute_agreement(["red flower", "blue flower", "a flower"], seen, colours)
    assert found == {"colour": Share(1, 2)}


def test_captions_and_pictures_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        attribute_agreement(["red"], [], colours)


def test_r_precision_against_a_loop() -> None:
    images, others = vectors(30, 1), vectors(250, 3)
    psi = F.normalize(images + 1.5 * vectors(30, 2), dim=1)
    right = 0
    for i in range(30):
        rivals = [others[(99 * i + j) % 250] for j in range(99)]
        right += all(float(images[i] @ rival) < float(images[i] @ psi[i]) for rival in rivals)
    assert 0 < right < 30
    assert r_precision(images, psi, others) == Share(right, 30)


def test_a_collapsed_judge_finds_nothing() -> None:
    """All vectors alike: every rival ties, and ties are misses."""
    same = F.normalize(torch.ones(8, 16), dim=1)
    assert r_precision(same, same, same.repeat(20, 1)) == Share(0, 8)


def test_chance_is_one_in_a_hundred() -> None:
    found = r_precision(vectors(4000, 1), vectors(4000, 2), vectors(3000, 3))
    low, high = found.interval
    assert low is not None
    assert high is not None
    assert low < 0.01 < high


def test_retrieval_against_sorting() -> None:
    answers = vectors(40, 1)
    queries = F.normalize(answers + 2 * vectors(40, 2), dim=1)
    scores = (queries @ answers.T).tolist()
    ranks = [sorted(row, reverse=True).index(row[i]) + 1 for i, row in enumerate(scores)]
    found = retrieval(queries, answers)
    for k in (1, 5, 10):
        assert found.recall[k] == Share(sum(rank <= k for rank in ranks), 40)
    assert found.recall[1].right < found.recall[10].right < 40
    assert found.median_rank == sorted(ranks)[19]
    best = [max(x for j, x in enumerate(row) if j != i) for i, row in enumerate(scores)]
    margin = sum(row[i] - top for (i, row), top in zip(enumerate(scores), best, strict=True)) / 40
    assert found.margin == pytest.approx(margin, abs=1e-6)


def test_retrieval_by_a_collapsed_judge_finds_nothing() -> None:
    same = F.normalize(torch.ones(8, 16), dim=1)
    assert retrieval(same, same).recall[5] == Share(0, 8)
    assert retrieval(same, same).median_rank == 8


def test_the_order_of_rows_does_not_count() -> None:
    queries, answers, order = vectors(30, 1), vectors(30, 2), torch.randperm(30)
    assert retrieval(queries[order], answers[order]).recall == retrieval(queries, answers).recall
