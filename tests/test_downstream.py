"""Use: the trials are what they say, the questions are right, and a sound set helps."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from pairsynth.evaluation import downstream, probes, recipes
from pairsynth.evaluation.context import EvaluationContext, Pairs
from pairsynth.evaluation.downstream import Experiment, Questions, mean_precision
from pairsynth.evaluation.probes import Portion, Probes
from pairsynth.evaluation.recipes import ALONE, HALVES, REAL, SHARES, TASKS, WAYS, Trial, Way
from pairsynth.metrics.feature_extractors import random_features

EACH = len(REAL) + len(WAYS) + len(HALVES)


@pytest.fixture(scope="module")
def trials(context: EvaluationContext, pairs: Pairs) -> list[Trial]:
    return list(downstream.use(context, pairs))


@pytest.fixture(scope="module")
def experiment(context: EvaluationContext, pairs: Pairs) -> Experiment:
    return Experiment(
        context=context,
        pairs=pairs,
        features=probes.reader(random_features(), context.train.pixels),
    )


def test_every_way_and_share_is_there_once(context: EvaluationContext, trials: list[Trial]) -> None:
    assert len(trials) == downstream.count(context) == 1 + 3 * EACH
    assert [one.share for one in trials] == [0, *np.repeat(SHARES, EACH)]
    for share in SHARES:
        names = [one.way.name for one in trials if one.share == share]
        assert names[:5] == ["real", "real_longer", "both", "both_lighter", "synthetic_first"]
        best = recipes.best_of([one for one in trials if one.share == share][:5]).way.name
        assert names[5:] == [f"{best}_consistent_half", f"{best}_any_half"]
    for one in trials:
        assert set(one.val) == set(one.test) == set(TASKS)
        assert {len(scores) for scores in one.test.values() if scores is not None} == {3}


def test_trials_have_the_images_they_say(trials: list[Trial]) -> None:
    counts = [(one.real, one.pairs) for one in trials]
    real = {0.05: 2, 0.2: 5, 1.0: 24}
    wanted = [(0, 12)]
    for share in SHARES:
        wanted += [(real[share], n) for n in (0, 0, 12, 12, 12, 6, 6)]
    assert counts == wanted


def test_weights_shares_and_orders_are_alike_in_all_trials(
    context: EvaluationContext, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smaller share is part of the larger; what differs between trials is what is learned."""
    starts, orders, shares = [], [], []

    def watched(taught: Probes, phases: list[list[Portion]], steps: int, own: list[int]) -> None:
        assert steps == 2
        starts.append(taught.image.detach().sum().item())
        orders.append(tuple(own))
        shares.append([set(one.rows[0].tolist()) for one in phases[-1] if one.name == "real"])

    monkeypatch.setattr(probes, "train", watched)
    list(downstream.use(context, pairs))
    assert len(set(starts)) == len(set(orders)) == 1
    assert len(set(orders[0])) == 3
    smallest, middle, largest = (shares[1 + i * EACH][0] for i in range(3))
    assert smallest < middle < largest
    assert all(one == [smallest] for one in shares[1 : 1 + EACH])


