"""The table of measures: each entry has a name, a unit, a direction, floors and ceilings.

Every entry is in `MEASURES` of the module of its function; `measuring.TABLE` joins them. JSON, CSV,
report and headline all read unit and direction from it, so that a measure is added in one file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pairsynth.evaluation.context import EvaluationContext, Figure
from pairsynth.evaluation.made import Made

MORE, LESS, NEAR = "more", "less", "near"
# What a number counts: a share of 1, a score without a unit, points of 100, and plain counts.
SHARE, SCORE, POINTS, WORDS, RANK = "share", "score", "points", "words", "rank"
UNITS = (SHARE, SCORE, POINTS, WORDS, RANK)
# The groups of keys in metrics/headline.json, by direction. A figure that should be near that of
# real captions or images is told as a share of theirs, so that 1 is best.
HEADINGS: Mapping[str, str] = {MORE: "up", LESS: "down", NEAR: "to_1"}

Part = Callable[[EvaluationContext, Made], Iterator[Figure]]


@dataclass(frozen=True, kw_only=True)
class End:
    """A floor or a ceiling: what it is, in words, and which figure has its value.

    group, name: empty where they are the same as the measure's.
    """

    says: str
    subject: str
    group: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A figure of a measure that the report shows: its subject, sentence, and headline key.

    says: `{star}` is replaced by what matched the `*` of the measure's name.
    headline: key in metrics/headline.json; empty: not there.
    """

    subject: str
    says: str
    headline: str = ""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One entry of the table.

    group, name: of its figures in metrics/evaluate.csv; both may hold `*` (words and attributes
    depend on the data set). better: `MORE`, `LESS`, or `NEAR` the ceiling. function: the part of
    `evaluate` that yields its figures, maybe with those of other entries; None where none does.
    section: of the report, where there are claims.
    """

    group: str
    name: str
    unit: str
    better: str
    function: Part | None
    section: str = ""
    claims: Sequence[Claim] = ()
    floors: Sequence[End] = ()
    ceilings: Sequence[End] = ()

    def covers(self, group: str, name: str) -> bool:
        """Whether a figure of this group and name belongs to this measure."""
        return fnmatchcase(group, self.group) and fnmatchcase(name, self.name)

    def star(self, name: str) -> str:
        """The part of `name` that matches `*` in the measure's name, in words."""
        before, _, after = self.name.partition("*")
        return name[len(before) : len(name) - len(after)].replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class FigureRow(Figure):
    """A row of metrics/evaluate.csv: a figure with the unit and the direction of its measure."""

    unit: str
    better: str


@dataclass(frozen=True, kw_only=True)
class ClaimRow:
    """A row of metrics/measures.csv: the value, a floor or a ceiling of one claim.

    claim: the key of the claimed figure. role: made, floor or ceiling. label: what a floor or a
    ceiling is, in words. headline: the key in metrics/headline.json, or empty.
    """

    section: str
    claim: str
    says: str
    headline: str
    unit: str
    better: str
    role: str
    label: str
    value: float
    low: float | None
    high: float | None
    count: int


def parts(table: Sequence[Measure]) -> list[Part]:
    """The functions of the table, each once, in order."""
    every = (measure.function for measure in table if measure.function is not None)
    return list(dict.fromkeys(every))


def measure_of(table: Sequence[Measure], figure: Figure) -> Measure:
    """The first entry that covers `figure`.

    Raises:
        LookupError: where the table has none.
    """
    for measure in table:
        if measure.covers(figure.group, figure.measure):
            return measure
    raise LookupError(f"no entry of the table of measures is of {figure.key}; add one")


def figure_rows(table: Sequence[Measure], figures: Sequence[Figure]) -> list[FigureRow]:
    """The figures, each with its unit and direction.

    Raises:
        LookupError: as `measure_of` does.
    """
    found = []
    for figure in figures:
        measure = measure_of(table, figure)
        found.append(FigureRow(**vars(figure), unit=measure.unit, better=measure.better))
    return found


def claim_rows(
    table: Sequence[Measure], figures: Sequence[Figure], words: Mapping[str, object] | None = None
) -> list[ClaimRow]:
    """All claims with a value, each with its floors and ceilings that have one.

    words: what stands for names in braces in the claims' sentences.
    """
    by_place = {(one.group, one.subject, one.measure): one for one in figures}
    owners = [(measure_of(table, figure), figure) for figure in figures]
    return [
        row
        for measure in table
        for claim in measure.claims
        for owner, figure in owners
        if owner is measure and figure.subject == claim.subject
        for row in _rows(measure, claim, figure, by_place, words or {})
    ]


def _rows(
    measure: Measure,
    claim: Claim,
    figure: Figure,
    by_place: Mapping[tuple[str, str, str], Figure],
    words: Mapping[str, object],
) -> Iterator[ClaimRow]:
    """The rows of one claim: its value, floors, ceilings; none where it has no value."""
    if figure.value is None:
        return
    says = claim.says.format(star=measure.star(figure.measure), **words)
    ends = [("floor", end) for end in measure.floors]
    ends += [("ceiling", end) for end in measure.ceilings]
    found = [("made", "pipeline", figure)] + [
        (role, end.says, other)
        for role, end in ends
        if (other := by_place.get(_place(end, figure))) is not None
    ]
    for role, label, one in found:
        if one.value is not None:
            yield ClaimRow(
                section=measure.section,
                claim=figure.key,
                says=says,
                headline=claim.headline,
                unit=measure.unit,
                better=measure.better,
                role=role,
                label=label,
                value=one.value,
                low=one.low,
                high=one.high,
                count=one.count,
            )


def _place(end: End, figure: Figure) -> tuple[str, str, str]:
    return end.group or figure.group, end.subject, end.name or figure.measure


def headline(rows: Sequence[ClaimRow]) -> dict[str, dict[str, float]]:
    """The few figures by which runs are compared, grouped by direction (`HEADINGS`).

    A figure that should be near that of real images or captions is divided by its first ceiling.
    """
    found: dict[str, dict[str, float]] = {heading: {} for heading in HEADINGS.values()}
    ceilings: dict[str, float] = {}
    for row in rows:
        if row.role == "ceiling":
            ceilings.setdefault(row.claim, row.value)
    for row in rows:
        if row.headline and row.role == "made":
            own = found[HEADINGS[row.better]]
            if row.better != NEAR:
                own[row.headline] = _short(row.value)
            elif ceilings.get(row.claim):
                own[row.headline] = _short(row.value / ceilings[row.claim])
    return {heading: own for heading, own in found.items() if own}


def _short(value: float) -> float:
    """Rounded to three digits, since more do not distinguish runs."""
    return round(value, 3)


def flat(figures: Sequence[Figure]) -> dict[str, Any]:
    """The figures by their flat keys, for metrics/evaluate.json."""
    return {figure.key: figure.value for figure in figures}
