"""Words of captions by kind, and how well they match, by hand; they come with the set."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pairsynth import lexicon
from pairsynth.errors import InputError
from pairsynth.lexicon import Lexicon, own_words
from pairsynth.metrics.captions import WordAgreement, word_agreement
from pairsynth.sources.acquisition import LEXICONS, SOURCES
from pairsynth.sources.flower_words import FLOWERS
from pairsynth.sources.garden_captions import WORDS


def test_forms_of_a_word_are_one() -> None:
    assert set(FLOWERS.same.values()) <= FLOWERS.kind_of.keys()
    assert FLOWERS.said("Golden petals, disc") == FLOWERS.said("gold petal disk")
    assert "golden" not in FLOWERS.words
    assert "gold" in FLOWERS.words


def test_words_are_sorted_by_kind() -> None:
    assert FLOWERS.said("this flower has five heart-shaped red petals") == {
        "counts": {"five"},
        "shapes": {"heart"},
        "colours": {"red"},
        "parts": {"petal"},
    }


def test_agreement_by_hand() -> None:
    captions = ["red and white petals"]
    references = [["red petals", "a red flower", "pink petals with a yellow center"]]
    found = word_agreement(captions, references, FLOWERS)
    assert found["colours"] == WordAgreement(precision=1 / 2, recall=1 / 1)
    assert found["parts"] == WordAgreement(precision=1, recall=1)
    assert found["colours"].f1 == pytest.approx(2 / 3)
    assert found["counts"] == WordAgreement(precision=None, recall=None)
    assert found["counts"].f1 is None


def test_nothing_right_is_zero() -> None:
    assert word_agreement(["blue"], [["red"]], FLOWERS)["colours"].f1 == 0


def test_without_words_nothing_is_read() -> None:
    nothing = Lexicon()
    assert nothing.said("a red flower") == {}
    assert nothing.named("a red flower") == {}
    assert word_agreement(["red"], [["red"]], nothing) == {}
    assert nothing.words == []


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    lexicon.write(tmp_path, WORDS)
    found = lexicon.read(tmp_path)
    caption = "this small flower has narrow red petals with a yellow center on a dark background"
    assert found.named(caption) == WORDS.named(caption)
    assert len(found.named(caption)) == 5
    assert found.words == WORDS.words
    assert list(found.kinds) == list(WORDS.kinds)


def test_the_reader_is_no_flowers_own() -> None:
    """The same rules read the words of another set."""
    planes = replace(
        Lexicon(),
        attributes={"roof_colour": {"red": ("red",)}, "water_colour": {"blue": ("deep blue",)}},
        nouns={"roof": "roof", "roofs": "roof", "lake": "water"},
        needs={"roof_colour": "roof", "water_colour": "water"},
        stops=("and", "the"),
    )
    assert planes.named("red roofs and the deep blue lake") == {
        "roof_colour": "red",
        "water_colour": "blue",
    }
    assert planes.named("the red lake and the deep blue roof") == {}


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"colour": {}}', '{"attributes": [1]}'])
def test_damaged_words_are_named_with_the_command(tmp_path: Path, text: str) -> None:
    (tmp_path / lexicon.FILE).write_text(text)
    with pytest.raises(InputError, match=r"words.json is missing or damaged .*--force download"):
        lexicon.read(tmp_path)


def test_a_letter_that_makes_another_word_is_found(tmp_path: Path) -> None:
    lexicon.write(tmp_path, WORDS)
    path = tmp_path / lexicon.FILE
    path.write_text(path.read_text().replace('"bright red"', '"bright rad"'))
    with pytest.raises(InputError, match=r"words.json is .* damaged .its digest does not match"):
        lexicon.read(tmp_path)


def test_missing_words_are_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"words.json is missing or damaged"):
        lexicon.read(tmp_path)


def test_a_set_has_its_own_words_where_nobody_knows_any() -> None:
    """Those that tell its images apart: neither what all say nor what one says."""
    captions = [
        [f"an image of the {'harbour' if i % 2 else 'desert'}", f"image number{i}"]
        for i in range(40)
    ]
    assert own_words(captions) == Lexicon(kinds={"words": ["desert", "harbour"]})
    assert own_words([["one"], ["other"]]) == Lexicon()
    assert own_words([]) == Lexicon()


def test_flowers_alone_are_asked_for_flowers_words() -> None:
    assert SOURCES.keys() - LEXICONS.keys() == {"folder"}


def test_what_download_wrote_is_the_gardens(checkout: Path) -> None:
    told = json.loads((checkout / "data/pictures/words.json").read_text())
    assert list(told["kinds"]) == ["colours", "parts", "shapes", "counts"]
    assert next(iter(told["attributes"])) == "petal_colour"
