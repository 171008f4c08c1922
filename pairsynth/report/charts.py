"""Curves, points and bars as SVG that stands in the page itself and takes the page's colours.

The same charts are written as one PNG for `dvc plots show`, which then needs no network.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

from pairsynth.figures import as_picture

# Stands for the page's own ink in an SVG: `currentColor` follows light and dark.
INK = "#010203"
COLOURS = ("#2f7ed8", "#d9722b", "#2f9a68", "#9a63cf", "#c2455c", "#8a8f3c")
SIZE = (4.2, 2.9)
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pairsynth",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 9,
    **{
        key: INK
        for key in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    },
}


@dataclass(frozen=True)
class Series:
    """One line: its name, its points, and perhaps half the width of an interval about each.

    colour: of `COLOURS`. control: drawn dashed, as what stands for chance.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: int
    control: bool = False
    errors: Sequence[float] = field(default=())


@dataclass(frozen=True)
class Chart:
    """A chart to draw: what it shows, in a sentence for those who cannot see it, and how.

    name: a word of its own on the page.
    """

    name: str
    title: str
    says: str
    draw: Callable[[Axes], None]

    @property
    def svg(self) -> str:
        """As an <svg> element without a name from anywhere else; equal charts, equal bytes."""
        with matplotlib.rc_context(STYLE):
            sheet = Sheet(figsize=SIZE, layout="constrained")
            self.draw(sheet.subplots())
            buffer = io.StringIO()
            nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            sheet.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        return _embeddable(buffer.getvalue(), self.name)


def _embeddable(svg: str, name: str) -> str:
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", svg)
    svg = re.sub(r'\s(?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)


def sheet_of(charts: Sequence[Chart], columns: int = 3) -> Image.Image:
    """All the charts on one white sheet."""
    rows = max(1, -(-len(charts) // columns))
    with matplotlib.rc_context({**STYLE, "text.color": "#222222"}):
        sheet = Sheet((SIZE[0] * columns, (SIZE[1] + 0.3) * rows), layout="constrained", dpi=90)
        axes = np.asarray(sheet.subplots(rows, columns, squeeze=False)).ravel()
        for axis in axes[len(charts) :]:
            axis.set_axis_off()
        for axis, chart in zip(axes, charts, strict=False):
            chart.draw(axis)
            axis.set_title(chart.title)
        return as_picture(sheet)


# ---------------------------------------------------------------- kinds of chart


def lines(
    name: str,
    title: str,
    says: str,
    series: Sequence[Series],
    x: str,
    y: str,
    unit: bool = False,
    doublings: bool = False,
    lowest: float | None = None,
) -> Chart:
    """Lines over x, with a legend where there is more than one.

    unit: from 0 to 1, whatever the numbers (less, where one is below 0). doublings: x goes 1, 2, 4.
    lowest: what lies lower is out of the picture.
    """

    def draw(axis: Axes) -> None:
        heights = [y for one in series for y in one.ys if isfinite(y)]
        for one in series:
            look: dict[str, Any] = {"color": COLOURS[one.colour], "label": one.name}
            look |= {"ls": "--", "lw": 1.2} if one.control else {"lw": 1.9}
            if len(one.xs) < 12 and not one.control:
                look |= {"marker": "o", "ms": 4}
            axis.plot(one.xs, one.ys, **look)
            if len(one.errors):
                low, high = (np.subtract(one.ys, one.errors), np.add(one.ys, one.errors))
                axis.fill_between(one.xs, low, high, color=COLOURS[one.colour], alpha=0.15, lw=0)
        if unit:
            axis.set_ylim(min([0.0, *heights]) - 0.02, 1.02)
        highest = max(heights, default=-inf)
        if lowest is not None and axis.get_ylim()[0] < lowest < highest:
            axis.set_ylim(lowest, highest)
        places = sorted({x for one in series for x in one.xs})
        if doublings:
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter("{x:g}")
        elif len(places) < 6:
            axis.set_xticks(places)
        else:
            axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _finish(axis, x, y, len(series))

    return Chart(name, title, says, draw)


def _finish(axis: Axes, x: str, y: str, named: int) -> None:
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(axis="y", color=INK, alpha=0.12, lw=0.7)
    axis.set_axisbelow(True)
    if named > 1:
        low, high = axis.get_ylim()
        axis.set_ylim(low, high + (0.16 if named < 3 else 0.28) * (high - low))
        axis.legend(
            loc="upper center", ncols=2 if named < 7 else 3, handlelength=1.8, markerscale=1.4
        )


def histogram(
    name: str,
    title: str,
    says: str,
    sets: Sequence[tuple[str, Sequence[float], int]],
    x: str,
    line: tuple[str, float] | None = None,
) -> Chart:
    """Shares of each set (name, numbers, colour) over common bins; a line to read them against."""

    def draw(axis: Axes) -> None:
        every = np.concatenate([np.asarray(numbers, float) for _, numbers, _ in sets])
        bins = np.linspace(min(0.0, every.min()), every.max() + 1e-9, 41).tolist()
        for label, numbers, colour in sets:
            weights = np.full(len(numbers), 100 / max(1, len(numbers)))
            look: dict[str, Any] = {"color": COLOURS[colour], "label": label}
            axis.hist(numbers, bins, weights=weights, alpha=0.25, color=COLOURS[colour])
            axis.hist(numbers, bins, weights=weights, histtype="step", lw=1.6, **look)
        if line is not None:
            axis.axvline(line[1], ymax=0.78, color=INK, lw=1.2, ls=":", label=line[0])
        _finish(axis, x, "% of pictures", len(sets) + 1)

    return Chart(name, title, says, draw)


def points(
    name: str,
    title: str,
    says: str,
    sets: Sequence[tuple[str, NDArray[Any], int]],
    x: str,
    y: str,
) -> Chart:
    """Points (N, 2) of each set (name, points, colour), the first below the others."""

    def draw(axis: Axes) -> None:
        for label, where, colour in sets:
            look: dict[str, Any] = {"color": COLOURS[colour], "label": label, "alpha": 0.65}
            axis.plot(where[:, 0], where[:, 1], "o", ms=2.6, mew=0, **look)
        _finish(axis, x, y, len(sets))
        axis.grid(axis="x", color=INK, alpha=0.12, lw=0.7)

    return Chart(name, title, says, draw)


def mean_and_half(numbers: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval by Student's t; 0 for a number alone."""
    count = len(numbers)
    if count < 2:
        return float(np.mean(numbers)), 0.0
    half = stats.t.ppf(0.975, count - 1) * np.std(numbers, ddof=1) / np.sqrt(count)
    return float(np.mean(numbers)), float(half)
