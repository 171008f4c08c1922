"""What real pairs ask of synthetic ones: how rare their words are, and how well they agree."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pairsynth.metrics import wording
from pairsynth.metrics.wording import Surprise

PEOPLE = ["a red flower", "a red flower", "a blue flower", "the flower is red"]


def test_surprise_is_bits_a_word_by_hand() -> None:
    """13 words, 6 of them distinct: blue once, flower four times."""
    surprise = Surprise(PEOPLE)
    bits = [math.log2(20 / 2), math.log2(20 / 5), math.log2(20)]
    assert surprise("Blue flower, mottled!") == pytest.approx(sum(bits) / 3)


def test_chances_of_all_words_and_one_unheard_of_are_one() -> None:
    surprise = Surprise(PEOPLE)
    assert sum(2 ** -surprise(word) for word in (*surprise.words, "never")) == pytest.approx(1)


def test_the_rarer_the_words_the_greater_the_surprise() -> None:
    surprise = Surprise(PEOPLE)
    captions = ["flower", "red flower", "blue flower", "thrice mottled orchid"]
    told = [surprise(caption) for caption in captions]
    assert told == sorted(told)


def test_an_empty_caption_and_no_people_are_finite() -> None:
    assert Surprise(PEOPLE)("") == 0
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
