"""BLEU against sacrebleu's own command and nltk; the baselines by hand."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import corpus_bleu
from torch.nn import functional as F

from pairsynth.metrics.captions import bleu, most_frequent, nearest_caption, shifted, signature

COLOURS, ENDS = ("red", "blue", "white"), ("yellow center", "thin stamen", "green sepals")


def sentences(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [
        f"this flower has {draw.choice(COLOURS)} petals "
        f"{draw.choice(['and', 'with', 'around'])} {draw.choice(['a', 'many'])} {draw.choice(ENDS)}"
        for _ in range(count)
    ]


@pytest.mark.parametrize("references", [1, 3, 9])
def test_bleu_equals_nltk_on_long_sentences(references: int) -> None:
    hypotheses = sentences(40, 1)
    columns = [sentences(40, 2 + i) for i in range(references)]
    own = [list(row) for row in zip(*columns, strict=True)]
    found = bleu(hypotheses, own)
    split = [[reference.split() for reference in row] for row in own]
    for order in (1, 2, 3, 4):
        weights = (1 / order,) * order
        wanted = corpus_bleu(split, [h.split() for h in hypotheses], weights=weights)
        assert found[f"bleu_{order}"] == pytest.approx(100 * wanted, abs=1e-6)


def test_bleu_by_hand() -> None:
    """Four of five words right, three of four pairs; the reference is one word longer."""
    found = bleu(["a red flower with petals"], [["a red flower with thin petals"]])
    shorter = torch.exp(torch.tensor(1 - 6 / 5)).item()
    assert found["bleu_1"] == pytest.approx(100 * shorter)
    assert found["bleu_2"] == pytest.approx(100 * shorter * (1 * 3 / 4) ** 0.5)
    assert bleu(["a red flower"], [["blue petals"]])["bleu_4"] == 0


def test_case_and_punctuation_do_not_count() -> None:
    same = bleu(
        ["This flower is RED, with thin petals."], [["this flower is red with thin petals"]]
    )
    assert same["bleu_4"] == pytest.approx(100)


def test_references_may_differ_in_number() -> None:
    hypotheses = ["a red flower with petals", "a blue flower with petals"]
    own = [["a red flower with petals", "no"], ["a blue flower with petals"]]
    assert bleu(hypotheses, own)["bleu_4"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("hypotheses", "references"),
    [(["a"], [["a"], ["b"]]), ([], []), (["a"], [[]])],
)
def test_lists_that_do_not_fit_are_refused(
    hypotheses: list[str], references: list[list[str]]
) -> None:
    with pytest.raises(ValueError, match="each caption needs a list of one or more"):
        bleu(hypotheses, references)


@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_and_of_references_does_not_count(draw: random.Random) -> None:
    hypotheses, own = sentences(12, 5), [sentences(4, 50 + i) for i in range(12)]
    order = draw.sample(range(12), 12)
    mixed = bleu([hypotheses[i] for i in order], [draw.sample(own[i], 4) for i in order])
    assert mixed == pytest.approx(bleu(hypotheses, own), abs=1e-9)


def test_the_signature_tells_version_and_smoothing() -> None:
    assert "version:" in signature()
    assert "smooth:none" in signature()


def test_most_frequent_counts_words_not_spelling_and_breaks_ties_by_alphabet() -> None:
    assert most_frequent(["A red flower.", "a red flower", "blue"]) == "a red flower"
    assert most_frequent(["b", "a"]) == "a"


def test_nearest_caption_is_the_first_of_the_nearest_picture() -> None:
    references = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    captions = [[f"first {i}", f"second {i}"] for i in range(5)]
    found = nearest_caption(references[[3, 1]] + 0.01, references, captions)
    assert found == ["first 3", "first 1"]


@pytest.mark.parametrize("count", [2, 3, 10])
def test_shifted_leaves_no_caption_in_its_place(count: int) -> None:
    captions = [str(i) for i in range(count)]
    assert sorted(shifted(captions)) == sorted(captions)
    assert all(a != b for a, b in zip(captions, shifted(captions), strict=True))
