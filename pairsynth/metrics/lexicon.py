"""What captions say, word by word: colours, parts, shapes, counts, and how much of it is right."""

from collections.abc import Sequence
from dataclasses import dataclass

from pairsynth.text import normalize

COLOURS = (
    "white cream ivory yellow gold golden orange peach red scarlet crimson maroon burgundy pink "
    "rose magenta purple violet lavender lilac mauve blue indigo green lime brown black tan"
)
PARTS = (
    "petal center centre stamen pistil anther filament stigma sepal leaf stem bud disk disc style "
    "ovary pollen vein"
)
SHAPES = (
    "round rounded oval pointed pointy narrow thin long short wide broad large small tiny big "
    "ruffled wavy curled curly frilly smooth spiky flat heart star trumpet bell cup tube "
    "overlapping layered bulb spotted striped veined fuzzy"
)
COUNTS = "one two three four five six seven eight nine ten many several few single multiple"
SAME = {
    "centre": "center",
    "disc": "disk",
    "rounded": "round",
    "pointy": "pointed",
    "golden": "gold",
    "curly": "curled",
    "leaves": "leaf",
    "petals": "petal",
    "anthers": "anther",
    "stigmas": "stigma",
    "stamens": "stamen",
    "stamen": "stamen",
    "pistils": "pistil",
    "filaments": "filament",
    "sepals": "sepal",
    "veins": "vein",
    "stems": "stem",
    "layers": "layered",
    "spots": "spotted",
    "stripes": "striped",
}
LEXICON = {
    word: kind
    for kind, words in (
        ("colours", COLOURS),
        ("parts", PARTS),
        ("shapes", SHAPES),
        ("counts", COUNTS),
    )
    for word in words.split()
}


@dataclass(frozen=True)
class Agreement:
    """Of the words said, the share that references say (precision); of theirs, the share said."""

    precision: float | None
    recall: float | None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of the two; None where either has nothing to count."""
        if self.precision is None or self.recall is None:
            return None
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def said(caption: str) -> dict[str, set[str]]:
    """The words of each kind in `caption`, of several forms of a word one."""
    found: dict[str, set[str]] = {}
    for word in normalize(caption).replace("-", " ").split():
        word = SAME.get(word, word)
        if word in LEXICON:
            found.setdefault(LEXICON[word], set()).add(word)
    return found


def word_agreement(
    captions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, Agreement]:
    """For colours, parts, shapes and counts, how well captions match what references say.

    Precision counts a word as right where any reference of the picture has it; recall asks only
    for words that at least half of the references agree on.
    """
    counts = {kind: [0, 0, 0, 0] for kind in ("colours", "parts", "shapes", "counts")}
    for caption, own in zip(captions, references, strict=True):
        told, known = said(caption), [said(one) for one in own]
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
        kind: Agreement(a / b if b else None, c / d if d else None)
        for kind, (a, b, c, d) in counts.items()
    }
