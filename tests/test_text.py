"""Captions to numbers and back."""

import hashlib
import re
import unicodedata

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pairsynth.sampling import one_caption
from pairsynth.text import (
    END,
    PAD,
    SPECIALS,
    START,
    UNKNOWN,
    Vocabulary,
    detokenize,
    normalize,
    split,
    tokenize,
    trim,
)

WORD = st.from_regex(r"[a-z0-9]{1,6}(?:['-][a-z0-9]{1,3})?", fullmatch=True)
CAPTIONS = ["a red flower, with petals", "a red flower", "a blue-ish one", "it's red"]


# ---------------------------------------------------------------- tokens


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("The flower is red.", ["the", "flower", "is", "red"]),
        ("A  star-shaped\tflower,with it's 5 petals!", "a star-shaped flower , with it's 5 petals"),
        ("'quoted' -dashed- x--y", "quoted dashed x y"),
        ("", []),
        ("?! ... —", []),
    ],
)
def test_tokens_by_hand(caption: str, tokens: list[str] | str) -> None:
    assert tokenize(caption) == (tokens.split() if isinstance(tokens, str) else tokens)


@given(st.text())
def test_tokens_are_words_and_commas_whatever_the_text(text: str) -> None:
    for token in tokenize(text):
        parts = re.split("['-]", token)
        kinds = {unicodedata.category(letter) for part in parts for letter in part}
        known = {kind[0] for kind in kinds - {"Cn"}}  # letters younger than Python's own tables
        assert token == "," or (all(parts) and known <= {"L", "M", "N"})
        assert tokenize(token) == [token]
    assert tokenize(text.lower()) == tokenize(text)


@given(st.text(st.characters(max_codepoint=127)))
def test_english_is_read_as_it_always_was(text: str) -> None:
    """What is committed was learned from tokens by this rule."""
    assert tokenize(text) == re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*|,", text.lower())


@pytest.mark.parametrize(
    ("caption", "tokens", "back"),
    [
        ("Eine schöne Blüte", ["eine", "schöne", "blüte"], "eine schöne blüte"),
        ("Eine scho\u0308ne Blu\u0308te", ["eine", "schöne", "blüte"], "eine schöne blüte"),
        (
            "L\u2019œillet, c'est rouge",
            ["l'œillet", ",", "c'est", "rouge"],
            "l'œillet, c'est rouge",
        ),
        ("Красный цветок", ["красный", "цветок"], "красный цветок"),
        ("这朵花\uff0c是红色的", [*"这朵花", ",", *"是红色的"], "这朵花\uff0c是红色的"),
        ("赤い花、きれい", [*"赤い花", ",", *"きれい"], "赤い花、きれい"),
        ("红色的花, rose, 花", [*"红色的花", ",", "rose", ",", "花"], "红色的花\uff0crose, 花"),
        ("हिन्दी फूल", ["हिन्दी", "फूल"], "हिन्दी फूल"),
        ("红色 rose 花", ["红", "色", "rose", "花"], "红色 rose 花"),
    ],
)
def test_words_of_any_language(caption: str, tokens: list[str], back: str) -> None:
    assert tokenize(caption) == tokens
    assert detokenize(tokens) == back
    assert tokenize(back) == tokens


@given(st.lists(st.one_of(WORD, st.just(",")), max_size=12))
def test_detokenized_captions_have_no_stray_commas(tokens: list[str]) -> None:
    caption = detokenize(tokens)
    assert not caption.startswith((" ", ","))
    assert not caption.endswith((" ", ","))
    assert ",," not in caption
    assert " ," not in caption
    assert "  " not in caption
    words = [token for token in tokens if token != ","]
    assert [token for token in tokenize(caption) if token != ","] == words


@given(st.text())
def test_a_second_round_changes_nothing(text: str) -> None:
    once = detokenize(tokenize(text))
    assert detokenize(tokenize(once)) == once
    assert normalize(once) == normalize(text)


@given(st.lists(WORD, min_size=1, max_size=8))
def test_words_come_back_as_they_went(words: list[str]) -> None:
    assert tokenize(detokenize(words)) == words


def test_normalize_forgets_case_spacing_and_punctuation() -> None:
    assert normalize("A red,  flower!") == normalize("a RED flower") == "a red flower"
    assert normalize("a red flower") != normalize("red a flower")


def test_characters_are_those_of_the_words() -> None:
    assert split("A red, one!", "character") == list("a red, one")
    assert split("A red, one!", "word") == ["a", "red", ",", "one"]


# ---------------------------------------------------------------- vocabulary


