"""What the networks made, which most measures are about."""

from collections.abc import Sequence
from dataclasses import dataclass

from pairsynth.evaluation.context import Drawn, EvaluationContext, Pairs, draw_again
from pairsynth.evaluation.per_pair import Row, rows


@dataclass(frozen=True, kw_only=True)
class Made:
    """Images drawn from test captions; the pairs, and one row of measures for each pair."""

    drawn: Drawn
    pairs: Pairs
    rows: Sequence[Row]


def look_at(context: EvaluationContext, pairs: Pairs) -> Made:
    """Draw images from test captions, and measure each pair."""
    return Made(drawn=draw_again(context), pairs=pairs, rows=rows(context, pairs))
