"""What trials come to: intervals are right, val chooses, test tells, and the words say it."""

import csv
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pairsynth.evaluation import recipes
from pairsynth.evaluation.recipes import (
    ALONE,
    REAL,
    SHARES,
    TASKS,
    WAYS,
    Outcome,
    Scores,
    Trial,
    Way,
)
from pairsynth.metrics import gains
from pairsynth.metrics.gains import mean_of

LEVEL = [0.1, 0.5, 0.9]


def scores(values: Sequence[float], **others: Sequence[float]) -> Scores:
    """The same in every task but `others`; classes are not measured."""
    found = {task: list(others.get(task, values)) for task in TASKS}
    return {**found, "classes": None}


def trial(
    way: Way, share: float, val: Sequence[float], test: Sequence[float], **own: list[float]
) -> Trial:
    told = {"real": round(share * 100), "pairs": 50 if way.synthetic else 0}
    return Trial(way=way, share=share, val=scores(val, **own), test=scores(test, **own), **told)


def plus(*gains: float) -> list[float]:
    return [a + b for a, b in zip(LEVEL, gains, strict=True)]


def learning(trials: Sequence[Trial], share: float, **val: list[float]) -> list[Trial]:
    """The same trials, but that val scores of the longer one at a share are those."""
    return [
        replace(one, val={**one.val, **val}) if (one.way, one.share) == (REAL[1], share) else one
        for one in trials
    ]


def made(val: Sequence[float], test: Sequence[float], **own: list[float]) -> list[Trial]:
    """At every share: real alone, longer worse; `both` as told; two ways that harm."""
    worse = plus(-0.1, -0.11, -0.09)
    found = [trial(ALONE, 0.0, worse, worse)]
    for share in SHARES:
        found += [
            trial(REAL[0], share, LEVEL, LEVEL),
            trial(REAL[1], share, worse, plus(0.3, 0.3, 0.3)),
            trial(WAYS[0], share, val, test, **own),
            trial(WAYS[1], share, worse, plus(0.4, 0.4, 0.4)),
            trial(WAYS[2], share, worse, worse),
        ]
    return found


HELPS, HARMS = plus(0.1, 0.11, 0.09), plus(-0.1, -0.11, -0.09)


def test_the_interval_is_students() -> None:
    values = [0.2, 0.5, 0.35]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    found = mean_of(values)
    assert (found.value, found.low, found.high) == pytest.approx((0.35, low, high))
    assert found.count == 3


@pytest.mark.parametrize(("values", "wanted"), [([], (None,) * 3), ([0.5], (0.5, None, None))])
def test_none_and_one_have_no_interval(
    values: list[float], wanted: tuple[float | None, ...]
) -> None:
    found = mean_of(values)
    assert (found.value, found.low, found.high) == wanted


def test_gains_are_taken_probe_by_probe_over_what_val_finds_better() -> None:
    """The longer trial of real pairs is better on test, and was not chosen on val."""
    own = made(HELPS, HELPS)[1:6]
    base = recipes.base_of(own, "retrieval")
    assert base is own[0]
    gain = recipes.gain("retrieval", own[2], base)
    low, high = stats.t.interval(0.95, 2, 0.1, stats.sem([0.1, 0.11, 0.09]))
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.1, low, high))
    assert recipes.gain("classes", own[2], base).count == 0


def test_val_chooses_and_not_test() -> None:
    own = made(HELPS, HARMS)[1:6]
    assert recipes.best_of(own) is own[2]
    assert recipes.helped(own) == ["retrieval", "captioning", "attributes"]


def test_a_task_harmed_counts_against_one_helped() -> None:
    own = made(HELPS, HELPS, captioning=HARMS, retrieval=HARMS)[1:6]
    small = plus(0.01, 0.02, -0.01)
    own[4] = trial(WAYS[2], 0.05, small, small)
    assert recipes.best_of(own) is own[4]
    assert recipes.helped(own) == []


@pytest.mark.parametrize(
    ("low", "high", "level", "verdict"),
    [
        (0.01, 0.3, 0.5, "helps"),
        (-0.3, -0.01, 0.5, "harms"),
        (-0.05, 0.04, 0.5, "same"),
        (-0.05, 0.06, 0.5, "unsure"),
        (-0.01, 0.01, None, "unsure"),
        (None, None, 0.5, ""),
    ],
)
def test_verdicts(low: float | None, high: float | None, level: float | None, verdict: str) -> None:
    assert gains.verdict_of(gains.Mean(value=0.0, low=low, high=high, count=3), level) == verdict
    assert verdict in recipes.VERDICTS


