"""The figures that answer a reader's questions, each between its floor and its ceiling.

What is claimed, its unit and which way is better stand in metrics/measures.csv, as `evaluate`
wrote them from its table of measures; nothing here knows any measure by its name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pairsynth.report.results import Results, Row, number

SHARE, SCORE = "share", "score"
LESS, NEAR = "less", "near"
ANSWERED, FURTHEST = ("new", "agree"), 4
# An attribute that the judge hardly tells from chance on real images says nothing of drawn ones.
TOLD = 0.3


@dataclass(frozen=True)
class Mark:
    """A number to show: what it is, in words; the number; where it stands on the row's scale."""

    label: str
    text: str
    place: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """A claim with its numbers; places in percent of the scale, whose right end is better.

    better: more, less, or near the ceiling. lost: how far it is from its ceiling, as a share of
    the way there from its floor: 0 there or beyond, 1 at the floor; None without such a way.
    headline: its key among the few figures by which runs are compared, or nothing.
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
        """Whether it should be as near to its ceiling as may be."""
        return self.better == NEAR


def lines(results: Results, section: str) -> list[Line]:
    """The claims of one section of the report, in the order of the table of measures."""
    return [line for line, own in _claims(results) if own == section and not _hardly_told(line)]


def answers(results: Results) -> list[Line]:
    """Is it new, and does it agree: of both the first figure by which runs are compared."""
    found: dict[str, Line] = {}
    for line, section in _claims(results):
        if section in ANSWERED and line.headline:
            found.setdefault(section, line)
    return [found[section] for section in ANSWERED if section in found]


def worst(results: Results) -> list[Line]:
    """Of the others, those that are furthest from their ceiling, the furthest first."""
    shown = {line.says for line in answers(results)}
    every = [line for line, _ in _claims(results) if line.headline and line.says not in shown]
    far = [line for line in every if line.lost]
    return sorted(far, key=lambda line: -(line.lost or 0.0))[:FURTHEST]


def blind(results: Results) -> bool:
    """Whether figures of images are those of small networks alone, which do not see form."""
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
    """Whether floor and ceiling of a share are too near each other for it to say much."""
    if line.headline or not (line.floors and line.ceilings) or not line.value.text.endswith("%"):
        return False
    return abs(line.floors[0].place - line.ceilings[0].place) < 100 * TOLD


def _value(row: Row) -> float:
    return number(row["value"]) or 0.0


def _line(rows: Sequence[Row]) -> Line:
    own = next(row for row in rows if row["role"] == "made")
    floors, ceilings = (
        [row for row in rows if row["role"] == role] for role in ("floor", "ceiling")
    )
    low, high = number(own["low"]), number(own["high"])
    ends = [*(end for end in (low, high) if end is not None), *map(_value, rows)]
    scale = Scale(own["unit"], own["better"], ends)
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
    """How much of the way from floor to ceiling is missing, 0 to 1; without a floor, from 0.

    None where the ceiling is no better than the floor: there is no way to be lost.
    """
    if ceiling is None:
        return None
    way = ceiling - (floor or 0.0)
    if not way or (better != NEAR and (way < 0) != (better == LESS)):
        return None
    missing = (ceiling - value) / way
    return min(1.0, abs(missing) if better == NEAR else max(0.0, missing))


@dataclass(frozen=True)
class Scale:
    """How the numbers of one row are written, and where they stand."""

    unit: str
    better: str
    numbers: Sequence[float]

    def text(self, value: float) -> str:
        """The number as people read it."""
        if self.unit == SHARE:
            return f"{100 * value:.1f} %"
        return f"{value:.2f}" if self.unit == SCORE else f"{value:,.1f}"

    def place(self, value: float) -> float:
        """0 to 100: shares from 0 to 1, all else from 0 (or the least) to a little over the most.

        Turned about where less is better, so that right is better, but for what should be near.
        """
        low = min(0.0, *self.numbers, 0.0)
        high = 1.0 if self.unit == SHARE else 1.05 * max(*self.numbers, 1e-9)
        share = (value - low) / (high - low)
        return round(100 * (1 - share if self.better == LESS else share), 2)

    def mark(self, label: str, value: float) -> Mark:
        """`value` as a mark on the scale."""
        return Mark(label, self.text(value), self.place(value))

    def between(self, low: float, high: float) -> tuple[float, float]:
        """Left end and width of an interval."""
        left, right = sorted((self.place(low), self.place(high)))
        return left, round(right - left, 2)
