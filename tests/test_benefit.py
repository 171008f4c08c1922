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
        ("use", "synthetic", "retrieval"): Value(0.2071, 0.1, 0.3, 3),
        ("use", "real_5", "retrieval"): Value(0.5, 0.4, 0.6, 3),
        ("use", "real_100", "retrieval"): Value(0.9, 0.8, 1.0, 3),
        ("use", "gain_5", "retrieval"): Value(0.0194, 0.001, 0.0441, 3),
        ("use", "gain_100", "retrieval"): Value(-0.0001, None, None, 1),
        ("use", "gain_5", "other"): Value(9.0, 8.0, 10.0, 3),
        ("pairs", "gain_5", "retrieval"): Value(9.0, 8.0, 10.0, 3),
    }
    use: list[Mapping[str, str]] = [
        {"task": name} for name in ("retrieval", "classes", "retrieval")
    ]
    retrieval, classes = benefit.tasks(Results({}, {"use": use}, figures, {}))
    assert retrieval == Task(
        "retrieval",
        [
            Gain("5 %", "+0.019", "+0.001 to +0.044", "helps"),
            Gain("100 %", "0.000", "", ""),
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
