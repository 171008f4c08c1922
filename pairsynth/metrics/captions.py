"""How good are captions: BLEU against all references, beside baselines on an equal footing."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from torch import Tensor

from pairsynth.text import normalize

ORDERS = (1, 2, 3, 4)


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Corpus BLEU-1 to BLEU-4 (Papineni et al., 2002) by sacrebleu, 0 to 100, on bare words.

    references: one list a hypothesis; the lists may differ in length, none may be empty.

    Raises:
        ValueError: where the two differ in length (sacrebleu would cut the longer one short), a
            hypothesis has no reference, or there is none.
    """
    if len(hypotheses) != len(references) or not hypotheses or not all(references):
        raise ValueError(
            f"{len(hypotheses)} captions and {len(references)} lists of references; each caption "
            "needs a list of one or more"
        )
    most = max(map(len, references))
    # None, not "": an empty reference would be the closest in length to a short caption.
    streams: list[Any] = [
        [normalize(own[i]) if i < len(own) else None for own in references] for i in range(most)
    ]
    bare = [normalize(caption) for caption in hypotheses]
    return {f"bleu_{order}": _measure(order).corpus_score(bare, streams).score for order in ORDERS}


def signature() -> str:
    """What sacrebleu did, in its own words, for BLEU-4."""
    measure = _measure(4)
    measure.corpus_score(["a"], [["a"]])
    return str(measure.get_signature())


def _measure(order: int) -> BLEU:
    return BLEU(max_ngram_order=order, tokenize="none", smooth_method="none")


def most_frequent(captions: Sequence[str]) -> str:
    """The caption that occurs most often; the first in the alphabet of several."""
    counts = Counter(map(normalize, captions))
    return min(counts, key=lambda caption: (-counts[caption], caption))


def nearest_caption(
    images: Tensor, references: Tensor, captions: Sequence[Sequence[str]]
) -> list[str]:
    """For each image vector (N, D) the first caption of the nearest of `references` (M, D)."""
    return [captions[row][0] for row in (images @ references.T).argmax(1).tolist()]


def shifted(captions: Sequence[str]) -> list[str]:
    """Each caption moved half way round the list: surely another's, often of another class."""
    half = max(1, len(captions) // 2)
    return [*captions[half:], *captions[:half]]
