"""Charts are laid out so that they can be read: on the smallest run and on the committed one."""

from itertools import combinations, pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from pairsynth import config
from pairsynth.report import charts, page, results
from pairsynth.report.charts import Chart, Series
from tests.workspace import ROOT

CPU = torch.device("cpu")


def shown(axis: Axes) -> list[Text]:
    """The texts of an axis that have words in them and lie where they are drawn."""
    labels: list[Text] = []
    for side, limits in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        low, high = sorted(limits)
        slack = 1e-6 * (high - low)
        ticks = side.get_major_ticks()
        labels += [t.label1 for t in ticks if low - slack <= t.get_loc() <= high + slack]
    texts = [
        axis.xaxis.label,
        axis.yaxis.label,
        axis.title,
        axis._left_title,  # type: ignore[attr-defined]
        *axis.texts,
    ]
    legend = axis.get_legend()
    texts += legend.get_texts() if legend else []
    return [text for text in (*texts, *labels) if text.get_text().strip() and text.get_visible()]


def check_readable(drawn: list[Chart]) -> None:
    """Axes take most of each panel; no text lies over another or out of the sheet."""
    with matplotlib.rc_context(charts.STYLE):
        sheet = charts.laid_out(drawn, 3)
        canvas = FigureCanvasAgg(sheet)
        canvas.draw()
        assert len(sheet.axes) == len(drawn)
        panel = np.array(charts.SIZE) * sheet.dpi
        boxes: list[tuple[str, Bbox]] = []
        for axis in sheet.axes:
            size = axis.get_window_extent().size / panel
            assert (size > 0.55).all(), (axis.get_title("left"), size)
            for text in shown(axis):
                boxes.append((text.get_text(), text.get_window_extent(canvas.get_renderer())))
    for words, box in boxes:
        assert sheet.bbox.x0 <= box.x0 < box.x1 <= sheet.bbox.x1, words
        assert sheet.bbox.y0 <= box.y0 < box.y1 <= sheet.bbox.y1, words
    for (words, one), (others, other) in combinations(boxes, 2):
        overlap = Bbox.intersection(one.padded(-1), other.padded(-1))
        assert overlap is None, f"{words!r} lies over {others!r}"


def test_the_charts_of_the_committed_run() -> None:
    drawn = page.charts(results.read(ROOT / "metrics"))
    assert len(drawn) > 15
    check_readable(drawn)


def test_the_charts_of_the_smallest_run(checkout: Path) -> None:
    params = config.read(checkout / "params.yaml")
    report = page.gather(checkout / "data", checkout / "metrics", params, 1712, CPU)
    check_readable([*page.charts(report.results), report.nearness, *report.maps])


@pytest.mark.parametrize(
    "places", [[1], [1, 2], [0, 5, 20, 100], [1, 2, 4, 8, 16, 32], [*range(60)]]
)
@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("scale", [1e-4, 1, 24_000])
def test_any_lines(places: list[int], count: int, scale: float) -> None:
    rng = np.random.default_rng(0)
    names = ["a name of more than one line", "b", "petal colour", "shapes f1", "parts f1", "phi"]
    series = [
        Series(
            name=f"{name}{', by chance' if control else ''}",
            xs=places,
            ys=ys.tolist(),
            colour=i,
            control=control,
        )
        for i, name in enumerate(names[:count])
        for control in (False, True)
        if len(ys := scale * rng.normal(size=len(places)))
    ]
    chart = charts.lines("a", "A chart of some lines", "", series, x="epoch", y="loss a word")
    check_readable([chart])


def test_chance_is_said_once() -> None:
    def words(measures: int) -> list[str]:
        series = [
            Series(name=f"{name}{chance}", xs=[1, 2], ys=[0.5, 0.4], colour=0, control=bool(chance))
            for name in ("phi", "pixels")[:measures]
            for chance in ("", ", by chance")
        ]
        sheet = charts.laid_out([charts.lines("a", "", "", series, x="turn", y="share")])
        return [text.get_text().replace("\n", " ") for text in sheet.axes[0].texts]

    assert sorted(words(1)) == ["by chance", "phi"]
    assert sorted(words(2)) == ["dashed: by chance", "phi", "pixels"]


def test_a_collapse_does_not_squash_the_rest() -> None:
    series = [Series(name="full", xs=[1, 2, 4], ys=[-90.0, -50.0, -1e6], colour=0)]
    chart = charts.lines(
        "a", "", "", series, x="components", y="nats", doublings=True, lowest=-131.0
    )
    low, high = charts.laid_out([chart]).axes[0].get_ylim()
    assert low == -131
    assert -50 < high < -40


@pytest.mark.parametrize(
    ("value", "told"), [(2356.4, "2,356"), (100, "100"), (0.04321, "0.0432"), (-1234.5, "-1,234")]
)
def test_numbers_are_told_as_people_write_them(value: float, told: str) -> None:
    assert charts.number_text(value) == told


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 3)), max_size=8))
def test_boxes_are_put_apart_in_their_order(found: list[tuple[float, int]]) -> None:
    found.sort()
    sizes = [float(size) for _, size in found]
    places = charts.apart([place for place, _ in found], sizes, 10)
    ends = [(p - s / 2, p + s / 2) for p, s in zip(places, sizes, strict=True)]
    assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(ends))
    if sum(sizes) <= 10:
        assert all(low >= -1e-9 and high <= 10 + 1e-9 for low, high in ends)
