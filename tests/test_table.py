"""The table of measures: each figure has one entry, and all that is told of it comes from there."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from pairsynth.evaluation import measuring, table
from pairsynth.evaluation.context import EvaluationContext, Figure, share_figure
from pairsynth.evaluation.made import Made
from pairsynth.evaluation.table import (
    LESS,
    MORE,
    NEAR,
    SCORE,
    SHARE,
    UNITS,
    Claim,
    End,
    Measure,
)
from pairsynth.metrics.agreement import Share


def nothing(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    return iter(())


def measure(name: str, better: str, headline: str = "") -> Measure:
    return Measure(
        group="sets",
        name=name,
        unit=SHARE,
        better=better,
        function=nothing,
        section="alike",
        claims=[Claim(subject="ours", says=f"{name}: {{star}}", headline=headline)],
        floors=[End(says="chance", subject="shuffled")],
        ceilings=[End(says="people's", subject="real"), End(says="other", subject="x", group="y")],
    )


def figure(subject: str, name: str, value: float | None) -> Figure:
    return Figure(
        group="sets", subject=subject, measure=name, value=value, low=None, high=None, count=9
    )


def test_a_figure_is_of_the_first_entry_that_covers_it() -> None:
    every = [measure("f1_of_red", LESS), measure("f1_of_*", MORE)]
    assert table.measure_of(every, figure("ours", "f1_of_red", 1)) is every[0]
    assert table.measure_of(every, figure("ours", "f1_of_blue", 1)) is every[1]
    assert every[1].star("f1_of_pale_blue") == "pale blue"
    with pytest.raises(LookupError, match="no entry of the table of measures is of sets_ours_bleu"):
        table.measure_of(every, figure("ours", "bleu", 1))


def test_claims_stand_beside_floors_and_ceilings_that_were_measured() -> None:
    found = table.claim_rows(
        [measure("f1_of_*", MORE)],
        [
            figure("ours", "f1_of_red", 0.5),
            figure("shuffled", "f1_of_red", 0.1),
            figure("real", "f1_of_red", None),
            figure("ours", "f1_of_blue", None),
        ],
    )
    assert [(row.role, row.label, row.value) for row in found] == [
        ("made", "pipeline", 0.5),
        ("floor", "chance", 0.1),
    ]
    assert {row.says for row in found} == {"f1_of_*: red"}
    assert {row.claim for row in found} == {"sets_ours_f1_of_red"}


def test_the_words_of_a_claim_are_filled_in() -> None:
    claim = Claim(subject="ours", says="{star} is first of {among}")
    every = [replace(measure("f1_of_*", MORE), claims=[claim])]
    (row,) = table.claim_rows(every, [figure("ours", "f1_of_red", 0.5)], {"among": 24})
    assert row.says == "red is first of 24"


def test_the_headline_says_which_way_is_better() -> None:
    every = [measure("a", MORE, "a"), measure("b", LESS, "b"), measure("c", NEAR, "c")]
    every += [measure("d", MORE), measure("e", NEAR, "e")]
    figures = [figure("ours", name, 0.25) for name in "abcde"]
    figures += [figure("real", name, 0.5) for name in "abcd"]
    assert table.headline(table.claim_rows(every, figures)) == {
        "up": {"a": 0.25},
        "down": {"b": 0.25},
        "to_1": {"c": 0.5},
    }


def test_clear_gains_are_counted_each_way() -> None:
    gains = {"retrieval": (0.1, 0.3), "captioning": (-0.1, 0.1), "classes": (-0.3, -0.1)}
    figures = [
        Figure(
            group="use",
            subject="gain_5",
            measure=task,
            value=(low + high) / 2,
            low=low,
            high=high,
            count=3,
        )
        for task, (low, high) in gains.items()
    ]
    figures.append(share_figure("use", "real_5", "retrieval", Share(9, 10)))
    assert measuring.headline([], figures) == {"up": {"helps": 1}, "down": {"harms": 1}}
    assert measuring.headline([], []) == {}


def test_functions_are_run_once_each() -> None:
    assert table.parts([measure("a", MORE), measure("b", MORE)]) == [nothing]
    ours = table.parts(measuring.TABLE)
    assert len(ours) == len(set(ours)) > 10


def test_entries_are_whole() -> None:
    for one in measuring.TABLE:
        assert one.unit in UNITS
        assert one.better in table.HEADINGS
        assert one.section in ("new", "agree", "alike") or not one.claims
    keys = [claim.headline for one in measuring.TABLE for claim in one.claims if claim.headline]
    assert len(keys) == len(set(keys))
    assert 12 <= len(keys) <= 20


def test_every_figure_of_a_run_has_its_unit_and_direction(checkout: Path) -> None:
    """And the other way: every claim of the table but those of the view by CLIP is measured."""
    read = pd.read_csv(checkout / "metrics/evaluate.csv", keep_default_na=False)
    assert set(read["unit"]) <= set(UNITS)
    assert set(read["better"]) == {MORE, LESS, NEAR}
    assert (read["unit"][read["measure"].str.startswith("kid")] == SCORE).all()
    places = set(zip(read["group"], read["subject"], read["measure"], strict=True))
    for one in measuring.TABLE:
        for subject in [claim.subject for claim in one.claims]:
            found = [p for p in places if p[1] == subject and one.covers(p[0], p[2])]
            assert found, (one.group, one.name, subject)
        for end in (*one.floors, *one.ceilings):
            name = end.name or one.name
            group = end.group or one.group
            assert one.group == "images_pretrained" or any(
                p[1] == end.subject
                and Measure(group=group, name=name, unit="", better="", function=None).covers(
                    p[0], p[2]
                )
                for p in places
            ), (one.group, one.name, end)


def test_the_headline_of_a_run_has_few_figures(checkout: Path) -> None:
    told = json.loads((checkout / "metrics/headline.json").read_text())
    assert list(told) == ["up", "down", "to_1"]
    keys = [key for own in told.values() for key in own]
    assert 12 <= len(keys) <= 20
    assert all(isinstance(v, int | float) for own in told.values() for v in own.values())
    claims = pd.read_csv(checkout / "metrics/measures.csv")
    new = claims[(claims["headline"] == "new") & (claims["role"] == "made")]
    assert told["up"]["new"] == pytest.approx(new["value"].item(), abs=5e-4)
