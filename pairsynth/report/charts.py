"""Charts of lines, points and bars as SVG inside of the page, in the page's colours.

The same charts are written as one PNG for `dvc plots show`, which needs no network then.
"""

import io
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from math import inf, isfinite
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from pairsynth.sheets import as_image

# Stands for the page's own ink in an SVG: `currentColor` follows light and dark.
INK = "#010203"
COLOURS = ("#2f7ed8", "#d9722b", "#2f9a68", "#9a63cf", "#c2455c", "#8a8f3c")
# Inches of one panel, and the place of its axes in it: room on the left for numbers, on the right
# for what the lines are called.
SIZE = (5.0, 2.9)
LEFT, RIGHT, BOTTOM, TOP = 0.175, 0.735, 0.19, 0.95
HEAD = 0.3  # above a panel on a sheet, for its title
LETTERS, LINE = 15, 0.155  # of a name in a line, at most; inches from line to line
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pairsynth",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    **{
        key: INK
        for key in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    },
}


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a chart: name and points. errors: half the width of an interval at each point.

    colour: index into `COLOURS`. control: drawn dashed, as the chance level.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: int
    control: bool = False
    errors: Sequence[float] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart. says: a description for those who cannot see it. draw: draws it on axes.

    name: unique on the page.
    """

    name: str
    title: str
    says: str
    draw: Callable[[Axes], None]

    @property
    def svg(self) -> str:
        """The chart as an <svg> element without references; equal charts give equal bytes."""
        with matplotlib.rc_context(STYLE):
            sheet = Sheet(figsize=SIZE)
            self.draw(_axes(sheet, 0, 0))
            buffer = io.StringIO()
            nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            sheet.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        svg = _embeddable(buffer.getvalue(), self.name)
        ids = f"{self.name}-title {self.name}-says"
        words = f'<title id="{self.name}-title">{escape(self.title)}</title>'
        words += f'<desc id="{self.name}-says">{escape(self.says)}</desc>'
        start, rest = svg.split(">", 1)
        return f'{start} role="img" aria-labelledby="{ids}">{words}{rest}'


def _embeddable(svg: str, name: str) -> str:
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", svg)
    svg = re.sub(r'\s(?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)


def sheet_of(charts: Sequence[Chart], columns: int = 3) -> Image.Image:
    """All the charts on one white sheet."""
    with matplotlib.rc_context({**STYLE, "text.color": "#222222"}):
        return as_image(laid_out(charts, columns))


def laid_out(charts: Sequence[Chart], columns: int = 3) -> Sheet:
    """The charts in rows on one figure, each with its title."""
    rows = max(1, -(-len(charts) // columns))
    sheet = Sheet((SIZE[0] * columns, (SIZE[1] + HEAD) * rows), dpi=90)
    for i, chart in enumerate(charts):
        axis = _axes(sheet, i % columns * SIZE[0], (rows - 1 - i // columns) * (SIZE[1] + HEAD))
        chart.draw(axis)
        axis.set_title(chart.title)
    return sheet


def _axes(sheet: Sheet, left: float, bottom: float) -> Axes:
    """The axes of a panel with this lower left corner, in inches."""
    width, height = sheet.get_size_inches()
    corner = ((left + LEFT * SIZE[0]) / width, (bottom + BOTTOM * SIZE[1]) / height)
    spans = ((RIGHT - LEFT) * SIZE[0] / width, (TOP - BOTTOM) * SIZE[1] / height)
    return sheet.add_axes((*corner, *spans))


# ---------------------------------------------------------------- kinds of chart


def lines(
    name: str,
    title: str,
    says: str,
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    unit: bool = False,
    doublings: bool = False,
    lowest: float | None = None,
) -> Chart:
    """A chart of lines over x, each labelled at its end if there is more than one.

    unit: the y axis goes from 0 (or a lower value) to 1. doublings: x is 1, 2, 4, ...
    lowest: the y axis is cut off below this value.
    """
    places = sorted({x for one in series for x in one.xs})
    few = len(places) < 6 and not doublings  # then each has a place of its own, one as wide as all

    def draw(axis: Axes) -> None:
        heights = [y for one in series for y in one.ys if isfinite(y)]
        for one in series:
            xs = [places.index(x) for x in one.xs] if few else one.xs
            look: dict[str, Any] = {"color": COLOURS[one.colour]}
            look |= {"ls": "--", "lw": 1.2} if one.control else {"lw": 1.9}
            if len(xs) < 12 and not one.control:
                look |= {"marker": "o", "ms": 4}
            axis.plot(xs, one.ys, **look)
            if len(one.errors):
                low, high = (np.subtract(one.ys, one.errors), np.add(one.ys, one.errors))
                axis.fill_between(xs, low, high, color=COLOURS[one.colour], alpha=0.15, lw=0)
        if unit:
            axis.set_ylim(min([0.0, *heights]) - 0.02, 1.02)
        highest = max(heights, default=-inf)
        if lowest is not None and axis.get_ylim()[0] < lowest < highest:
            axis.set_ylim(lowest, highest + 0.05 * (highest - lowest))
        if doublings:
            axis.set_xscale("log", base=2)
        if few or doublings:
            axis.set_xticks(range(len(places)) if few else places, [f"{x:g}" for x in places])
        else:
            axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _finish(axis, x, y)
        _name(axis, _ends(series))

    return Chart(name=name, title=title, says=says, draw=draw)


def number_text(value: float) -> str:
    """A number as text: 2,360 and 0.0432, not 2.36e+03."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ends(series: Sequence[Series]) -> list[tuple[str, str, float]]:
    """Name, colour and last height of each line; several control lines share one label."""
    controls = [one for one in series if one.control]
    named = [one for one in series if not one.control or len(controls) == 1]
    if len(series) == 1:
        return []
    ends = [
        (one.name.rpartition(", ")[2] if one.control else one.name, COLOURS[one.colour], height)
        for one in named
        if (height := next((y for y in reversed(one.ys) if isfinite(y)), None)) is not None
    ]
    return ends + ([("dashed: by chance", INK, -inf)] if len(controls) > 1 else [])


