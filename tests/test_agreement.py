"""Shares with their intervals, agreement on attributes, R-precision: by hand and brute force."""

import hashlib
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from pairsynth.metrics.agreement import (
    Rivals,
    Share,
    attribute_agreement,
    r_precision,
    retrieval,
    zero_shot,
)


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


def test_captions_and_images_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        attribute_agreement(["red"], [], colours)


def worded(count: int, start: int = 0) -> list[str]:
    return [f"flower number {i}" for i in range(start, start + count)]


def slow_ranks(
    images: Tensor, psi: Tensor, captions: list[str], others: dict[str, Tensor]
) -> list[int]:
    """By the definition: the 99 wordings that follow one's own by digest, round and round."""

    def place(words: str) -> str:
        return hashlib.sha256(words.encode()).hexdigest()

    ranks = []
    for image, own, caption in zip(images, psi, captions, strict=True):
        circle = sorted((words for words in others if words != caption), key=place)
        after = [w for w in circle if place(w) > place(caption)]
        met = (after + [w for w in circle if w not in after])[:99]
        ranks.append(1 + sum(float(image @ others[w]) >= float(image @ own) for w in met))
    return ranks


@pytest.mark.parametrize("rivals", [5, 99, 100, 250])
def test_ranks_against_a_loop(rivals: int) -> None:
    """Rows 20 to 29 have words that no rival has; the others meet all rivals but themselves."""
    images, others = vectors(30, 1), vectors(rivals, 3)
    psi = F.normalize(images + 1.5 * vectors(30, 2), dim=1)
    captions = worded(30, rivals - 20)
    told = dict(zip(worded(rivals), others, strict=True))
    among = Rivals(worded(rivals), others)
    assert among.among == min(100, rivals + 1)
    found = among.ranks(images, psi, captions)
    assert found == slow_ranks(images, psi, captions, told)
    assert r_precision(found) == Share(sum(rank == 1 for rank in found), 30)


@given(st.permutations(range(20)), st.permutations(range(120)), st.integers(1, 25))
def test_neither_order_nor_batch_changes_a_rank(
    rows: list[int], order: list[int], block: int
) -> None:
    images, psi, others = vectors(20, 1), vectors(20, 2), vectors(120, 3)
    captions, rivals = worded(20), worded(120, 10)
    wanted = Rivals(rivals, others).ranks(images, psi, captions)
    mixed = Rivals([rivals[i] for i in order], others[order])
    found = mixed.ranks(images[rows], psi[rows], [captions[i] for i in rows], block)
    assert found == [wanted[i] for i in rows]


def test_a_caption_of_the_same_words_is_no_rival() -> None:
    own = vectors(1, 1)
    assert Rivals(["a RED flower!"], own).ranks(own, own, ["a red flower"]) == [1]
    assert Rivals(["a red petal"], own).ranks(own, own, ["a red flower"]) == [2]


def test_a_collapsed_judge_finds_nothing() -> None:
    """All vectors alike: every rival ties, and ties are misses."""
    same = F.normalize(torch.ones(8, 16), dim=1)
    rivals = Rivals(worded(160), same.repeat(20, 1))
    assert r_precision(rivals.ranks(same, same, worded(8, 200))) == Share(0, 8)
    broken = torch.full_like(same, torch.nan)
    assert rivals.ranks(broken, broken, worded(8)) == [100] * 8


def test_no_rows_have_no_ranks_and_unequal_rivals_are_refused() -> None:
    assert Rivals(worded(3), vectors(3, 1)).ranks(vectors(0, 1), vectors(0, 1), []) == []
    with pytest.raises(ValueError, match="2 captions and 3 vectors"):
        Rivals(worded(2), vectors(3, 1))


def test_chance_is_one_in_a_hundred() -> None:
    rivals = Rivals(worded(3000), vectors(3000, 3))
    low, high = r_precision(
        rivals.ranks(vectors(4000, 1), vectors(4000, 2), worded(4000, 5000))
    ).interval
    assert low is not None
    assert high is not None
    assert low < 0.01 < high


@pytest.mark.parametrize(("queries", "answers"), [(0, 0), (1, 1), (3, 2)])
def test_too_few_or_unequal_rows_are_refused(queries: int, answers: int) -> None:
    with pytest.raises(ValueError, match=f"{queries} queries and {answers} answers; give two"):
        retrieval(vectors(queries, 1), vectors(answers, 2))


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
    found, wanted = retrieval(queries[order], answers[order]), retrieval(queries, answers)
    assert found.recall == wanted.recall
    assert found.median_rank == wanted.median_rank
    assert found.margin == pytest.approx(wanted.margin, abs=1e-6)


def test_zero_shot_against_loops() -> None:
    classes = torch.tensor([0, 0, 0, 2, 2, 5, 5, 5, 5, -1])
    images, psi = vectors(10, 1), vectors(30, 2)
    told = classes.repeat_interleave(3)
    mean = {c: psi[told == c].mean(0) for c in (0, 2, 5)}
    right = sum(max(mean, key=lambda c: float(images[i] @ mean[c])) == classes[i] for i in range(9))
    shares = []
    for one, center in mean.items():
        order = sorted(range(9), key=lambda i: -float(images[i] @ center))
        near = order[: min(3, int((classes == one).sum()))]
        shares.append(sum(int(classes[i]) == one for i in near) / len(near))
    found = zero_shot(images, classes, psi, told, most=3)
    assert found is not None
    assert found.first == Share(right, 9)
    assert 0 < found.first.right < 9
    assert found.precision == pytest.approx(sum(shares) / 3)
    assert found.classes == 3


def test_zero_shot_of_perfect_vectors_is_perfect_and_of_one_class_nothing() -> None:
    classes = torch.arange(4).repeat(5)
    same = torch.eye(4)[classes]
    found = zero_shot(same, classes, same, classes)
    assert found is not None
    assert (found.first, found.precision) == (Share(20, 20), 1.0)
    assert zero_shot(same, torch.zeros(20, dtype=torch.long), same, classes) is None
    assert zero_shot(same, torch.full((20,), -1), same, classes) is None
