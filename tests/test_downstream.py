"""Use: the arms are what they say, the intervals are right, and a sound set helps."""

import csv
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import average_precision_score

from pairsynth.evaluation import downstream, probes
from pairsynth.evaluation.context import EvaluationContext, Pairs
from pairsynth.evaluation.downstream import ARMS, TASKS, Outcome, mean_of, mean_precision
from pairsynth.evaluation.probes import Lessons, Probe


@pytest.fixture(scope="module")
def outcomes(scene: EvaluationContext, pairs: Pairs) -> list[Outcome]:
    return [one for probe in downstream.use(scene, pairs) for one in probe]


def test_every_arm_share_task_and_seed_is_there_once(outcomes: list[Outcome]) -> None:
    found = [(o.task, o.arm, o.share, o.seed) for o in outcomes]
    assert len(found) == len(set(found)) == len(TASKS) * len(ARMS) * 3
    assert {o.arm for o in outcomes} == {"real", "synthetic", "both"}


def test_arms_have_the_pictures_they_say(outcomes: list[Outcome]) -> None:
    counts = {(o.arm, o.share): (o.real, o.synthetic) for o in outcomes}
    assert counts == {
        ("synthetic", 0.0): (0, 12),
        ("real", 0.05): (2, 0),
        ("both", 0.05): (2, 12),
        ("real", 0.2): (5, 0),
        ("both", 0.2): (5, 12),
        ("real", 1.0): (24, 0),
        ("both", 1.0): (24, 12),
    }


