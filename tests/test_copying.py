"""The longest copied run and the closest training caption, against brute force."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import sentence_bleu

from pairsynth.metrics.copying import closest_bleu, longest_copied

WORDS = st.lists(st.sampled_from(["red", "blue", "petals", "the"]), min_size=1, max_size=8)
MANY = st.lists(WORDS.map(" ".join), min_size=1, max_size=6)


def slow_longest(caption: str, train: list[str]) -> int:
    words = caption.split()
    padded = [f" {one} " for one in train]
    runs = [words[i:j] for i in range(len(words)) for j in range(i + 1, len(words) + 1)]
    return max(
        (len(r) for r in runs if any(f" {' '.join(r)} " in one for one in padded)), default=0
    )


@given(MANY, MANY)
def test_longest_copied_against_all_runs(captions: list[str], train: list[str]) -> None:
    assert longest_copied(captions, train) == [slow_longest(one, train) for one in captions]


def test_a_run_does_not_go_over_the_end_of_a_caption() -> None:
    assert longest_copied(["red petals blue"], ["red petals", "blue"]) == [2]
    assert longest_copied(["white"], ["red petals"]) == [0]


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(MANY, MANY)
def test_closest_bleu_against_nltk(captions: list[str], train: list[str]) -> None:
    scores, rows = closest_bleu(captions, train)
    for caption, score, row in zip(captions, scores, rows, strict=True):
        words = caption.split()
        all_scores = [
            sentence_bleu([one.split()], words)
            if len(words) >= 4 and shares_four(words, one)
            else 0
            for one in train
        ]
        assert score == pytest.approx(max(all_scores), abs=1e-6)
        assert all_scores[row] == pytest.approx(max(all_scores), abs=1e-6)


def shares_four(words: list[str], other: str) -> bool:
    return any(f" {' '.join(words[i : i + 4])} " in f" {other} " for i in range(len(words) - 3))


def test_a_copy_scores_one_whatever_its_spelling() -> None:
    train = ["a blue flower with petals", "A red flower, with petals."]
    assert closest_bleu(["a red flower with petals"], train)[1] == [1]
    assert closest_bleu(["a red flower with petals"], train)[0] == [pytest.approx(1)]


@pytest.mark.parametrize("count", [1, 255, 257])
def test_blocks_change_nothing(count: int) -> None:
    captions = [f"a red flower with {i} petals in it" for i in range(count)]
    train = [f"there is a red flower with {i} petals" for i in range(300)]
    scores, rows = closest_bleu(captions, train)
    assert rows == list(range(count))
    assert max(scores) - min(scores) < 1e-6


def test_of_several_best_it_is_the_first() -> None:
    train = ["a red flower with white petals"] * 3 + ["a red flower with thin petals"] * 2
    captions = ["a red flower with thin petals", "a red flower with white petals", "nothing alike"]
    assert closest_bleu(captions, train)[1] == [3, 0, 0]


def test_nothing_to_compare_has_defined_values() -> None:
    assert closest_bleu([], ["a red flower with petals"]) == ([], [])
    assert closest_bleu(["a red flower with petals"], []) == ([0.0], [0])
    assert longest_copied([], ["a red flower"]) == []
    assert longest_copied(["a red flower"], []) == [0]
