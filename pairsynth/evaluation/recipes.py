"""Results of the trials of use: gains, the recipe chosen on val images, verdicts in words.

Gains are paired by probe, over the better of the two trials with real pairs only, with a 95 %
Student's t interval. For each share of the real pairs the recipe is the way with the most tasks
helped minus harmed and, among equals, the largest relative gain, all on val images. The figures
reported for it are measured on test images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pairsynth.evaluation.context import Figure
from pairsynth.metrics.gains import Mean, mean_of, verdict_of
from pairsynth.whole_files import write_csv

TASKS = ("retrieval", "captioning", "attributes", "classes")
SHARES = (0.05, 0.2, 1.0)
LIGHTER = 0.3
VERDICTS = {
    "helps": "help",
    "harms": "harm",
    "same": "change nothing",
    "unsure": "make no difference that could be told",
    "": "were not measured",
}
ALONE_SHARE = 0.0


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to train probes. name: in metrics/use.csv. weight: of the loss of synthetic pairs.

    real: whether real pairs are used. first: synthetic pairs first, then real ones. longer: twice
    the steps. kept: the synthetic pairs used: all, the more consistent half, or a random half
    (any).
    """

    name: str
    real: bool = True
    weight: float = 0.0
    first: bool = False
    longer: bool = False
    kept: str = "all"

    @property
    def synthetic(self) -> bool:
        """Whether synthetic pairs are used."""
        return self.first or self.weight > 0

    def told(self, pairs: int) -> str:
        """The way in words; pairs: the number of synthetic pairs."""
        which = {"consistent": "the more consistent half, ", "any": "any half, "}.get(self.kept, "")
        if self.first:
            return f"learn from synthetic pairs first ({which}{pairs:,}), from real ones last"
        beside = f"a batch of synthetic pairs ({which}{pairs:,}) beside each real one"
        return f"{beside}, its loss weighted {self.weight:g}"


ALONE = Way(name="synthetic", real=False, weight=1.0)
REAL = (Way(name="real"), Way(name="real_longer", longer=True))
WAYS = (
    Way(name="both", weight=1.0),
    Way(name="both_lighter", weight=LIGHTER),
    Way(name="synthetic_first", first=True),
)
HALVES = ("consistent", "any")

Scores = Mapping[str, list[float] | None]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The scores of the probes of one way. share: of the train images. real, pairs: their numbers.

    val, test: task -> the score of each probe, or None where the task cannot be learned or tested.
    """

    way: Way
    share: float
    real: int
    pairs: int
    val: Scores
    test: Scores


# ---------------------------------------------------------------- gains


def gain(task: str, trial: Trial, base: Trial, split: str = "test") -> Mean:
    """The mean over probes of the difference in score between `trial` and `base`."""
    own, other = getattr(trial, split)[task], getattr(base, split)[task]
    if own is None or other is None:
        return mean_of([])
    return mean_of([a - b for a, b in zip(own, other, strict=True)])


def base_of(trials: Sequence[Trial], task: str) -> Trial:
    """The better trial on val of those of one share with real pairs only."""
    alone = [one for one in trials if not one.way.synthetic]
    return max(alone, key=lambda one: mean_of(one.val[task] or []).value or 0.0)


def best_of(trials: Sequence[Trial]) -> Trial:
    """The trial of one share that is the recipe; the first of equals."""

    def merit(one: Trial) -> tuple[int, float]:
        ways, relative = 0, 0.0
        for task in TASKS:
            base = base_of(trials, task)
            found, level = gain(task, one, base, "val"), mean_of(base.val[task] or []).value
            if found.value is not None and level:
                ways += (found.low or 0.0) > 0
                ways -= (found.high or 0.0) < 0
                relative += found.value / level
        return ways, relative

    return max((one for one in trials if one.way.synthetic), key=merit)


# ---------------------------------------------------------------- what is told


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A row of metrics/use.csv: one way, one task, one share of the real pairs.

    share: of the train images. real, pairs: numbers of training pairs. value: the mean on test
    images.
    gain, low, high: over real pairs only, empty for the baseline itself. seeds: number of probes.
    verdict: a key of `VERDICTS`. recipe: 1 for the way chosen on val, where it gains there, else 0.
    """

    task: str
    share: float
    arm: str
    real: int
    pairs: int
    value: float | None
    gain: float | None
    low: float | None
    high: float | None
    seeds: int
    verdict: str
    recipe: int


def outcomes(trials: Sequence[Trial]) -> list[Outcome]:
    """All rows, task by task."""
    return [
        row
        for task in TASKS
        for share in dict.fromkeys(one.share for one in trials)
        for row in _rows([one for one in trials if one.share == share], task)
    ]


def _rows(trials: Sequence[Trial], task: str) -> Iterator[Outcome]:
    together = len(trials) > 1
    base = base_of(trials, task) if together else None
    chosen = best_of(trials) if together else None
    for one in trials:
        own = mean_of(one.test[task] or [])
        found = gain(task, one, base) if base not in (None, one) else mean_of([])
        level = mean_of(base.test[task] or []).value if base else None
        yield Outcome(
            task=task,
            share=one.share,
            arm=one.way.name,
            real=one.real,
            pairs=one.pairs,
            value=own.value,
            gain=found.value,
            low=found.low,
            high=found.high,
            seeds=own.count,
            verdict=verdict_of(found, level),
            recipe=int(one is chosen and task in helped(trials)),
        )


