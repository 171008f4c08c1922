"""Self-BLEU against nltk caption by caption; the rest by hand and by properties."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from pairsynth.metrics.diversity import distinct, mean_words, self_bleu, vocabulary_coverage

SENTENCES = st.lists(
    st.lists(st.sampled_from(["red", "blue", "petals", "the", "thin"]), min_size=1, max_size=9),
    min_size=2,
    max_size=9,
)


def slow_self_bleu(sentences: list[list[str]]) -> float:
    smooth = SmoothingFunction().method1
    scores = [
        sentence_bleu(sentences[:i] + sentences[i + 1 :], own, smoothing_function=smooth)
        for i, own in enumerate(sentences)
    ]
    return float(sum(scores) / len(scores))


@given(SENTENCES)
def test_self_bleu_equals_nltk(sentences: list[list[str]]) -> None:
    found = self_bleu([" ".join(words) for words in sentences])
    assert found == pytest.approx(slow_self_bleu(sentences), abs=1e-9)


@given(SENTENCES, st.randoms(use_true_random=False))
def test_the_order_does_not_count(sentences: list[list[str]], draw: random.Random) -> None:
    captions = [" ".join(words) for words in sentences]
    mixed = draw.sample(captions, len(captions))
    assert self_bleu(mixed) == pytest.approx(self_bleu(captions), abs=1e-12)
    assert distinct(mixed, 2) == distinct(captions, 2)


def test_one_caption_repeated_has_self_bleu_one() -> None:
    assert self_bleu(["a red flower with petals"] * 3) == pytest.approx(1)


@pytest.mark.parametrize("captions", [[], ["a red flower"]])
def test_fewer_than_two_captions_have_no_self_bleu(captions: list[str]) -> None:
    assert self_bleu(captions) is None


def test_distinct_by_hand() -> None:
    captions = ["a red flower", "A red petal."]
    assert distinct(captions, 1) == pytest.approx(4 / 6)
    assert distinct(captions, 2) == pytest.approx(3 / 4)
    assert distinct(captions, 4) is None


def test_coverage_and_length_by_hand() -> None:
    assert vocabulary_coverage(["a red flower"], ["a blue flower", "it is red"]) == (
        pytest.approx(3 / 6)
    )
    assert mean_words(["a red flower", "petals, blue"]) == 2.5


def test_nothing_has_no_length_and_covers_no_words() -> None:
    assert mean_words([]) is None
    assert vocabulary_coverage(["a red flower"], [","]) is None
    assert vocabulary_coverage([], ["a red flower"]) == 0