def _name(axis: Axes, ends: Sequence[tuple[str, str, float]]) -> None:
    """Write labels (name, colour, height) to the right of the axes without overlap.

    Each is as near to its height as the others allow, in order of height.
    """
    order = sorted(ends, key=lambda end: end[2])
    lines = [textwrap.wrap(name, LETTERS) for name, _, _ in order]
    low, high = axis.get_ylim()
    tall = (TOP - BOTTOM) * SIZE[1] / LINE  # lines that have room beside the axes
    wanted = [min(1.0, max(0.0, (height - low) / (high - low))) * tall for _, _, height in order]
    sizes = [float(len(own)) for own in lines]
    places = apart(wanted, sizes, tall)
    for place, own, (_, colour, _) in zip(places, lines, order, strict=True):
        middle, beside = place / tall, axis.transAxes
        if colour != INK:  # a stroke of the line's colour: words of it would be hard to read
            axis.plot([1.02, 1.06], [middle] * 2, color=colour, transform=beside, clip_on=False)
        words = "\n".join(own)
        axis.text(1.08, middle, words, fontsize=9, linespacing=1.15, va="center", transform=beside)


def apart(wanted: Sequence[float], sizes: Sequence[float], room: float) -> list[float]:
    """Centres of boxes of `sizes`, stacked in order within 0 to `room`, each near its `wanted` one.

    Where they do not fit, they stick out evenly at both ends.
    """
    places, edge = [], 0.0
    for middle, size in zip(wanted, sizes, strict=True):
        places.append(max(middle, edge + size / 2))
        edge = places[-1] + size / 2
    edge = max(room, sum(sizes))
    for i in reversed(range(len(places))):
        places[i] = min(places[i], edge - sizes[i] / 2)
        edge = places[i] - sizes[i] / 2
    shift = max(0.0, sum(sizes) - room) / 2
    return [place - shift for place in places]


def _finish(axis: Axes, x: str, y: str) -> None:
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_formatter(lambda value, _: _tick(value))
    axis.grid(axis="y", color=INK, alpha=0.12, lw=0.7)
    axis.set_axisbelow(True)


def _tick(value: float) -> str:
    """A short label of an axis tick: 0.05, 2,400, 20k."""
    short = f"{value / 1000:,.10g}k" if abs(value) >= 10_000 else f"{value:,.10g}"
    return short.replace("-", "\N{MINUS SIGN}")


def histogram(
    name: str,
    title: str,
    says: str,
    sets: Sequence[tuple[str, Sequence[float], int]],
    *,
    x: str,
    line: tuple[str, float] | None = None,
) -> Chart:
    """Histogram of each set (name, numbers, colour) over common bins; line: a vertical marker."""

    def draw(axis: Axes) -> None:
        every = np.concatenate([np.asarray(numbers, float) for _, numbers, _ in sets])
        bins = np.linspace(min(0.0, every.min()), every.max() + 1e-9, 41).tolist()
        for _, numbers, colour in sets:
            weights = np.full(len(numbers), 100 / max(1, len(numbers)))
            look: dict[str, Any] = {"color": COLOURS[colour]}
            axis.hist(numbers, bins, weights=weights, alpha=0.25, color=COLOURS[colour])
            axis.hist(numbers, bins, weights=weights, histtype="step", lw=1.6, **look)
        if line is not None:
            axis.axvline(line[1], color=INK, lw=1.2, ls=":")
        _finish(axis, x, "% of images")
        names = [(label, COLOURS[colour]) for label, _, colour in sets]
        _list(axis, [*names, *([(f"dotted: {line[0]}", INK)] if line else [])])

    return Chart(name=name, title=title, says=says, draw=draw)


def points(
    name: str,
    title: str,
    says: str,
    sets: Sequence[tuple[str, NDArray[Any], int]],
    *,
    x: str,
    y: str,
) -> Chart:
    """A scatter chart of sets (name, points (N, 2), colour), drawn in order."""

    def draw(axis: Axes) -> None:
        for _, where, colour in sets:
            look: dict[str, Any] = {"color": COLOURS[colour], "alpha": 0.65}
            axis.plot(where[:, 0], where[:, 1], "o", ms=2.6, mew=0, **look)
        _finish(axis, x, y)
        axis.grid(axis="x", color=INK, alpha=0.12, lw=0.7)
        _list(axis, [(label, COLOURS[colour]) for label, _, colour in sets])

    return Chart(name=name, title=title, says=says, draw=draw)


def _list(axis: Axes, names: Sequence[tuple[str, str]]) -> None:
    """Write a legend of (name, colour) to the right of the axes, the first at the top."""
    top = axis.get_ylim()[1]
    _name(axis, [(name, colour, top - i * 1e-9) for i, (name, colour) in enumerate(names)])
