"""The claims of the report, each drawn between its floor and its ceiling.

Claims, units and directions are read from metrics/measures.csv, which `evaluate` wrote from its
table of measures; no measure is named here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pairsynth.report.results import Results, Row, number

SHARE, SCORE = "share", "score"
MORE, LESS, NEAR = "more", "less", "near"
ANSWERED, FURTHEST = ("new", "agree"), 4
# An attribute that the judge hardly tells from chance on real images says nothing of drawn ones.
TOLD = 0.3
# A share that the floor has nearly as much of as the ceiling praises anything: so does precision,
# where real images differ so much that blurred ones lie among them.
BLIND = 0.8


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A number on a scale: a label, the number as text, its place in percent."""

    label: str
    text: str
    place: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """A claim with its numbers, placed in percent of a scale whose right end is better.

    better: more, less, or near the ceiling. lost: the distance to the ceiling over that from floor
    to ceiling, 0 at or beyond the ceiling, 1 at the floor; None where that is undefined.
    headline: its key in metrics/headline.json, or empty.
    """

    says: str
    value: Mark
    interval: str
    span: tuple[float, float] | None
    floors: list[Mark]
    ceilings: list[Mark]
    count: int
    better: str
    headline: str
    lost: float | None

    @property
    def less(self) -> bool:
        """Whether less is better."""
        return self.better == LESS

    @property
    def near(self) -> bool:
        """Whether it should be near its ceiling."""
        return self.better == NEAR


def lines(results: Results, section: str) -> list[Line]:
    """The claims of one section of the report, in the order of the table of measures."""
    return [line for line, own in _claims(results) if own == section and not _hardly_told(line)]


def answers(results: Results) -> list[Line]:
    """The first headline claim on novelty, and the first on agreement."""
    found: dict[str, Line] = {}
    for line, section in _claims(results):
        if section in ANSWERED and line.headline:
            found.setdefault(section, line)
    return [found[section] for section in ANSWERED if section in found]


def worst(results: Results) -> list[Line]:
    """The other headline claims furthest from their ceiling, the furthest first."""
    shown = {line.says for line in answers(results)}
    every = [line for line, _ in _claims(results) if line.headline and not _hardly_told(line)]
    far = [line for line in every if line.lost and line.says not in shown]
    return sorted(far, key=lambda line: -(line.lost or 0.0))[:FURTHEST]


def blind(results: Results) -> bool:
    """Whether images were compared by small networks only, which do not see shape."""
    groups = {group for group, _, _ in results.figures}
    return bool(groups) and "images_imagenet" not in groups


def _claims(results: Results) -> Iterator[tuple[Line, str]]:
    """Every claim, and its section."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in results.curves.get("measures", []):
        found.setdefault((row["claim"], row["says"]), []).append(row)
    for rows in found.values():
        yield _line(rows), rows[0]["section"]


def _hardly_told(line: Line) -> bool:
    """Whether floor and ceiling of a share are too close for it to be informative."""
    if not (line.floors and line.ceilings) or not line.value.text.endswith("%"):
        return False
    floor, ceiling = line.floors[0].place, line.ceilings[0].place
    if line.headline:
        return line.better == MORE and floor >= BLIND * ceiling
    return abs(floor - ceiling) < 100 * TOLD


def _value(row: Row) -> float:
    return number(row["value"]) or 0.0


def _line(rows: Sequence[Row]) -> Line:
    own = next(row for row in rows if row["role"] == "made")
    floors, ceilings = (
        [row for row in rows if row["role"] == role] for role in ("floor", "ceiling")
    )
    low, high = number(own["low"]), number(own["high"])
    ends = [*(end for end in (low, high) if end is not None), *map(_value, rows)]
    scale = Scale(unit=own["unit"], better=own["better"], numbers=ends)
    interval, span = "", None
    if low is not None and high is not None:
        interval = f"{scale.text(low)} to {scale.text(high)}"
        span = scale.between(low, high)
    return Line(
        says=own["says"],
        value=scale.mark("pipeline", _value(own)),
        interval=interval,
        span=span,
        floors=[scale.mark(row["label"], _value(row)) for row in floors],
        ceilings=[scale.mark(row["label"], _value(row)) for row in ceilings],
        count=int(own["count"]),
        better=own["better"],
        headline=own["headline"],
        lost=_lost(_value(own), own["better"], *map(_first, (floors, ceilings))),
    )


def _first(rows: Sequence[Row]) -> float | None:
    return _value(rows[0]) if rows else None


def _lost(value: float, better: str, floor: float | None, ceiling: float | None) -> float | None:
    """(ceiling - value) / (ceiling - floor), clipped to 0 to 1; floor 0 where there is none.

    None where the ceiling is no better than the floor.
    """
    if ceiling is None:
        return None
    way = ceiling - (floor or 0.0)
    if not way or (better != NEAR and (way < 0) != (better == LESS)):
        return None
    missing = (ceiling - value) / way
    return min(1.0, abs(missing) if better == NEAR else max(0.0, missing))


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The scale of one row: how its numbers are written and placed."""

    unit: str
    better: str
    numbers: Sequence[float]

    def text(self, value: float) -> str:
        """The number as text."""
        if self.unit == SHARE:
            return f"{100 * value:.1f} %"
        return f"{value:.2f}" if self.unit == SCORE else f"{value:,.1f}"

    def place(self, value: float) -> float:
        """The place, 0 to 100: shares on 0 to 1, others from 0 (or the least) to above the most.

        Reversed where less is better, so that right is better.
        """
        low = min(0.0, *self.numbers, 0.0)
        high = 1.0 if self.unit == SHARE else 1.05 * max(*self.numbers, 1e-9)
        share = (value - low) / (high - low)
        return round(100 * (1 - share if self.better == LESS else share), 2)

    def mark(self, label: str, value: float) -> Mark:
        """`value` as a mark on the scale."""
        return Mark(label=label, text=self.text(value), place=self.place(value))

    def between(self, low: float, high: float) -> tuple[float, float]:
        """Left end and width of an interval."""
        left, right = sorted((self.place(low), self.place(high)))
        return left, round(right - left, 2)
