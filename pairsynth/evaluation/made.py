"""What the networks made, as evaluation looks at it."""

from collections.abc import Sequence
from dataclasses import dataclass

from pairsynth.evaluation.context import Drawn, EvaluationContext, Pairs, draw_again
from pairsynth.evaluation.per_pair import Row, rows


@dataclass(frozen=True, kw_only=True)
class Made:
    """Images drawn from test captions, the pairs, and what is known of each, in their order."""

    drawn: Drawn
    pairs: Pairs
    rows: Sequence[Row]


def look_at(context: EvaluationContext, pairs: Pairs) -> Made:
    """Draw test images anew, and judge each pair by itself."""
    return Made(drawn=draw_again(context), pairs=pairs, rows=rows(context, pairs))
