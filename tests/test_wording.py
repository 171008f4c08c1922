"""What real pairs ask of synthetic ones: how rare their words are, and how well they agree."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from nltk.util import bigrams
from torch.nn import functional as F

from pairsynth.metrics import wording
from pairsynth.metrics.wording import END, START, Surprise

PEOPLE = ["a red flower", "a red flower", "a blue flower", "the flower is red"]


def test_chances_by_hand() -> None:
    surprise = Surprise(PEOPLE)
    counts = Counter(pair for one in PEOPLE for pair in bigrams([START, *one.split(), END]))
    words = Counter(word for one in PEOPLE for word in [*one.split(), END])
    plain = (words["red"] + 1 / (len(words) + 1)) / (words.total() + 1)
    assert surprise.chance("a", "red") == pytest.approx((counts["a", "red"] + plain) / (3 + 1))


def test_chances_of_all_words_and_one_unheard_of_are_one() -> None:
    surprise = Surprise(PEOPLE)
    for last in (START, "a", "red", "never"):
        total = sum(surprise.chance(last, word) for word in (*surprise.words, "never"))
        assert total == pytest.approx(1)


def test_surprise_is_bits_a_word() -> None:
    surprise = Surprise(PEOPLE)
    chances = [surprise.chance(*pair) for pair in bigrams([START, "a", "blue", "flower", END])]
    assert surprise("A blue flower!") == pytest.approx(-math.log2(math.prod(chances)) / 4)


def test_the_rarer_the_words_the_greater_the_surprise() -> None:
    surprise = Surprise(PEOPLE)
    captions = ["a red flower", "a blue flower", "blue is the flower", "thrice mottled orchid"]
    told = [surprise(caption) for caption in captions]
    assert told == sorted(told)


def test_an_empty_caption_and_no_people_are_finite() -> None:
    assert math.isfinite(Surprise(PEOPLE)(""))
    assert Surprise([])("a flower") == pytest.approx(0, abs=2)


def test_half_of_the_real_pairs_fall_short_of_the_standard() -> None:
    rng = torch.Generator().manual_seed(0)
    psi, images = (F.normalize(torch.randn(9, 4, generator=rng), dim=1) for _ in range(2))
    held_out = [f"flower {i}" for i in range(9)]
    asked = wording.standard(PEOPLE, held_out, psi, images)
    assert asked.consistency == pytest.approx(float(np.median((psi * images).sum(1).numpy())))
    assert list(asked.surprises) == [asked.surprise(one) for one in held_out]


def test_any_real_caption_is_drawn() -> None:
    asked = wording.standard(PEOPLE, PEOPLE, torch.ones(4, 1), torch.ones(4, 1))
    rng = np.random.default_rng(0)
    assert {asked.draw(rng) for _ in range(99)} == set(asked.surprises)
