"""The table of what synthetic pairs add: a verdict on each gain, and what to do."""

from collections.abc import Mapping

import pytest

from pairsynth.report import benefit, results
from pairsynth.report.benefit import Gain, Task
from pairsynth.report.results import Measured, Results
from tests.workspace import ROOT


@pytest.mark.parametrize(
    ("low", "high", "real", "verdict"),
    [
        (0.001, 0.3, 0.5, "helps"),
        (-0.3, -0.001, 0.5, "harms"),
        (-0.05, 0.05, 0.5, "same"),
        (-0.02, 0.051, 0.5, "unsure"),
        (-0.051, 0.02, 0.5, "unsure"),
        (0.0, 0.2, 0.5, "unsure"),
        (-0.01, 0.01, None, "unsure"),
        (None, None, 0.5, "unsure"),
    ],
)
def test_verdicts(low: float | None, high: float | None, real: float | None, verdict: str) -> None:
    alone = None if real is None else Measured(real, None, None, 3)
    assert benefit.verdict(Measured(0.0, low, high, 3), alone) == verdict


def test_verdicts_are_three_words_each() -> None:
    assert [len(words.split()) for words in benefit.VERDICTS.values()] == [3] * 4


def test_a_task_has_its_gains_and_one_not_measured_has_none() -> None:
    figures = {
        ("use", "synthetic", "retrieval"): Measured(0.2071, 0.1, 0.3, 3),
        ("use", "real_5", "retrieval"): Measured(0.5, 0.4, 0.6, 3),
        ("use", "real_100", "retrieval"): Measured(0.9, 0.8, 1.0, 3),
        ("use", "gain_5", "retrieval"): Measured(0.0194, 0.001, 0.0441, 3),
        ("use", "gain_100", "retrieval"): Measured(-0.0001, None, None, 1),
        ("use", "gain_5", "other"): Measured(9.0, 8.0, 10.0, 3),
        ("pairs", "gain_5", "retrieval"): Measured(9.0, 8.0, 10.0, 3),
    }
    use: list[Mapping[str, str]] = [
        {"task": name} for name in ("retrieval", "classes", "retrieval")
    ]
    retrieval, classes = benefit.tasks(Results({}, {"use": use}, figures, {}))
    assert retrieval == Task(
        "retrieval",
        [
            Gain("5 %", "+0.019", "+0.001 to +0.044", "helps"),
            Gain("100 %", "0.000", "", "unsure"),
        ],
        "0.207",
        "0.900",
    )
    assert classes == Task("classes", [], "\N{EN DASH}", "\N{EN DASH}")
    assert benefit.tasks(Results({}, {}, figures, {})) == []


def test_the_committed_run_is_told_whole() -> None:
    found = benefit.tasks(results.read(ROOT / "metrics"))
    assert {task.name for task in found} >= {"retrieval", "captioning", "attributes"}
    assert [gain.share for gain in found[0].gains] == ["5 %", "20 %", "100 %"]


def told(*verdicts: str) -> Task:
    shares = ("5 %", "20 %", "100 %")
    gains = [Gain(share, "", "", one) for share, one in zip(shares, verdicts, strict=False)]
    return Task("retrieval", gains, "", "")


@pytest.mark.parametrize(
    ("found", "advice"),
    [
        ([], "Whether they help was not measured here: train with and without them, and compare."),
        (
            [told()],
            "Whether they help was not measured here: train with and without them, and compare.",
        ),
        (
            [told("same", "unsure")],
            "No clear gain was seen: train with and without them, and compare.",
        ),
        (
            [told("helps", "helps", "harms")],
            "Adding them clearly helps: retrieval beside 5 % and 20 % of the real pairs. "
            "It clearly harms: retrieval beside 100 % of the real pairs; leave them out there.",
        ),
    ],
)
def test_advice(found: list[Task], advice: str) -> None:
    assert benefit.advice(found) == advice
