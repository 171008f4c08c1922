"""Words of captions by kind, and how well they match, by hand."""

import pytest

from pairsynth.metrics.lexicon import LEXICON, SAME, Agreement, said, word_agreement


def test_forms_of_a_word_are_one() -> None:
    assert set(SAME.values()) <= LEXICON.keys()
    assert said("Golden petals, disc") == said("gold petal disk")


def test_words_are_sorted_by_kind() -> None:
    assert said("this flower has five heart-shaped red petals") == {
        "counts": {"five"},
        "shapes": {"heart"},
        "colours": {"red"},
        "parts": {"petal"},
    }


def test_agreement_by_hand() -> None:
    captions = ["red and white petals"]
    references = [["red petals", "a red flower", "pink petals with a yellow center"]]
    found = word_agreement(captions, references)
    assert found["colours"] == Agreement(1 / 2, 1 / 1)
    assert found["parts"] == Agreement(1, 1)
    assert found["colours"].f1 == pytest.approx(2 / 3)
    assert found["counts"] == Agreement(None, None)
    assert found["counts"].f1 is None


def test_nothing_right_is_zero() -> None:
    assert word_agreement(["blue"], [["red"]])["colours"].f1 == 0
