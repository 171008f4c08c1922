"""Sentences of people are told from words in disorder; wrong numbers are seen, by hand."""

import math
from collections import Counter

import pytest

from pairsynth.metrics.agreement import Share
from pairsynth.metrics.sentences import (
    LanguageModel,
    Numbers,
    number_agreement,
    numbers,
    repeating,
)

PEOPLE = [
    "this flower is red with a yellow center",
    "the petals are red and the center is yellow",
    "this flower has petals that are white",
    "the petals on this flower are blue",
    "a flower that is white",
] * 6
KNOWN = Numbers(singular=frozenset({"flower", "center"}), plural=frozenset({"petals"}))


def test_words_that_always_follow_are_no_surprise() -> None:
    model = LanguageModel(["red red red"] * 500)
    found = model.perplexity(["red red red"])
    assert found is not None
    assert 1 < found < 1.5


def test_a_model_of_words_alike_is_as_uncertain_as_there_are_words() -> None:
    """Sixteen captions of one word: nothing but the word itself is to be guessed, then the end."""
    words = [f"w{i}" for i in range(16)]
    found = LanguageModel(words * 50).perplexity(words)
    assert found is not None
    # Three guesses a caption: the word, and twice the end, which is certain.
    assert found == pytest.approx(16 ** (1 / 3), rel=0.05)


def test_the_same_words_in_disorder_are_less_likely() -> None:
    model = LanguageModel(PEOPLE)
    own, disorder = (
        model.perplexity([caption]) for caption in ("the petals are red", "are red petals the")
    )
    assert own is not None
    assert disorder is not None
    assert math.isfinite(disorder)
    assert disorder > 5 * own


def test_a_word_that_was_never_seen_is_unlikely_and_no_error() -> None:
    model = LanguageModel(PEOPLE)
    seen, unseen = (model.perplexity([f"this flower is {word}"]) for word in ("red", "qwx"))
    assert seen is not None
    assert unseen is not None
    assert seen < unseen < math.inf


def test_no_captions_have_no_perplexity_and_teach_nothing() -> None:
    assert LanguageModel(PEOPLE).perplexity([]) is None
    with pytest.raises(ValueError, match="no captions; a language model needs one or more"):
        LanguageModel([])


def test_numbers_of_nouns_are_those_of_the_verbs_after_them() -> None:
    found = numbers(PEOPLE)
    assert found.singular == {"flower"}
    assert found.plural == {"petals"}
    assert numbers(["ein bild von etwas"] * 9) == Numbers(singular=frozenset(), plural=frozenset())


@pytest.mark.parametrize(
    ("caption", "right", "count"),
    [
        ("this flower is red", 2, 2),
        ("this petals is red", 0, 2),
        ("petals that are red", 1, 1),
        ("petals that is red", 0, 1),
        ("a petals and five flower", 0, 2),
        ("the petals of the flower are red", 0, 0),
        ("there are many petals", 1, 1),
        ("nothing of the kind", 0, 0),
    ],
)
def test_agreement_in_number_by_hand(caption: str, right: int, count: int) -> None:
    assert number_agreement([caption], KNOWN) == Share(right, count)


def test_repeated_words_by_hand() -> None:
    captions = {
        "red petals and red leaves": False,
        "the the petals are red": True,
        "with a center with a center": True,
        "": False,
        "red": False,
    }
    assert Counter(captions.values())[True] == 2
    for caption, repeats in captions.items():
        assert repeating([caption]).right == repeats, caption
    assert repeating(list(captions)) == Share(2, 5)