def helped(trials: Sequence[Trial]) -> list[str]:
    """The tasks in which the recipe of one share has a clear gain on val images."""
    best = best_of(trials)
    found = {task: gain(task, best, base_of(trials, task), "val").low for task in TASKS}
    return [task for task, low in found.items() if (low or 0.0) > 0]


def write_outcomes(path: Path, trials: Sequence[Trial]) -> None:
    """Write metrics/use.csv; the header alone where nothing was measured."""
    names = [field.name for field in fields(Outcome)]
    rows = [[getattr(one, name) for name in names] for one in outcomes(trials)]
    write_csv(path, names, rows)


def figures(trials: Sequence[Trial]) -> Iterator[Figure]:
    """Figures of synthetic pairs alone; per share, of real ones alone, the recipe, its gain."""
    for task in TASKS if trials else ():
        for share, own in by_share(trials).items():
            if len(own) == 1:
                told = {"synthetic": mean_of(own[0].test[task] or [])}
            else:
                base, best, percent = base_of(own, task), best_of(own), f"{share:.0%}".rstrip("%")
                told = {
                    f"real_{percent}": mean_of(base.test[task] or []),
                    f"recipe_{percent}": mean_of(best.test[task] or []),
                    f"gain_{percent}": gain(task, best, base),
                }
            for name, mean in told.items():
                yield Figure(group="use", subject=name, measure=task, **vars(mean))


def by_share(trials: Sequence[Trial]) -> dict[float, list[Trial]]:
    """The trials of each share, in the order of the shares."""
    shares = dict.fromkeys(one.share for one in trials)
    return {share: [one for one in trials if one.share == share] for share in shares}


def recipe(trials: Sequence[Trial]) -> str:
    """The recipe of each share in words, with its gains on test images."""
    if not trials:
        return "not measured: evaluate.use_steps is 0"
    shares = [own for own in by_share(trials).values() if len(own) > 1]
    return " ".join([*map(_advice, shares), *_caveat(shares)])


def _caveat(shares: Sequence[Sequence[Trial]]) -> Iterator[str]:
    """Where twice the steps on the same real images teach clearly more, on val images.

    There pairs compete with what is still to be learned from those, which more steps would bring.
    """
    learning = {f"{own[0].share:.0%}": tasks for own in shares if (tasks := _learning(own))}
    if learning:
        tasks = [task for task in TASKS if any(task in found for found in learning.values())]
        yield (
            f"Beside {_joined(list(learning), 'and')} probes had not learned all that the real "
            f"images teach of {_joined(tasks, 'and')}: raise evaluate.use_steps to see what pairs "
            "bring to those that have."
        )


def _learning(trials: Sequence[Trial]) -> list[str]:
    real, longer = (next(one for one in trials if one.way == way) for way in REAL)
    return [task for task in TASKS if (gain(task, longer, real, "val").low or 0.0) > 0]


def _advice(trials: Sequence[Trial]) -> str:
    best, tasks = best_of(trials), helped(trials)
    asked = [task for task in TASKS if best.val[task] is not None]
    beside = f"Beside {best.real:,} real images ({best.share:.0%}):"
    if not tasks:
        return f"{beside} do not add them, for {_joined(asked, 'or')}."
    parts = [f"{task} {_told(gain(task, best, base_of(trials, task)))}" for task in tasks]
    others = [task for task in asked if task not in tasks]
    without = f"; do not add them for {_joined(others, 'or')}" if others else ""
    way = best.way.told(best.pairs)
    return f"{beside} {way}; on test images that brings {_joined(parts, 'and')}{without}."


def _joined(parts: Sequence[str], word: str) -> str:
    return f" {word} ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _told(found: Mean) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "(not measured)"
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def verdict(trials: Sequence[Trial]) -> str:
    """Whether synthetic pairs help when used by the recipe, in words, task by task."""
    if not trials:
        return "not measured: evaluate.use_steps is 0"
    return "; ".join(_judged(trials, task) for task in TASKS)


def _judged(trials: Sequence[Trial], task: str) -> str:
    shares = by_share(trials)
    alone, whole = shares[ALONE_SHARE][0], base_of(shares[SHARES[-1]], task)
    ceiling, only = (mean_of(one.test[task] or []).value for one in (whole, alone))
    if ceiling is None:
        reason = "no class is in both splits" if task == "classes" else "too few test images"
        return f"{task}: not measured, {reason}"
    parts = [_effect(task, own) for share, own in shares.items() if share != ALONE_SHARE]
    reach = "cannot learn it" if only is None else f"reach {only:.3f}"
    return (
        f"{task}: added to real pairs, synthetic ones {', '.join(parts)}; "
        f"alone they {reach} where all real ones reach {ceiling:.3f}"
    )


def _effect(task: str, trials: Sequence[Trial]) -> str:
    best, base = best_of(trials), base_of(trials, task)
    found, level = gain(task, best, base), mean_of(base.test[task] or []).value
    words = VERDICTS[verdict_of(found, level)]
    return f"{words} at {best.share:.0%}" + (f" {_told(found)}" if found.value is not None else "")
