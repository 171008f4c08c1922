"""Run all measures, and write the files of metrics."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pairsynth.artifacts import write_image
from pairsynth.evaluation import (
    caption_quality,
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
from pairsynth.evaluation.context import EvaluationContext, Figure, Pairs, pairs_sheet, provenance
from pairsynth.evaluation.cycle_consistency import Walk
from pairsynth.evaluation.per_pair import Row
from pairsynth.evaluation.recipes import Trial
from pairsynth.evaluation.table import LESS, MORE, SCORE, ClaimRow, Measure
from pairsynth.metrics import captions
from pairsynth.sheets import captioned_sheet
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
    """Passes items on and shows progress; `console.track` is one."""

    def __call__(
        self, items: Iterable[Item], total: int, what: str, unit: str
    ) -> Iterator[Item]: ...


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All results: figures with floors and ceilings, rows of pairs, cycles, trials of use."""

    figures: list[Figure]
    rows: list[Row]
    walks: list[Walk]
    trials: list[Trial]


def measure(context: EvaluationContext, pairs: Pairs, track: Track) -> Measured:
    """Train the judge, then run every part of the table, the cycles and the trials of use."""
    config, val = context.config, context.examples["val"]
    training = judges.train(
        context.judge, val, config.judge_epochs, context.seed, context.mappings.device
    )
    list(track(training, config.judge_epochs, "judge", "epochs"))
    own, parts, turns = made.look_at(context, pairs), table.parts(TABLE), 2 * config.turns
    figures = [
        figure
        for part in track(parts, len(parts), "measures", "parts")
        for figure in part(context, own)
    ]
    walks = list(track(cycle_consistency.walk(context), turns, "cycles", "turns"))
    trials = list(track(downstream.use(context, pairs), downstream.count(context), "use", "trials"))
    figures += recipes.figures(trials)
    return Measured(figures=figures, rows=list(own.rows), walks=walks, trials=trials)


def summary(measured: Measured, context: EvaluationContext, pairs_digest: str) -> dict[str, Any]:
    """metrics/evaluate.json: figures by flat keys, digests, and the verdicts in words."""
    others = [own[1:] or own for own in context.test.captions]
    return {
        **table.flat(measured.figures),
        **cycle_consistency.summary(measured.walks),
        **provenance(context, pairs_digest),
        "bleu_signature": captions.signature(others),
        "cycle_verdict": cycle_consistency.verdict(measured.walks),
        "use_features": probes.features_name(),
        "use_verdict": recipes.verdict(measured.trials),
        "use_recipe": recipes.recipe(measured.trials),
    }


def headline(claims: Sequence[ClaimRow], figures: Sequence[Figure]) -> dict[str, Any]:
    """The few figures by which runs are compared; for use, the number of clear gains and losses."""
    found: dict[str, dict[str, float]] = table.headline(claims)
    gains = [one for one in figures if one.group == "use" and one.subject.startswith("gain")]
    if gains:
        helps = sum(one.low is not None and one.low > 0 for one in gains)
        harms = sum(one.high is not None and one.high < 0 for one in gains)
        found.setdefault(table.HEADINGS[MORE], {})["helps"] = helps
        found.setdefault(table.HEADINGS[LESS], {})["harms"] = harms
    return found


def write(
    folder: Path, measured: Measured, context: EvaluationContext, pairs: Pairs, pairs_digest: str
) -> None:
    """Write all `FILES` below `folder`."""
    claims = table.claim_rows(TABLE, measured.figures, {"among": context.rivals.among})
    write_json(folder / HEADLINE, headline(claims, measured.figures))
    write_json(folder / NUMBERS, summary(measured, context, pairs_digest))
    points = [point for walk in measured.walks for point in walk.points]
    tables: list[Sequence[Any]] = [table.figure_rows(TABLE, measured.figures), claims]
    tables += [points, measured.rows]
    for name, rows in zip(TABLES, tables, strict=False):
        write_reports(folder / name, rows)
    recipes.write_outcomes(folder / TABLES[-1], measured.trials)
    sheets = [pairs_sheet(pairs, 8), cycle_consistency.cycles_sheet(context, measured.walks)]
    for name, sheet in zip(SHEETS, sheets, strict=True):
        write_image(folder / name, captioned_sheet(*sheet))
