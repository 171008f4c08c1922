"""Are captions well-formed: likely by a language model, agreeing in number, not repetitive.

No measure here looks at images. Each is also taken of people's captions, which have errors too.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from nltk.lm import WittenBellInterpolated
from nltk.lm.preprocessing import pad_both_ends, padded_everygram_pipeline
from nltk.util import ngrams

from pairsynth.metrics.agreement import Share
from pairsynth.text import normalize

ORDER = 3
UNKNOWN = "<UNK>"
SINGULAR = frozenset(("a", "an", "one", "this", "that", "each", "every"))
PLURAL = frozenset(
    (
        *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
        *("many", "several", "few", "these"),
    )
)
IS, ARE = frozenset(("is", "has", "was")), frozenset(("are", "have", "were"))
# What makes the noun after it part of another: "the petals of this flower are red".
JOINS = frozenset(
    ("of", "on", "in", "with", "and", "at", "to", "from", "for", "by", "or"),
)
THAT, THERE = frozenset(("that", "which")), frozenset(("there", "here"))
REACH = 4  # words before a noun among which such a word is looked for
LEAST, SURE = 5, 9


class LanguageModel:
    """An interpolated trigram model of people's captions (Witten-Bell, nltk).

    Contexts that were followed by many different words in training give more weight to shorter
    contexts. An unseen word has the probability of a word seen once.
    """

    def __init__(self, captions: Sequence[str]) -> None:
        """Counts the runs of one to three words of `captions`.

        Raises:
            ValueError: for no captions.
        """
        if not captions:
            raise ValueError("no captions; a language model needs one or more")
        words = [[UNKNOWN], *(normalize(caption).split() for caption in captions)]
        self.model = WittenBellInterpolated(ORDER)
        self.model.fit(*padded_everygram_pipeline(ORDER, words))

    def perplexity(self, captions: Sequence[str]) -> float | None:
        """Perplexity per word; None without captions.

        The ends of captions count as words.
        """
        runs = [
            run
            for caption in captions
            for run in ngrams(pad_both_ends(normalize(caption).split(), ORDER), ORDER)
        ]
        if not runs:
            return None
        bits = -sum(self.model.logscore(run[-1], run[:-1]) for run in runs)
        return float(2 ** (bits / len(runs)))


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Nouns that people use in the singular only, and in the plural only."""

    singular: frozenset[str]
    plural: frozenset[str]


def numbers(captions: Sequence[str]) -> Numbers:
    """The nouns of people's captions that are singular (flower is) or plural (petals are).

    Decided by the verbs after a noun: at least five, nine in ten of one number. Captions without
    English verbs have none, and then nothing is measured.
    """
    counts: dict[str, list[int]] = {}
    for caption in captions:
        for noun, verb in _subjects(normalize(caption).split()):
            counts.setdefault(noun, [0, 0])[verb in ARE] += 1
    often = {noun: one for noun, one in counts.items() if sum(one) >= LEAST}
    return Numbers(
        singular=frozenset(noun for noun, (one, many) in often.items() if one >= SURE * many),
        plural=frozenset(noun for noun, (one, many) in often.items() if many >= SURE * one),
    )


def _subjects(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Nouns with the verb right after them or after their "that": "petals that are", "it is".

    A noun with a joining word before it is left out ("the petals of this flower are red").
    """
    for i, (word, after) in enumerate(pairwise(words)):
        place = i - 1 if word in THAT else i
        near = set(words[max(0, place - REACH) : place + 1])
        subject = place >= 0 and words[place] not in THERE | THAT
        if after in IS | ARE and subject and not JOINS & near:
            yield words[place], after


def number_agreement(captions: Sequence[str], known: Numbers) -> Share:
    """How often a noun agrees with the article or number before it, and with the verb after it.

    Only nouns of known number count: "five petals", "this flower", "petals are".
    """
    found = [right for caption in captions for right in _agree(normalize(caption).split(), known)]
    return Share(sum(found), len(found))


def _agree(words: Sequence[str], known: Numbers) -> Iterator[bool]:
    nouns = known.singular | known.plural
    for word, after in pairwise(words):
        if word in SINGULAR | PLURAL and after in nouns:
            yield (word in SINGULAR) == (after in known.singular)
    for noun, verb in _subjects(words):
        if noun in nouns:
            yield (noun in known.singular) == (verb in IS)


def repeating(captions: Collection[str]) -> Share:
    """Captions that say a word twice in a row, or the same two words twice."""
    return Share(sum(map(_repeats, captions)), len(captions))


def _repeats(caption: str) -> bool:
    words = normalize(caption).split()
    two = list(pairwise(words))
    return len(two) > len(set(two)) or any(a == b for a, b in two)