def test_rows_tell_of_test_and_mark_the_recipe() -> None:
    rows = recipes.outcomes(made(HELPS, HELPS, captioning=HARMS))
    assert len(rows) == len(TASKS) * (1 + 3 * 5)
    found = {(row.task, row.share, row.arm): row for row in rows}
    best = found["retrieval", 0.05, "both"]
    assert (best.real, best.pairs, best.seeds, best.verdict, best.recipe) == (5, 50, 3, "helps", 1)
    assert (best.value, best.gain) == pytest.approx((0.6, 0.1))
    assert found["retrieval", 0.05, "real"].gain is None
    assert found["retrieval", 0.05, "real_longer"].gain == pytest.approx(0.3)
    assert found["captioning", 0.05, "both"].recipe == 0
    assert found["captioning", 0.05, "both"].verdict == "harms"
    assert found["classes", 0.05, "both"].value is None
    assert found["retrieval", 0.0, "synthetic"].gain is None
    assert sum(row.recipe for row in rows) == 2 * 3


def test_the_table(tmp_path: Path) -> None:
    recipes.write_outcomes(tmp_path / "use.csv", made(HELPS, HELPS))
    with (tmp_path / "use.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [field.name for field in fields(Outcome)]
    assert {row["verdict"] for row in rows} == {"", "helps", "harms"}
    recipes.write_outcomes(tmp_path / "none.csv", [])
    assert (tmp_path / "none.csv").read_text().startswith("task,share,arm,real,pairs,value,gain,")


def test_figures_are_means_with_their_intervals() -> None:
    told = {figure.key: figure for figure in recipes.figures(made(HELPS, HELPS))}
    assert told["use_real_5_retrieval"].value == pytest.approx(0.5)
    assert told["use_recipe_100_captioning"].value == pytest.approx(0.6)
    assert told["use_gain_20_attributes"].value == pytest.approx(0.1)
    assert told["use_gain_20_classes"].value is None
    assert told["use_synthetic_retrieval"].count == 3
    assert len(told) == len(TASKS) * (1 + 3 * 3)
    assert list(recipes.figures([])) == []


def test_the_recipe_in_words() -> None:
    told = recipes.recipe(made(HELPS, HELPS, captioning=HARMS))
    assert told.startswith(
        "Beside 5 real images (5%): a batch of synthetic pairs (50) beside each real one, its loss "
        "weighted 1; on test images that brings retrieval +0.100 (+0.075 to +0.125) and "
        "attributes +0.100 (+0.075 to +0.125); do not add them for captioning. Beside 20 real"
    )


def test_a_recipe_that_test_images_do_not_bear_out_says_so() -> None:
    told = recipes.recipe(made(HELPS, HARMS))
    assert "retrieval -0.100 (-0.125 to -0.075)" in told


def test_pairs_that_help_in_nothing_are_not_to_be_added() -> None:
    told = recipes.recipe(made(HARMS, HELPS))
    assert told == " ".join(
        f"Beside {round(100 * share)} real images ({share:.0%}): do not add them, for retrieval, "
        "captioning or attributes."
        for share in SHARES
    )


def test_probes_that_still_learn_from_the_same_real_images_are_said() -> None:
    trials = made(HARMS, HELPS)
    assert "use_steps" not in recipes.recipe(trials)
    grown = learning(trials, 0.2, retrieval=HELPS)
    grown = learning(grown, 1.0, retrieval=HELPS, attributes=HELPS)
    assert recipes.recipe(grown).endswith(
        "attributes. Beside 20% and 100% probes had not learned all that the real images teach of "
        "retrieval and attributes: raise evaluate.use_steps to see what pairs bring to those that "
        "have."
    )
    # a gain that may be chance is none
    assert recipes.recipe(learning(trials, 0.2, retrieval=plus(0.2, -0.2, 0.1))) == (
        recipes.recipe(trials)
    )


def test_ways_in_words() -> None:
    assert WAYS[2].told(7) == "learn from synthetic pairs first (7), from real ones last"
    half = Way(name="x", weight=0.3, kept="consistent").told(3)
    assert half == (
        "a batch of synthetic pairs (the more consistent half, 3) beside each real one, "
        "its loss weighted 0.3"
    )


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (HELPS, "synthetic ones help at 5% +0.100 (+0.075 to +0.125)"),
        (HARMS, "harm at 100% -0.100"),
        (plus(0.1, -0.1, 0.0), "make no difference that could be told at 20%"),
        (plus(0.01, -0.01, 0.0), "change nothing at 20%"),
    ],
)
def test_the_verdict_says_what_the_intervals_say(test: list[float], words: str) -> None:
    told = recipes.verdict(made(HELPS, test))
    assert words in told
    assert "alone they reach 0.400 where all real ones reach 0.500" in told
    assert told.endswith("classes: not measured, no class is in both splits")


def test_nothing_measured_is_said() -> None:
    assert recipes.verdict([]) == recipes.recipe([]) == "not measured: evaluate.use_steps is 0"


def test_the_columns_of_a_run(checkout: Path) -> None:
    with (checkout / "metrics/use.csv").open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == [field.name for field in fields(Outcome)]
    assert len(table) == len(TASKS) * (1 + 3 * 7)
