"""Caption scores against references: BLEU, ROUGE-L, METEOR, words; and baseline captions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from nltk.stem import PorterStemmer
from nltk.translate.meteor_score import meteor_score
from sacrebleu.metrics.bleu import BLEU
from torch import Tensor

from pairsynth.lexicon import Lexicon
from pairsynth.text import normalize

ORDERS = (1, 2, 3, 4)
RECALL_WEIGHT = 1.2


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Corpus BLEU-1 to BLEU-4 (Papineni et al., 2002) by sacrebleu, 0 to 100, on bare words.

    references: one list per hypothesis; the lists may differ in length, none may be empty.

    Raises:
        ValueError: where the two differ in length (sacrebleu would cut the longer one short), a
            hypothesis has no reference, or there is none.
    """
    check_references(hypotheses, references)
    streams = _streams(references)
    bare = [normalize(caption) for caption in hypotheses]
    return {f"bleu_{order}": _measure(order).corpus_score(bare, streams).score for order in ORDERS}


def _streams(references: Sequence[Sequence[str]]) -> list[Any]:
    """The references transposed as sacrebleu takes them: all first ones, all second ones, ..."""
    most = max(map(len, references))
    # None, not "": an empty reference would be the closest in length to a short caption.
    return [
        [normalize(own[i]) if i < len(own) else None for own in references] for i in range(most)
    ]


def check_references(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Check that there are captions and that each has at least one reference.

    Raises:
        ValueError: with both numbers.
    """
    if len(hypotheses) != len(references) or not hypotheses or not all(references):
        raise ValueError(
            f"{len(hypotheses)} captions and {len(references)} lists of references; each caption "
            "needs a list of one or more"
        )


def signature(references: Sequence[Sequence[str]]) -> str:
    """sacrebleu's signature of BLEU-4 for such lists of references."""
    measure = _measure(4)
    measure.corpus_score([own[0] for own in references], _streams(references))
    return str(measure.get_signature())


def _measure(order: int) -> BLEU:
    return BLEU(max_ngram_order=order, tokenize="none", smooth_method="none")


def rouge_l(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean F of the longest common subsequence (Lin, 2004), 0 to 1, as the COCO scores take it.

    Precision and recall are each the best over a caption's references; recall weighs 1.2 squared.
    """
    check_references(hypotheses, references)
    return sum(map(_rouge_l, hypotheses, references)) / len(hypotheses)


def _rouge_l(hypothesis: str, references: Sequence[str]) -> float:
    own, others = normalize(hypothesis).split(), [normalize(one).split() for one in references]
    shared = [common_subsequence(own, other) for other in others]
    if not any(shared):
        return 0.0
    precision = max(shared) / len(own)
    recall = max(length / len(other) for length, other in zip(shared, others, strict=True) if other)
    weight = RECALL_WEIGHT**2
    return (1 + weight) * precision * recall / (recall + weight * precision)


def common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """The length in words of the longest common subsequence."""
    # L(i, j) = L(i - 1, j - 1) + 1 for equal words i and j, else max(L(i - 1, j), L(i, j - 1))
    row = [0] * (len(right) + 1)
    for word in left:
        above = row
        row = [0]
        for j, other in enumerate(right):
            row.append(above[j] + 1 if word == other else max(above[j + 1], row[j]))
    return row[-1]


class _NoSynonyms:
    """Replaces WordNet, which is a download: no word has synonyms."""

    def synsets(self, word: str) -> list[Any]:
        return []


class _Stemmer:
    """Porter stems, cached by word: the scores of 500 captions take 0.1 s instead of 0.8 s."""

    def __init__(self) -> None:
        self.stem = cache(PorterStemmer().stem)


def meteor_stems(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean METEOR by nltk (Banerjee and Lavie, 2005), 0 to 1, matching words and stems.

    Synonyms are left out, since WordNet is a download: not comparable with METEOR that has them.
    """
    check_references(hypotheses, references)
    stemmer, synonyms = _Stemmer(), _NoSynonyms()
    scores = [
        meteor_score(
            [normalize(one).split() for one in own],
            normalize(hypothesis).split(),
            stemmer=stemmer,
            wordnet=synonyms,
        )
        for hypothesis, own in zip(hypotheses, references, strict=True)
    ]
    return float(sum(scores) / len(scores))


def most_frequent(captions: Sequence[str]) -> str:
    """The most frequent caption; of several the first in the alphabet."""
    if not captions:
        raise ValueError("no captions; none of them is the most frequent")
    counts = Counter(map(normalize, captions))
    return min(counts, key=lambda caption: (-counts[caption], caption))


def nearest_caption(
    images: Tensor, references: Tensor, captions: Sequence[Sequence[str]]
) -> list[str]:
    """For each image vector (N, D) the first caption of the nearest of `references` (M, D)."""
    return [captions[row][0] for row in (images @ references.T).argmax(1).tolist()]


def rotated(captions: Sequence[str], by: int = 0) -> list[str]:
    """The captions rotated by `by` rows; 0: by half the list, mostly to other classes."""
    by = by or max(1, len(captions) // 2)
    return [*captions[by:], *captions[:by]]


@dataclass(frozen=True, kw_only=True)
class WordAgreement:
    """Words of captions against references: precision and recall, None where nothing counts."""

    precision: float | None
    recall: float | None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of both; None where either is None."""
        if self.precision is None or self.recall is None:
            return None
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def word_agreement(
    captions: Sequence[str], references: Sequence[Sequence[str]], lexicon: Lexicon
) -> dict[str, WordAgreement]:
    """For each kind of words of the lexicon, how well captions match the references.

    Precision counts a word as right where any reference of the image has it; recall counts only
    words that at least half of the references have.
    """
    counts = {kind: [0, 0, 0, 0] for kind in lexicon.kinds}
    for caption, own in zip(captions, references, strict=True):
        told, known = lexicon.said(caption), [lexicon.said(one) for one in own]
        for kind, count in counts.items():
            spoken = told.get(kind, set())
            anyone = set().union(*(one.get(kind, set()) for one in known))
            most = {
                w for w in anyone if 2 * sum(w in one.get(kind, ()) for one in known) >= len(own)
            }
            count[0] += len(spoken & anyone)
            count[1] += len(spoken)
            count[2] += len(spoken & most)
            count[3] += len(most)
    return {
        kind: WordAgreement(precision=a / b if b else None, recall=c / d if d else None)
        for kind, (a, b, c, d) in counts.items()
    }
