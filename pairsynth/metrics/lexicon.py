"""How much of what captions say, word by word of a set's own lexicon, is right."""

from collections.abc import Sequence
from dataclasses import dataclass

from pairsynth.lexicon import Lexicon


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


def word_agreement(
    captions: Sequence[str], references: Sequence[Sequence[str]], lexicon: Lexicon
) -> dict[str, Agreement]:
    """For each kind of words, how well captions match what references say.

    Precision counts a word as right where any reference of the image has it; recall asks only
    for words that at least half of the references agree on.
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
        kind: Agreement(a / b if b else None, c / d if d else None)
        for kind, (a, b, c, d) in counts.items()
    }
