"""The table of what synthetic pairs add: a verdict on each gain, and what to do."""

from collections.abc import Mapping

from pairsynth.report import benefit, results
from pairsynth.report.benefit import Gain, Task
from pairsynth.report.results import Results, Value
from tests.workspace import ROOT


def test_verdicts_are_three_words_each() -> None:
    assert [len(words.split()) for words in benefit.VERDICTS.values()] == [3] * 5


def test_a_task_has_its_gains_and_one_not_measured_has_none() -> None:
    figures = {
        ("use", "synthetic", "retrieval"): Value(value=0.2071, low=0.1, high=0.3, count=3),
        ("use", "real_5", "retrieval"): Value(value=0.5, low=0.4, high=0.6, count=3),
        ("use", "real_100", "retrieval"): Value(value=0.9, low=0.8, high=1.0, count=3),
        ("use", "gain_5", "retrieval"): Value(value=0.0194, low=0.001, high=0.0441, count=3),
        ("use", "gain_100", "retrieval"): Value(value=-0.0001, low=None, high=None, count=1),
        ("use", "gain_5", "other"): Value(value=9.0, low=8.0, high=10.0, count=3),
        ("pairs", "gain_5", "retrieval"): Value(value=9.0, low=8.0, high=10.0, count=3),
    }
    use: list[Mapping[str, str]] = [
        {"task": name} for name in ("retrieval", "classes", "retrieval")
    ]
    retrieval, classes = benefit.tasks(
        Results(summaries={}, curves={"use": use}, figures=figures, sheets={})
    )
    assert retrieval == Task(
        name="retrieval",
        gains=[
            Gain(share="5 %", gain="+0.019", interval="+0.001 to +0.044", verdict="helps"),
            Gain(share="100 %", gain="0.000", interval="", verdict=""),
        ],
        alone="0.207",
        real="0.900",
    )
    assert classes == Task(name="classes", gains=[], alone="\N{EN DASH}", real="\N{EN DASH}")
    assert benefit.tasks(Results(summaries={}, curves={}, figures=figures, sheets={})) == []


def test_the_committed_run_is_told_whole() -> None:
    found = benefit.tasks(results.read(ROOT / "metrics"))
    assert {task.name for task in found} >= {"retrieval", "captioning", "attributes"}
    assert [gain.share for gain in found[0].gains] == ["5 %", "20 %", "100 %"]