def test_a_share_has_as_many_of_each_class_as_can_be(experiment: Experiment) -> None:
    classes = experiment.context.train.class_ids
    for order in experiment.orders:
        assert sorted(order.tolist()) == list(range(24))
        for count in (4, 8, 12):
            found = torch.bincount(classes[order[:count]], minlength=4)
            assert found.tolist() == [count // 4] * 4
    assert len({tuple(order.tolist()) for order in experiment.orders}) == 3


def test_halves_of_the_pairs(experiment: Experiment, pairs: Pairs) -> None:
    way = recipes.WAYS[0]
    assert [own.tolist() for own in experiment.kept(way)] == [list(range(12))] * 3
    best = experiment.kept(replace(way, kept="consistent"))
    assert {tuple(sorted(own.tolist())) for own in best} == {(6, 7, 8, 9, 10, 11)}
    any_half = [tuple(own.tolist()) for own in experiment.kept(replace(way, kept="any"))]
    assert all(len(set(own)) == 6 for own in any_half)
    assert len(set(any_half)) == 3


@pytest.mark.parametrize(
    ("way", "phases"),
    [
        (ALONE, [["synthetic"]]),
        (REAL[0], [["real"]]),
        (REAL[1], [["real"], ["real"]]),
        (WAYS[0], [["real", "synthetic"]]),
        (WAYS[2], [["synthetic"], ["real"]]),
    ],
)
def test_what_is_learned_when(experiment: Experiment, way: Way, phases: list[list[str]]) -> None:
    real = Portion(name="real", examples=experiment.real, rows=[])
    pairs = Portion(name="synthetic", examples=experiment.synthetic, rows=[], weight=0.5)
    found = downstream._phases(way, real, pairs)
    assert [[one.name for one in phase] for phase in found] == phases


def test_pairs_that_are_real_images_help_those_that_have_none(context: EvaluationContext) -> None:
    """Probes of two real images gain from the other 22 in the guise of pairs."""
    train = context.train
    real = Pairs(
        ids=train.ids,
        captions=[own[0] for own in train.captions],
        pixels=train.pixels,
        strategies=["text_density"] * 24,
        consistency=[0.5] * 24,
        class_ids=train.class_ids,
    )
    longer = replace(context, config=replace(context.config, use_steps=20))
    experiment = Experiment(
        context=longer,
        pairs=real,
        features=probes.reader(probes.frozen_features(torch.device("cpu")), train.pixels),
    )
    alone, both = (downstream.trial(experiment, way, 0.05) for way in (REAL[0], WAYS[0]))
    for task in ("retrieval", "attributes", "classes"):
        gain = recipes.gain(task, both, alone)
        assert gain.value is not None
        assert gain.value > 0


def test_pairs_without_classes_cannot_teach_them(context: EvaluationContext, pairs: Pairs) -> None:
    unknown = replace(pairs, class_ids=torch.full((12,), -1))
    one = next(downstream.use(context, unknown))
    assert [task for task, scores in one.test.items() if scores is None] == ["classes"]
    assert one.val["classes"] is None


def test_classes_of_one_split_alone_are_not_measured_and_it_says_so(
    context: EvaluationContext, pairs: Pairs
) -> None:
    splits = {
        name: replace(one, class_ids=one.class_ids + 9 * (name != "train"))
        for name, one in context.examples.items()
    }
    found = list(downstream.use(replace(context, examples=splits), pairs))
    assert [one.test["classes"] for one in found] == [None] * len(found)
    assert "classes: not measured, no class is in both splits" in recipes.verdict(found)
    told = {figure.key: figure for figure in recipes.figures(found)}
    assert told["use_real_100_classes"].value is None
    assert told["use_real_100_classes"].count == 0


def test_no_steps_measure_nothing(context: EvaluationContext, pairs: Pairs) -> None:
    off = replace(context, config=replace(context.config, use_steps=0))
    assert list(downstream.use(off, pairs)) == []
    assert downstream.count(off) == 0


def test_a_second_run_gives_the_same(
    context: EvaluationContext, pairs: Pairs, trials: list[Trial], repeatable: Iterator[None]
) -> None:
    again = next(downstream.use(context, pairs))
    for task in TASKS:
        assert again.test[task] == pytest.approx(trials[0].test[task], abs=0.05)


# ---------------------------------------------------------------- questions


def test_likelihoods_are_geometric_means(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = experiment.question_sets[1]
    heads = Probes(
        [1, 2], experiment.vocabulary, questions.features.shape[1], 4, questions.truth.shape[1]
    )
    whole = downstream.likelihoods(heads, questions)
    chances, counts = heads.write(questions.features[None], questions.tokens.expand(2, -1, -1))
    for k in range(2):
        wanted = chances[k][counts[0]].exp().log().mean().exp()
        assert whole[k] == pytest.approx(wanted.item(), rel=1e-4)
    monkeypatch.setattr(downstream, "PART", 3)
    assert downstream.likelihoods(heads, questions) == pytest.approx(whole, rel=1e-4)


def test_questions_that_cannot_be_asked_give_none(experiment: Experiment) -> None:
    questions = experiment.question_sets[0]
    heads = Probes(
        [1, 2], experiment.vocabulary, questions.features.shape[1], 4, questions.truth.shape[1]
    )
    deaf = Questions(
        features=questions.features,
        tokens=questions.tokens,
        truth=questions.truth * 0,
        targets=questions.targets * 0 - 1,
    )
    found = downstream.examine(heads, deaf)
    assert {task for task, scores in found.items() if scores is None} == {"attributes", "classes"}


def test_mean_precision_against_scikit_learn() -> None:
    rng = torch.Generator().manual_seed(0)
    scores = torch.randn(60, 4, generator=rng)
    truth = torch.rand(60, 4, generator=rng) < torch.tensor([0.3, 0.5, 0.0, 0.99])
    wanted = [average_precision_score(truth[:, j], scores[:, j]) for j in (0, 1)]
    assert mean_precision(scores, truth) == pytest.approx(np.mean(wanted))
    assert mean_precision(scores[:, 2:3], truth[:, 2:3]) is None


def test_equal_scores_count_as_wrong() -> None:
    truth = torch.arange(20)[:, None] < 10
    found = mean_precision(torch.zeros(20, 1), truth)
    assert found == pytest.approx(np.mean([(i + 1) / (11 + i) for i in range(10)]))
