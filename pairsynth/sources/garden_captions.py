"""Captions of garden flowers: a lexicon, and a grammar that writes captions.

The grammar and the lexicon `WORDS` share `LEXICON`, so that `WORDS` finds what the grammar wrote.
The sentence forms follow the captions of Reed et al. (2016) for Oxford-102.
"""

from bisect import bisect
from dataclasses import replace
from functools import cache

import numpy as np

from pairsynth.sources.flower_words import FLOWERS

CAPTIONS = 10  # of each image
PLAIN = 0.6  # share of the plainest wording of a value where there are several

COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "bright red", "crimson", "scarlet", "ruby red"),
    "orange": ("orange", "bright orange", "tangerine", "fiery orange"),
    "yellow": ("yellow", "bright yellow", "golden", "lemon yellow"),
    "white": ("white", "snow white", "creamy white", "ivory"),
    "pink": ("pink", "rosy pink", "light pink", "rose colored"),
    "lavender": ("lavender", "lilac", "light purple"),
    "purple": ("purple", "deep purple", "violet"),
    "blue": ("blue", "deep blue", "royal blue", "cobalt blue"),
    "green": ("green", "bright green", "lime green"),
    "brown": ("brown", "dark brown", "chocolate brown"),
}
PETAL_COLOURS = ("red", "orange", "yellow", "white", "pink", "lavender", "purple", "blue")
CENTRE_COLOURS = ("yellow", "white", "green", "brown", "purple")
# attribute -> value -> the ways to say it; the first is the plain one and the most used.
LEXICON: dict[str, dict[str, tuple[str, ...]]] = {
    "petal_colour": {name: COLOURS[name] for name in PETAL_COLOURS},
    "petal_shape": {
        "round": ("round", "rounded", "oval", "spoon shaped"),
        "pointed": ("pointed", "pointy", "sharp tipped", "tapered"),
        "narrow": ("narrow", "thin", "slim", "strap shaped"),
        "heart shaped": ("heart shaped", "notched"),
    },
    "petal_count": {
        "four": ("four",),
        "five": ("five",),
        "six": ("six",),
        "eight": ("eight",),
        "ten": ("ten",),
    },
    "arrangement": {
        "single": ("a single layer", "a single row", "one ring"),
        "layered": ("two layers", "two rows", "two rings"),
    },
    "size": {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")},
    "edge": {"smooth": ("smooth",), "ruffled": ("ruffled", "wavy", "frilly", "crinkled")},
    "centre_colour": {name: COLOURS[name] for name in CENTRE_COLOURS},
    "centre_size": {"small": ("small", "little"), "large": ("large", "big", "wide", "broad")},
    "leaves": {
        "broad": ("broad", "broad green", "wide green", "large green"),
        "slender": ("slender", "slender green", "grassy"),
        "no": ("no", "no visible"),
    },
    "background": {
        "green": ("green", "leafy green"),
        "blue": ("blue", "sky blue"),
        "brown": ("brown", "warm brown", "sandy brown"),
        "dark": ("dark", "nearly black", "shadowy"),
    },
}
ATTRIBUTES: dict[str, tuple[str, ...]] = {name: tuple(said) for name, said in LEXICON.items()}

# <attribute> stands for words from the lexicon. No sentence names an attribute twice, and
# <petal_count> never meets <arrangement>: of a layered flower it says "two layers of five".
GRAMMAR = """
S -> THIS HAS [0.22] | THIS SHOWS PETALS MORE [0.15] | PETALS_OF ARE AFTER [0.16]
S -> THIS 'is' COLOURED [0.14] | A_FLOWER 'with' PETALS MORE [0.10]
S -> LOOSE [0.09] | SURROUNDED [0.09] | SHORT [0.05]

THIS -> 'this flower' [0.54] | 'the flower' [0.12] | 'this' FINE 'flower' [0.08]
THIS -> 'this bloom' [0.05] | 'this blossom' [0.05] | 'this' '<size>' 'flower' [0.16]
A_FLOWER -> 'a flower' [0.33] | 'a' FINE 'flower' [0.16] | 'a' '<size>' 'flower' [0.29]
A_FLOWER -> 'one flower' [0.06] | 'a' 'blossom' [0.08] | 'a' 'bloom' [0.08]
FINE -> 'pretty' [0.4] | 'beautiful' [0.2] | 'lovely' [0.2] | 'showy' [0.1] | 'graceful' [0.1]
TOUCH -> 'soft' [0.4] | 'delicate' [0.2] | 'silky' [0.2] | 'velvety' [0.2]
SHOWS -> 'has' [0.72] | 'features' [0.07] | 'displays' [0.07] | 'is made up of' [0.07]
SHOWS -> 'shows off' [0.07]

HAS -> 'has petals that are' PREDICATE AFTER [0.44]
HAS -> 'has petals that are' PREDICATE 'and has a' CENTRE WHERE [0.16]
HAS -> 'has petals that are' PREDICATE 'and has' '<centre_colour>' STAMEN WHERE [0.10]
HAS -> 'has' '<arrangement>' 'of' ADJECTIVES 'petals' MORE [0.20]
HAS -> 'has a' CENTRE 'and' ADJECTIVES 'petals' WHERE [0.10]
PREDICATE -> '<petal_colour>' [0.24] | '<petal_colour>' 'and' QUALITY [0.32]
PREDICATE -> QUALITY 'and' '<petal_colour>' [0.24] | TOUCH 'and' '<petal_colour>' [0.03]
PREDICATE -> '<petal_colour>' 'in color and' QUALITY [0.06]
PREDICATE -> '<petal_shape>' ',' '<edge>' 'and' '<petal_colour>' [0.11]
QUALITY -> '<petal_shape>' [0.86] | '<edge>' [0.14]

PETALS -> ADJECTIVES 'petals' [0.46] | '<petal_count>' ADJECTIVES 'petals' [0.54]
ADJECTIVES -> '<petal_colour>' [0.20] | '<petal_shape>' '<petal_colour>' [0.42]
ADJECTIVES -> '<edge>' '<petal_colour>' [0.10] | TOUCH '<petal_colour>' [0.02]
ADJECTIVES -> TOUCH ',' '<petal_shape>' '<petal_colour>' [0.08]
ADJECTIVES -> '<edge>' ',' '<petal_shape>' '<petal_colour>' [0.18]

PETALS_OF -> 'the petals of this flower' [0.38] | 'the petals on this flower' [0.16]
PETALS_OF -> 'the petals' [0.20] | 'its petals' [0.04]
PETALS_OF -> 'the petals of this' '<size>' 'flower' [0.22]
ARE -> 'are' PREDICATE [0.68] | 'are' PREDICATE 'and arranged in' '<arrangement>' [0.32]

COLOURED -> '<petal_colour>' IN_COLOUR 'and has' QUALITY 'petals' MORE [0.34]
COLOURED -> '<petal_colour>' IN_COLOUR ', with petals that are' SHAPED AFTER [0.50]
COLOURED -> '<petal_colour>' IN_COLOUR ', with petals in' '<arrangement>' MORE [0.16]
IN_COLOUR -> 'in color' [0.6] | [0.4]
SHAPED -> '<petal_shape>' [0.50] | '<edge>' 'and' '<petal_shape>' [0.26]
SHAPED -> '<petal_shape>' 'with' '<edge>' 'edges' [0.12] | '<edge>' 'along the edges' [0.12]

LOOSE -> A_FLOWER 'that is' '<petal_colour>' 'with' QUALITY 'petals' MORE [0.28]
LOOSE -> A_FLOWER 'with petals that are' PREDICATE AFTER [0.18]
LOOSE -> 'this image shows' A_FLOWER 'with' PETALS MORE [0.10]
LOOSE -> 'there are' PETALS 'on this flower' AFTER [0.20]
LOOSE -> '<petal_colour>' 'flower with' QUALITY 'petals' MORE [0.24]

SURROUNDED -> THIS SHOWS PETALS AROUND 'a' CENTRE WHERE [0.40]
SURROUNDED -> PETALS AROUND 'a' CENTRE WHERE [0.20]
SURROUNDED -> '<arrangement>' 'of' ADJECTIVES 'petals' AROUND 'a' CENTRE WHERE [0.25]
SURROUNDED -> 'the' CENTRE 'of this flower is surrounded by' PETALS WHERE [0.15]
AROUND -> 'surrounding' [0.5] | 'around' [0.3] | 'that surround' [0.2]

SHORT -> THIS 'is' '<petal_colour>' [0.24] | 'a' '<size>' '<petal_colour>' 'flower' [0.16]
SHORT -> '<petal_shape>' '<petal_colour>' 'petals' [0.16] | THIS 'has a' CENTRE [0.14]
SHORT -> '<petal_colour>' 'petals and a' CENTRE [0.20]
SHORT -> THIS 'is' '<petal_colour>' 'with' '<centre_colour>' 'in the middle' [0.10]

MORE -> WITH WHERE [0.45] | AND WHERE [0.15] | WHERE [0.40]
AFTER -> WITH WHERE [0.60] | WHERE [0.40]
WITH -> 'with a' CENTRE [0.40] | 'with' '<centre_colour>' STAMEN [0.17]
WITH -> ', and the' HEART CENTRE_IS [0.10] | ', and its' HEART CENTRE_IS [0.08]
WITH -> 'with a' HEART 'that is' '<centre_colour>' [0.10]
WITH -> 'with' '<centre_colour>' 'in the' MIDDLE [0.07] | 'with a' CENTRE 'inside' [0.08]
AND -> 'and a' CENTRE [0.50] | 'and' '<centre_colour>' STAMEN [0.25] | 'as well as a' CENTRE [0.25]
CENTRE -> '<centre_colour>' HEART [0.60] | '<centre_size>' '<centre_colour>' HEART [0.40]
CENTRE_IS -> 'is' '<centre_colour>' [0.6] | 'is' '<centre_size>' 'and' '<centre_colour>' [0.4]
HEART -> 'center' [0.72] | 'pistil' [0.16] | 'disk' [0.12]
MIDDLE -> 'middle' [0.6] | 'center' [0.4]
STAMEN -> 'stamen' [0.52] | 'stamens' [0.18] | 'anthers' [0.14] | 'pollen' [0.16]

WHERE -> [0.50] | LEAVES [0.18] | PLACE [0.17] | LEAVES PLACE [0.08] | ASIDE [0.07]
LEAVES -> 'with' '<leaves>' 'leaves' [0.50] | ', and it has' '<leaves>' 'leaves' [0.25]
LEAVES -> ', with' '<leaves>' 'leaves in view' [0.25]
PLACE -> 'against a' '<background>' 'background' [0.40] | 'on a' '<background>' 'background' [0.25]
PLACE -> 'in front of a' '<background>' 'backdrop' [0.35]
ASIDE -> ', fully open' [0.30] | 'and looks' FINE [0.30] | ', seen from above' [0.40]
"""

# The nouns a description may hang on, and which of them each attribute needs (the words of the
# others can mean one thing only).
NOUNS = {
    **dict.fromkeys(("petal", "petals", "flower", "flowers", "bloom", "blossom"), "flower"),
    **dict.fromkeys(("blooms", "blossoms", "edge", "edges", "tips"), "flower"),
    **dict.fromkeys(("center", "centre", "middle", "disk", "pistil", "pistils"), "centre"),
    **dict.fromkeys(("stamen", "stamens", "anther", "anthers", "pollen", "stigma"), "centre"),
    **dict.fromkeys(("leaf", "leaves", "foliage"), "leaf"),
    **dict.fromkeys(("background", "backdrop"), "background"),
}
NEEDS = {
    "petal_colour": "flower",
    "petal_shape": "flower",
    "size": "flower",
    "edge": "flower",
    "centre_colour": "centre",
    "centre_size": "centre",
    "leaves": "leaf",
    "background": "background",
}
# Words at which a run of adjectives before a noun ends.
STOPS = frozenset(
    (
        *("a", "an", "the", "this", "its", "it", "is", "are", "has", "have", "that", "which"),
        *("in", "on", "of", "at", "against", "along", "around", "behind", "with", "by", "and"),
        *("surrounding", "surround", "surrounded", "features", "displays", "shows", "looks"),
    )
)


@cache
def rules() -> dict[str, tuple[list[float], list[tuple[str, ...]]]]:
    """`GRAMMAR` as NLTK reads it: symbol -> running sums of probability, expansions."""
    from nltk.grammar import PCFG  # takes a second to import, and reading never needs it

    choices: dict[str, tuple[list[float], list[tuple[str, ...]]]] = {}
    for production in PCFG.fromstring(GRAMMAR).productions():
        sums, expansions = choices.setdefault(str(production.lhs()), ([], []))
        sums.append((sums[-1] if sums else 0.0) + production.prob())
        expansions.append(tuple(str(symbol) for symbol in production.rhs()))
    return choices


def write(attributes: dict[str, str], rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    """A true caption of a flower with `attributes`, and the attributes that it names."""
    said: dict[str, str] = {}
    words: list[str] = []
    pending = ["S"]
    while pending:
        symbol = pending.pop()
        if symbol in rules():
            sums, expansions = rules()[symbol]
            choice = min(bisect(sums, rng.random()), len(sums) - 1)
            pending.extend(reversed(expansions[choice]))
        elif symbol.startswith("<"):
            words.append(_worded(symbol[1:-1], attributes, said, rng))
        else:
            words.append(symbol)
    return " ".join(words).replace(" ,", ","), said


def _worded(
    name: str,
    attributes: dict[str, str],
    said: dict[str, str],
    rng: np.random.Generator,
) -> str:
    """Words for the attribute `name`, which is added to `said`."""
    said[name] = attributes[name]
    ways = LEXICON[name][attributes[name]]
    draw = rng.random()
    rank = 0 if draw < PLAIN else 1 + int((draw - PLAIN) / (1 - PLAIN) * (len(ways) - 1))
    way = ways[rank if len(ways) > 1 else 0]
    if name == "petal_count" and attributes["arrangement"] == "layered":
        # The count is that of one layer; said alone it would be half the truth.
        said["arrangement"] = "layered"
        return f"two layers of {way}"
    return way


def captions(attributes: dict[str, str], rng: np.random.Generator) -> tuple[str, ...]:
    """Ten different true captions of a flower with `attributes`."""
    written: dict[str, None] = {}
    while len(written) < CAPTIONS:
        written[write(attributes, rng)[0]] = None
    return tuple(written)


# What captions of a garden are measured by. Values that no garden flower has, such as a red
# center, are not read.
WORDS = replace(
    FLOWERS,
    attributes=LEXICON,
    nouns=NOUNS,
    needs=NEEDS,
    stops=tuple(sorted(STOPS)),
    whole=("flower", "bloom", "blossom"),
    inside="centre",
)
