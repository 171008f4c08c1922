"""Whether synthetic pairs help: gains by task and share of real pairs, each with its verdict."""

from dataclasses import dataclass

from pairsynth.metrics.gains import Mean, verdict_of
from pairsynth.report.results import Results, Value

GROUP, GAIN = "use", "gain_"
# What `gains.verdict_of` says, for a cell of a table.
VERDICTS = {
    "helps": "It clearly helps",
    "harms": "It clearly harms",
    "same": "About the same",
    "unsure": "Cannot tell yet",
    "": "Cannot tell yet",
}


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The gain from synthetic pairs beside `share` of the real ones. verdict: see `VERDICTS`."""

    share: str
    gain: str
    interval: str
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """The gains of one task; none where it was not measured.

    alone, real: the scores that synthetic pairs alone and all real ones alone reach.
    """

    name: str
    gains: list[Gain]
    alone: str
    real: str


def tasks(results: Results) -> list[Task]:
    """Every task of metrics/use.csv, in its order."""
    names = dict.fromkeys(row["task"] for row in results.curves.get("use", []))
    return [_task(results, name) for name in names]


def _task(results: Results, name: str) -> Task:
    found = {
        subject: figure
        for (group, subject, task), figure in results.figures.items()
        if (group, task) == (GROUP, name)
    }
    gains = [
        _gain(subject.removeprefix(GAIN), figure, found.get(f"real_{subject.removeprefix(GAIN)}"))
        for subject, figure in found.items()
        if subject.startswith(GAIN)
    ]
    scores = {"alone": found.get("synthetic"), "real": found.get("real_100")}
    told = {key: f"{one.value:.3f}" if one else "\N{EN DASH}" for key, one in scores.items()}
    return Task(name=name, gains=gains, **told)


def _gain(share: str, gain: Value, real: Value | None) -> Gain:
    interval = ""
    if gain.low is not None and gain.high is not None:
        interval = f"{_signed(gain.low)} to {_signed(gain.high)}"
    told = verdict_of(Mean(**vars(gain)), real.value if real else None)
    return Gain(share=f"{share} %", gain=_signed(gain.value), interval=interval, verdict=told)


def _signed(value: float) -> str:
    text = f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
    return text if float(f"{value:.3f}") else "0.000"