def test_steps_weights_and_shares_are_alike_in_all_arms(
    scene: EvaluationContext, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smaller share is part of the larger; what differs between arms is what is learned."""
    seen: list[tuple[list[tuple[int, list[int]]], int, float]] = []

    def watched(
        probe: Probe, sources: list[tuple[Lessons, torch.Tensor]], steps: int, rng: object
    ) -> None:
        probe.eval()
        rows = [(len(lessons), own.tolist()) for lessons, own in sources]
        seen.append((rows, steps, float(probe.names.weight.detach().sum())))

    monkeypatch.setattr(probes, "train", watched)
    list(downstream.use(scene, pairs))
    assert {steps for _, steps, _ in seen} == {2}
    for start in range(0, len(seen), len(ARMS)):
        part = seen[start : start + len(ARMS)]
        assert len({weight for *_, weight in part}) == 1
        shares = [set(rows[0][1]) for rows, *_ in part[1::2]]
        assert shares[0] < shares[1] < shares[2]
        assert [len(rows) for rows, *_ in part] == [1, 1, 2, 1, 2, 1, 2]
    assert seen[1][0] != seen[1 + len(ARMS)][0]


def test_pairs_that_are_real_pictures_help_those_that_have_none(scene: EvaluationContext) -> None:
    """Pupils of two real pictures gain from the other 22 in the guise of pairs."""
    train = scene.train
    real = Pairs(
        train.ids,
        [own[0] for own in train.captions],
        train.pixels,
        ["text_density"] * 24,
        [0.5] * 24,
        train.class_ids,
    )
    longer = replace(scene, config=replace(scene.config, use_steps=20))
    found = [one for probe in downstream.use(longer, real) for one in probe]
    for task in ("retrieval", "attributes", "classes"):
        gain = downstream.gain_of(found, task, 0.05)
        assert gain.value is not None
        assert gain.value > 0


def test_classes_are_asked_for_where_both_splits_have_them(outcomes: list[Outcome]) -> None:
    """All four classes are in both; of the pairs only copies of red flowers have one."""
    assert all(o.value is not None for o in outcomes if o.task == "classes")


def test_pairs_without_classes_cannot_teach_them(scene: EvaluationContext, pairs: Pairs) -> None:
    unknown = replace(pairs, class_ids=torch.full((12,), -1))
    one = next(downstream.use(scene, unknown))
    assert {o.task: o.value is None for o in one} == {task: task == "classes" for task in TASKS}


def test_classes_of_one_split_alone_are_not_measured_and_it_says_so(
    scene: EvaluationContext, pairs: Pairs
) -> None:
    other = replace(scene.test, class_ids=scene.test.class_ids + 9)
    apart = replace(scene, pictures={**scene.pictures, "test": other})
    found = [one for probe in downstream.use(apart, pairs) for one in probe]
    assert {o.value for o in found if o.task == "classes"} == {None}
    assert "classes: not measured, no class is in both splits" in downstream.verdict(found)
    told = {figure.key: figure for figure in downstream.figures(found)}
    assert told["use_real_100_classes"].value is None
    assert told["use_real_100_classes"].count == 0


def test_no_steps_measure_nothing(scene: EvaluationContext, pairs: Pairs, tmp_path: Path) -> None:
    off = replace(scene, config=replace(scene.config, use_steps=0))
    assert list(downstream.use(off, pairs)) == []
    assert downstream.count(off) == 0
    assert downstream.figures([]) == []
    assert downstream.verdict([]) == "not measured: evaluate.use_steps is 0"
    downstream.write_outcomes(tmp_path / "use.csv", [])
    assert (tmp_path / "use.csv").read_text() == "task,arm,share,real,synthetic,seed,value\n"


def test_a_second_run_gives_the_same(
    scene: EvaluationContext, pairs: Pairs, outcomes: list[Outcome], repeatable: Iterator[None]
) -> None:
    again = [one for probe in downstream.use(scene, pairs) for one in probe]
    for one, other in zip(again, outcomes, strict=True):
        assert replace(one, value=None) == replace(other, value=None)
        assert one.value == pytest.approx(other.value, abs=0.05)


# ---------------------------------------------------------------- what it comes to


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


def made(real: list[float], both: list[float]) -> list[Outcome]:
    """Outcomes of three seeds; at every share the same."""
    return [
        Outcome(task, arm, share, 9, 9, seed, (both if arm == "both" else real)[seed])
        for task in TASKS
        for arm, share in ARMS
        for seed in range(3)
    ]


def test_gains_are_taken_seed_by_seed() -> None:
    gain = downstream.gain_of(made([0.1, 0.5, 0.9], [0.2, 0.61, 0.99]), "retrieval", 0.2)
    differences = [0.1, 0.11, 0.09]
    low, high = stats.t.interval(0.95, 2, np.mean(differences), stats.sem(differences))
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.1, low, high))


@pytest.mark.parametrize(
    ("both", "words"),
    [
        ([0.2, 0.61, 0.99], "help at 5% (+0.100, +0.075 to +0.125)"),
        ([0.0, 0.39, 0.81], "harm at 100%"),
        ([0.2, 0.4, 0.9], "make no clear difference at 20%"),
    ],
)
def test_the_verdict_says_what_the_intervals_say(both: list[float], words: str) -> None:
    assert words in downstream.verdict(made([0.1, 0.5, 0.9], both))


def test_figures_are_means_with_their_intervals() -> None:
    told = {f.key: f for f in downstream.figures(made([0.1, 0.5, 0.9], [0.2, 0.6, 1.0]))}
    assert told["use_real_5_retrieval"].value == pytest.approx(0.5)
    assert told["use_both_100_captioning"].value == pytest.approx(0.6)
    assert told["use_gain_20_attributes"].value == pytest.approx(0.1)
    assert told["use_synthetic_classes"].count == 3
    assert len(told) == len(TASKS) * (len(ARMS) + 3)


def test_mean_precision_against_scikit_learn() -> None:
    rng = torch.Generator().manual_seed(0)
    scores = torch.randn(60, 4, generator=rng)
    truth = torch.rand(60, 4, generator=rng) < torch.tensor([0.3, 0.5, 0.0, 0.99])
    wanted = [average_precision_score(truth[:, j], scores[:, j]) for j in (0, 1)]
    assert mean_precision(scores, truth) == pytest.approx(np.mean(wanted))
    assert mean_precision(scores[:, 2:3], truth[:, 2:3]) is None


def test_the_columns_of_a_run(checkout: Path) -> None:
    with (checkout / "metrics/use.csv").open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == [field.name for field in fields(Outcome)]
    assert len(table) == len(TASKS) * len(ARMS) * 3
