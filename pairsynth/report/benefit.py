"""Whether synthetic pairs help: gains by task and share of real pairs, each with its verdict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pairsynth.report.results import Measured, Results

GROUP, GAIN = "use", "gain_"
# A gain whose whole interval is within this share of what real pairs alone reach is none to name.
SAME = 0.1
VERDICTS = {
    "helps": "It clearly helps",
    "harms": "It clearly harms",
    "same": "About the same",
    "unsure": "Cannot tell yet",
}


@dataclass(frozen=True)
class Gain:
    """What synthetic pairs add to `share` of the real ones. verdict: a key of `VERDICTS`."""

    share: str
    gain: str
    interval: str
    verdict: str


@dataclass(frozen=True)
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
    alone, real = (found.get(subject) for subject in ("synthetic", "real_100"))
    return Task(
        name, gains, *(f"{one.value:.3f}" if one else "\N{EN DASH}" for one in (alone, real))
    )


def _gain(share: str, gain: Measured, real: Measured | None) -> Gain:
    interval = ""
    if gain.low is not None and gain.high is not None:
        interval = f"{_signed(gain.low)} to {_signed(gain.high)}"
    return Gain(f"{share} %", _signed(gain.value), interval, verdict(gain, real))


def _signed(value: float) -> str:
    text = f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
    return text if float(f"{value:.3f}") else "0.000"


def verdict(gain: Measured, real: Measured | None) -> str:
    """A key of `VERDICTS`, from the gain's interval beside what real pairs alone reach."""
    if gain.low is None or gain.high is None:
        return "unsure"
    if gain.low > 0:
        return "helps"
    if gain.high < 0:
        return "harms"
    widest = max(-gain.low, gain.high)
    return "same" if real is not None and widest <= SAME * real.value else "unsure"


def advice(found: Sequence[Task]) -> str:
    """What to do with the pairs, as far as the gains tell."""
    helped, harmed = (", ".join(_where(found, verdict)) for verdict in ("helps", "harms"))
    if not any(task.gains for task in found):
        return "Whether they help was not measured here: train with and without them, and compare."
    parts = [
        f"Adding them clearly helps: {helped}." if helped else "",
        f"It clearly harms: {harmed}; leave them out there." if harmed else "",
    ]
    if not helped and not harmed:
        parts = ["No clear gain was seen: train with and without them, and compare."]
    return " ".join(part for part in parts if part)


def _where(found: Sequence[Task], verdict: str) -> Iterator[str]:
    for task in found:
        shares = [gain.share for gain in task.gains if gain.verdict == verdict]
        if shares:
            yield f"{task.name} beside {' and '.join(shares)} of the real pairs"
