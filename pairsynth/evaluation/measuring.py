"""All that is measured, part by part, and the files in which it is told."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pairsynth.artifacts import write_image
from pairsynth.evaluation import (
    caption_quality,
    context,
    cycle_consistency,
    downstream,
    fidelity,
    judges,
    made,
    novelty,
    probes,
    quality,
    recipes,
    table,
)
from pairsynth.evaluation.context import EvaluationContext, Figure, Pairs
from pairsynth.evaluation.cycle_consistency import Walk
from pairsynth.evaluation.per_pair import Row
from pairsynth.evaluation.recipes import Trial
from pairsynth.evaluation.table import LESS, MORE, SCORE, ClaimRow, Measure
from pairsynth.figures import gallery as draw_sheet
from pairsynth.metrics import captions
from pairsynth.whole_files import write_json, write_reports

Item = TypeVar("Item")

# Every measure there is, in the order in which they are told; of a figure the first that covers it.
TABLE: list[Measure] = [
    *novelty.MEASURES,
    *quality.MEASURES,
    *caption_quality.MEASURES,
    *fidelity.MEASURES,
    # What probes learned, all tasks and arms alike; `measure` has it told, with the trials.
    Measure(group="use", name="*", unit=SCORE, better=MORE, function=None),
]
# What is written, below the folder of the metrics.
HEADLINE, NUMBERS = "headline.json", "evaluate.json"
TABLES = ("evaluate.csv", "measures.csv", "cycles.csv", "pairs.csv", "use.csv")
SHEETS = ("figures/pairs.png", "figures/cycles.png")
FILES = (HEADLINE, NUMBERS, *TABLES, *SHEETS)


class Track(Protocol):
    """Passes items on and shows how far they are."""

    def __call__(
        self, items: Iterable[Item], total: int, what: str, unit: str
    ) -> Iterator[Item]: ...


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures beside their floors and ceilings, rows of pairs, cycles, and what pupils learned."""

    figures: list[Figure]
    rows: list[Row]
    walks: list[Walk]
    trials: list[Trial]


def measure(scene: EvaluationContext, pairs: Pairs, track: Track) -> Measured:
    """Teach the judge; then every part of the table, cycles and use, one after the other."""
    config, val = scene.config, scene.examples["val"]
    lessons = judges.train(scene.judge, val, config.judge_epochs, scene.seed, scene.mappings.device)
    list(track(lessons, config.judge_epochs, "judge", "epochs"))
    ours, parts, turns = made.look_at(scene, pairs), table.parts(TABLE), 2 * config.turns
    figures = [
        figure
        for part in track(parts, len(parts), "measures", "parts")
        for figure in part(scene, ours)
    ]
    walks = list(track(cycle_consistency.walk(scene), turns, "cycles", "turns"))
    trials = list(track(downstream.use(scene, pairs), downstream.count(scene), "use", "trials"))
    figures += recipes.figures(trials)
    return Measured(figures=figures, rows=list(ours.rows), walks=walks, trials=trials)


def summary(measured: Measured, scene: EvaluationContext, pairs_digest: str) -> dict[str, Any]:
    """Every figure by its flat key, what was measured, and the verdicts in words."""
    others = [own[1:] or own for own in scene.test.captions]
    return {
        **table.flat(measured.figures),
        **cycle_consistency.figures(measured.walks),
        **context.provenance(scene.examples, pairs_digest),
        "bleu_signature": captions.signature(others),
        "cycle_verdict": cycle_consistency.verdict(measured.walks),
        "use_features": probes.features_name(),
        "use_verdict": recipes.verdict(measured.trials),
        "use_recipe": recipes.recipe(measured.trials),
    }


def headline(claims: Sequence[ClaimRow], figures: Sequence[Figure]) -> dict[str, Any]:
    """The few figures by which runs are compared; of use, how many gains are clear, each way."""
    found: dict[str, dict[str, float]] = table.headline(claims)
    gains = [one for one in figures if one.group == "use" and one.subject.startswith("gain")]
    if gains:
        helps = sum(one.low is not None and one.low > 0 for one in gains)
        harms = sum(one.high is not None and one.high < 0 for one in gains)
        found.setdefault(table.HEADINGS[MORE], {})["helps"] = helps
        found.setdefault(table.HEADINGS[LESS], {})["harms"] = harms
    return found


def write(
    folder: Path, measured: Measured, scene: EvaluationContext, pairs: Pairs, pairs_digest: str
) -> None:
    """Write all `FILES` below `folder`."""
    claims = table.claim_rows(TABLE, measured.figures)
    write_json(folder / HEADLINE, headline(claims, measured.figures))
    write_json(folder / NUMBERS, summary(measured, scene, pairs_digest))
    points = [point for walk in measured.walks for point in walk.points]
    tables: list[Sequence[Any]] = [table.figure_rows(TABLE, measured.figures), claims]
    tables += [points, measured.rows]
    for name, rows in zip(TABLES, tables, strict=False):
        write_reports(folder / name, rows)
    recipes.write_outcomes(folder / TABLES[-1], measured.trials)
    sheets = [context.gallery(pairs, 8), cycle_consistency.gallery(scene, measured.walks)]
    for name, sheet in zip(SHEETS, sheets, strict=True):
        write_image(folder / name, draw_sheet(*sheet))