def test_frequent_words_come_first_and_ties_by_the_alphabet() -> None:
    vocabulary = Vocabulary.build(CAPTIONS, "word")
    assert vocabulary.tokens[:4] == SPECIALS
    assert vocabulary.tokens[4:7] == ("a", "red", "flower")
    assert vocabulary.tokens[7:] == (",", "blue-ish", "it's", "one", "petals", "with")
    assert len(vocabulary) == 13
    assert Vocabulary.build(CAPTIONS[::-1], "word") == vocabulary


def test_rare_words_are_unknown() -> None:
    vocabulary = Vocabulary.build(CAPTIONS, "word", min_count=2)
    assert vocabulary.tokens[4:] == ("a", "red", "flower")
    [row] = vocabulary.encode(["a blue-ish red flower"], 10).tolist()
    assert row == [START, 4, UNKNOWN, 5, 6, END]
    assert vocabulary.decode(torch.tensor([row])) == ["a red flower"]
    assert len(Vocabulary.build([], "word")) == 4


@pytest.mark.parametrize("unit", ["word", "character"])
@given(captions=st.lists(st.lists(WORD, min_size=1, max_size=6), min_size=1, max_size=5))
def test_captions_come_back_as_they_went(unit: str, captions: list[list[str]]) -> None:
    told = [" ".join(words) for words in captions]
    vocabulary = Vocabulary.build(told, unit)
    rows = vocabulary.encode(told, 201)
    assert vocabulary.decode(rows) == told
    assert rows.shape[0] == len(told)
    assert bool((rows[:, 0] == START).all())
    for row, caption in zip(rows.tolist(), told, strict=True):
        end = row.index(END)
        assert end == len(split(caption, unit)) + 1
        assert all(number == PAD for number in row[end + 1 :])
        assert PAD not in row[:end]


def test_long_captions_are_cut_and_still_end() -> None:
    vocabulary = Vocabulary.build(["a b c d e f"], "word")
    rows = vocabulary.encode(["a b c d e f", "a"], 5)
    assert rows.shape == (2, 5)
    assert vocabulary.decode(rows) == ["a b c", "a"]
    assert int(rows[0, -1]) == END


def test_no_captions_and_empty_captions() -> None:
    vocabulary = Vocabulary.build(["a"], "word")
    assert vocabulary.encode([], 10).shape[0] == 0
    assert vocabulary.encode(["", "?!"], 10).tolist() == [[START, END]] * 2
    assert vocabulary.decode(torch.tensor([[START, END, PAD]])) == [""]


def test_decode_stops_at_the_first_end_and_needs_none() -> None:
    vocabulary = Vocabulary.build(["a b"], "word")
    rows = torch.tensor([[4, END, 5, 5], [4, 5, 4, 5], [START, 4, PAD, UNKNOWN]])
    assert vocabulary.decode(rows) == ["a", "a b a b", "a"]


def test_the_digest_tells_vocabularies_apart() -> None:
    words = Vocabulary.build(CAPTIONS, "word")
    others = [
        Vocabulary.build([*CAPTIONS, "new"], "word"),
        Vocabulary("word", words.tokens[::-1]),
        Vocabulary("character", words.tokens),
        Vocabulary.build(CAPTIONS, "word", 2),
    ]
    assert len({words.digest, *(other.digest for other in others)}) == 5
    assert Vocabulary.build(CAPTIONS, "word").digest == words.digest
    lines = b"word\n<pad>\n<start>\n<end>\n<unknown>\na\nb"
    wanted = hashlib.sha256(lines).hexdigest()[:16]
    assert Vocabulary("word", (*SPECIALS, "a", "b")).digest == wanted


# ---------------------------------------------------------------- rows


@given(counts=st.lists(st.integers(1, 10), min_size=1, max_size=20), seed=st.integers(0, 2**32))
def test_one_caption_is_one_of_the_images_own(counts: list[int], seed: int) -> None:
    first = torch.tensor([0, *counts]).cumsum(0)
    rows = torch.arange(len(counts)).repeat(3)
    drawn = one_caption(rows, first, torch.Generator().manual_seed(seed))
    assert bool((drawn >= first[rows]).all())
    assert bool((drawn < first[rows + 1]).all())


def test_captions_are_drawn_evenly() -> None:
    first = torch.tensor([0, 2, 7])
    rows = torch.ones(5000, dtype=torch.long)
    drawn = one_caption(rows, first, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=7)
    assert counts[:2].tolist() == [0, 0]
    assert bool(((counts[2:] - 1000).abs() < 130).all())


def test_trim_takes_away_what_is_padding_everywhere() -> None:
    tokens = torch.tensor([[1, 5, 2, 0, 0], [1, 2, 0, 0, 0]])
    assert trim(tokens).tolist() == [[1, 5, 2], [1, 2, 0]]
    assert torch.equal(trim(tokens[:, :3]), tokens[:, :3])
