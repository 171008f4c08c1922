"""The charts of the report: how it was trained, what cycles keep, whether the pairs help."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from pairsynth.report.charts import Chart, Series, lines, number_text
from pairsynth.report.results import Results, Row, column, number


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A chart of columns of one CSV file over the epochs."""

    file: str
    title: str
    columns: dict[str, str]
    y: str


TRAINING = (
    Curve(file="embed", title="Encoder: loss", columns={"loss": "train"}, y="contrastive loss"),
    Curve(
        file="embed",
        title="Encoder: captions found first",
        columns={"val_recall_at_1": "val"},
        y="share of captions",
    ),
    Curve(
        file="train_gan",
        title="GAN: losses",
        columns={"discriminator_loss": "discriminator", "generator_loss": "generator"},
        y="loss",
    ),
    Curve(
        file="train_gan",
        title="GAN: the discriminator's scores",
        columns={"real": "real", "wrong": "real, wrong caption", "fake": "drawn"},
        y="mean score",
    ),
    Curve(
        file="train_captioner",
        title="Captioner: loss",
        columns={"loss": "train", "val_loss": "val"},
        y="nats a word",
    ),
)


def training(results: Results) -> Iterator[Chart]:
    """Charts of losses and scores over epochs, and of the likelihood of mixtures tried."""
    for i, curve in enumerate(TRAINING):
        rows = results.curves.get(curve.file, [])
        known = {key: name for key, name in curve.columns.items() if rows and key in rows[0]}
        series = [
            Series(name=name, xs=column(rows, "epoch"), ys=column(rows, key), colour=colour)
            for colour, (key, name) in enumerate(known.items())
        ]
        if series:
            yield lines(f"training{i}", curve.title, _ends(series), series, x="epoch", y=curve.y)
    yield from _mixtures(results.curves.get("fit_gmm", []))


def _ends(series: Sequence[Series]) -> str:
    known = [one for one in series if isfinite(one.ys[0]) and isfinite(one.ys[-1])]
    ends = ((one.name, number_text(one.ys[0]), number_text(one.ys[-1])) for one in known)
    return "; ".join(f"{name} from {first} to {last}" for name, first, last in ends) + "."


def _mixtures(rows: list[Row]) -> Iterator[Chart]:
    for over in sorted({row["over"] for row in rows}):
        series = [
            Series(
                name=kind, xs=column(own, "components"), ys=column(own, "held_out"), colour=colour
            )
            for colour, kind in enumerate(("diag", "full"))
            if (own := [r for r in rows if (r["over"], r["covariance"]) == (over, kind)])
        ]
        title = f"Mixtures over {over}: held out"
        name, says, x = f"mixture-{over}", _ends(series), "components"
        first, best = series[0].ys[0], max(y for one in series for y in one.ys)
        # Too many components fall without end on held-out rows; that they do is seen all the same.
        lowest = first - (best - first) - 1
        yield lines(name, title, says, series, x=x, y="nats a row", doublings=True, lowest=lowest)


# ---------------------------------------------------------------- cycles

WORDS = {
    "phi": "phi",
    "pixel": "pixels",
    "psi": "psi",
    "bleu_4": "BLEU-4",
    "petal_colour_kept": "petal colour",
}
UNITS = {
    "cosine": "cosine with the start",
    "cosine_centred": "centred cosine",
    "bleu": "BLEU against the start",
    "rank": "rank of the start",
    "share": "share kept",
}


def unit_of(measure: str) -> str:
    """The unit of a measure of cycles, a key of `UNITS`."""
    for unit in ("cosine_centred", "cosine", "bleu", "rank"):
        if unit in measure:
            return unit
    return "share"


def name_of(measure: str) -> str:
    """The name of a measure of cycles in the legend."""
    bare = measure.removesuffix("_centred").removesuffix("_cosine")
    return WORDS.get(bare, bare.replace("_", " "))


def cycles(results: Results) -> Iterator[Chart]:
    """Charts of what cycles keep after each turn; dashed: the same for unrelated pairs."""
    groups: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in results.curves.get("cycles", []):
        groups[row["start"], unit_of(row["measure"])][row["measure"]].append(row)
    for (start, unit), measures in groups.items():
        series = []
        for colour, (measure, rows) in enumerate(list(measures.items())[:6]):
            turns, what = column(rows, "turn"), name_of(measure)
            series.append(Series(name=what, xs=turns, ys=column(rows, "value"), colour=colour))
            chance = column(rows, "shuffled")
            series.append(
                Series(name=f"{what}, by chance", xs=turns, ys=chance, colour=colour, control=True)
            )
        source = {"image": "From images", "text": "From captions"}.get(start, start)
        title, name = f"{source}: {UNITS[unit]}", f"cycle-{start}-{unit}"
        bounded = unit not in ("bleu", "rank")
        yield lines(name, title, _ends(series), series, x="turn", y=UNITS[unit], unit=bounded)


# ---------------------------------------------------------------- use

ARMS = {
    "real": "real alone",
    "real_longer": "real alone, twice as long",
    "both": "real and synthetic",
    "synthetic_first": "synthetic first, real last",
    "synthetic": "synthetic alone",
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """The result of one way of training: mean over seeds, half the interval of its gain, or 0."""

    task: str
    arm: str
    share: float
    mean: float
    half: float
    seeds: int


def arms(results: Results) -> list[Arm]:
    """The rows of metrics/use.csv that have a score."""
    return [
        Arm(
            task=row["task"],
            arm=row["arm"],
            share=number(row["share"]) or 0.0,
            mean=value,
            half=_half(row),
            seeds=seeds,
        )
        for row in results.curves.get("use", [])
        if (value := number(row["value"])) is not None
        if (seeds := int(number(row["seeds"]) or 0))
    ]


def _half(row: Row) -> float:
    low, high = number(row["low"]), number(row["high"])
    return 0.0 if low is None or high is None else (high - low) / 2


def use(results: Results) -> Iterator[Chart]:
    """One chart per task: the score of each arm over the share of real pairs."""
    found = arms(results)
    for place, task in enumerate(dict.fromkeys(one.task for one in found)):
        series = []
        for colour, (arm, name) in enumerate(ARMS.items()):
            own = sorted(
                (o for o in found if (o.task, o.arm) == (task, arm)), key=lambda o: o.share
            )
            if own:
                xs, ys = [100 * o.share for o in own], [o.mean for o in own]
                series.append(
                    Series(name=name, xs=xs, ys=ys, colour=colour, errors=[o.half for o in own])
                )
        title = task.replace("_", " ").capitalize()
        x = "% of the real pairs given"
        yield lines(f"use{place}", title, _ends(series), series, x=x, y="score on real test data")
