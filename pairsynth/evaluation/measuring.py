"""All that is measured, kind by kind, and what is told of it in metrics/evaluate.json."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pairsynth.evaluation import (
    context,
    cycle_consistency,
    downstream,
    fidelity,
    novelty,
    per_pair,
    probes,
    quality,
    recipes,
)
from pairsynth.evaluation.context import EvaluationContext, Figure, Pairs
from pairsynth.evaluation.cycle_consistency import Walk
from pairsynth.evaluation.per_pair import Row
from pairsynth.evaluation.recipes import Trial
from pairsynth.metrics import captions

Item = TypeVar("Item")


class Track(Protocol):
    """Passes items on and shows how far they are."""

    def __call__(
        self, items: Iterable[Item], total: int, what: str, unit: str
    ) -> Iterator[Item]: ...


@dataclass(frozen=True)
class Measured:
    """Figures beside their floors and ceilings, rows of pairs, cycles, and what pupils learned."""

    figures: list[Figure]
    rows: list[Row]
    walks: list[Walk]
    trials: list[Trial]


def measure(scene: EvaluationContext, pairs: Pairs, track: Track) -> Measured:
    """Quality, novelty, fidelity, cycles and use, one after the other."""
    drawn, rows = context.draw_again(scene), per_pair.rows(scene, pairs)
    turns = 2 * scene.config.turns
    groups = [
        *track(quality.evaluate(scene, drawn, pairs), 8, "quality", "groups"),
        *track(novelty.novelty(scene, pairs, rows), 4, "novelty", "groups"),
        *track(
            fidelity.fidelity(scene, drawn.pixels, pairs), fidelity.count(scene), "fidelity", "sets"
        ),
    ]
    walks = list(track(cycle_consistency.walk(scene), turns, "cycles", "turns"))
    trials = list(track(downstream.use(scene, pairs), downstream.count(scene), "use", "trials"))
    figures = [figure for group in groups for figure in group]
    return Measured([*figures, *recipes.figures(trials)], rows, walks, trials)


def told(measured: Measured, scene: EvaluationContext, pairs_digest: str) -> dict[str, Any]:
    """Every figure by its flat key, what was measured, and the verdicts in words."""
    others = [own[1:] or own for own in scene.test.captions]
    return {
        **context.figures(measured.figures),
        **cycle_consistency.figures(measured.walks),
        **context.provenance(scene.pictures, pairs_digest),
        "bleu_signature": captions.signature(others),
        "cycle_verdict": cycle_consistency.verdict(measured.walks),
        "use_features": probes.features_name(),
        "use_verdict": recipes.verdict(measured.trials),
        "use_recipe": recipes.recipe(measured.trials),
    }
