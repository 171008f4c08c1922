"""BLEU against nltk, CIDEr-D and ROUGE-L against the COCO scores' values, the rest by hand."""

import random
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import corpus_bleu
from torch.nn import functional as F

from pairsynth.metrics.captions import (
    bleu,
    common_subsequence,
    meteor_stems,
    most_frequent,
    nearest_caption,
    rotated,
    rouge_l,
    signature,
)
from pairsynth.metrics.cider import CiderD

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
    told = signature([["a red flower", "it is red"]])
    assert told.startswith("nrefs:2|")
    assert "version:" in told
    assert "smooth:none" in told
    assert signature([["red"], ["blue", "it is blue"]]).startswith("nrefs:var|")


def test_most_frequent_counts_words_not_spelling_and_breaks_ties_by_alphabet() -> None:
    assert most_frequent(["A red flower.", "a red flower", "blue"]) == "a red flower"
    assert most_frequent(["b", "a"]) == "a"


def test_nearest_caption_is_the_first_of_the_nearest_image() -> None:
    references = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    captions = [[f"first {i}", f"second {i}"] for i in range(5)]
    found = nearest_caption(references[[3, 1]] + 0.01, references, captions)
    assert found == ["first 3", "first 1"]


@pytest.mark.parametrize("count", [2, 3, 10])
def test_shifted_leaves_no_caption_in_its_place(count: int) -> None:
    captions = [str(i) for i in range(count)]
    assert sorted(rotated(captions)) == sorted(captions)
    assert all(a != b for a, b in zip(captions, rotated(captions), strict=True))


# ---------------------------------------------------------------- CIDEr-D, ROUGE-L, METEOR

HYPOTHESES = [
    "this flower has red petals and a yellow center",
    "the petals are blue",
    "a white flower with many thin thin petals",
    "purple",
]
REFERENCES = [
    [
        "this flower has red petals with a yellow center",
        "a red flower with yellow stamen",
        "the petals are red and round",
    ],
    ["the petals of this flower are blue", "this flower has blue petals"],
    [
        "a white flower with thin petals",
        "thin white petals around a yellow center",
        "white white petals",
    ],
    ["this flower is pink and purple", "a purple flower"],
]
# What pycocoevalcap 1.2 gives for these, document frequencies taken from the references.
COCO_CIDER = [2.6762706767841338, 2.191282863642911, 2.0984895740567526, 1.6445408510502886]
COCO_ROUGE = [0.88888889, 0.69318182, 0.87980769, 0.45864662]


@pytest.mark.parametrize("row", range(4))
def test_cider_and_rouge_equal_the_coco_scores(row: int) -> None:
    hypothesis, own = HYPOTHESES[row : row + 1], REFERENCES[row : row + 1]
    assert CiderD(REFERENCES)(hypothesis, own) == pytest.approx(COCO_CIDER[row], abs=1e-9)
    assert rouge_l(hypothesis, own) == pytest.approx(COCO_ROUGE[row], abs=1e-8)


def test_the_score_of_all_is_the_mean() -> None:
    cider = CiderD(REFERENCES)
    assert cider(HYPOTHESES, REFERENCES) == pytest.approx(sum(COCO_CIDER) / 4)
    assert rouge_l(HYPOTHESES, REFERENCES) == pytest.approx(sum(COCO_ROUGE) / 4)


def test_the_caption_of_the_image_itself_scores_ten() -> None:
    captions = ["a red flower with thin petals", "blue petals around a white center"]
    assert CiderD([[one] for one in captions])(captions, [[one] for one in captions]) == (
        pytest.approx(10)
    )


def slow_subsequence(left: list[str], right: list[str]) -> int:
    if not left or not right:
        return 0
    if left[-1] == right[-1]:
        return 1 + slow_subsequence(left[:-1], right[:-1])
    return max(slow_subsequence(left[:-1], right), slow_subsequence(left, right[:-1]))


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abcd"), max_size=8))
def test_common_subsequence_against_the_recursion(left: list[str], right: list[str]) -> None:
    assert common_subsequence(left, right) == slow_subsequence(left, right)


def test_meteor_by_hand() -> None:
    """Equal words in one chunk: 1 less half of (1 / 4) cubed; stems count as equal."""
    whole = 1 - 0.5 * (1 / 4) ** 3
    assert meteor_stems(["a red flower blooms"], [["a red flower blooms"]]) == pytest.approx(whole)
    assert meteor_stems(["a red flower blooming"], [["a red flower blooms"]]) == (
        pytest.approx(whole)
    )
    assert meteor_stems(["blue"], [["red petals"]]) == 0


def test_meteor_takes_the_best_reference() -> None:
    own = ["nothing like it", "a red flower with petals"]
    assert meteor_stems(["a red flower"], [own]) == meteor_stems(["a red flower"], [own[1:]])


SCORES: dict[str, Callable[[list[str], list[list[str]]], object]] = {
    "bleu": bleu,
    "rouge_l": rouge_l,
    "meteor": meteor_stems,
    "cider": CiderD(REFERENCES),
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("captions", "references"),
    [([], []), (["a"], []), (["a"], [["a"], ["b"]]), (["a", "b"], [["a"], []])],
)
def test_odd_lists_are_refused_not_cut_short(
    name: str, captions: list[str], references: list[list[str]]
) -> None:
    with pytest.raises(ValueError, match="each caption needs a list of one or more"):
        SCORES[name](captions, references)


@pytest.mark.parametrize("name", SCORES)
@given(order=st.permutations(range(4)))
def test_the_order_of_captions_does_not_count(name: str, order: list[int]) -> None:
    mixed = SCORES[name]([HYPOTHESES[i] for i in order], [REFERENCES[i] for i in order])
    assert mixed == pytest.approx(SCORES[name](HYPOTHESES, REFERENCES))


def test_nothing_has_no_most_frequent_caption_and_no_rare_words() -> None:
    with pytest.raises(ValueError, match="no captions"):
        most_frequent([])
    with pytest.raises(ValueError, match="no documents"):
        CiderD([])


def test_captions_are_shifted_half_way_or_by_rows() -> None:
    assert rotated(["a", "b", "c", "d"]) == ["c", "d", "a", "b"]
    assert rotated(["a", "b", "c", "d"], 1) == ["b", "c", "d", "a"]
    assert rotated(["a"]) == ["a"]
