"""Each row of metrics/pairs.csv says of its pair what the measures say of it alone."""

import csv
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairsynth.evaluation.context import EvaluationContext, Pairs
from pairsynth.evaluation.per_pair import Row, rows
from pairsynth.metrics.copying import closest_bleu, longest_copied

COLUMNS = (
    "pair_id strategy caption consistency judge_similarity judge_rank novelty nearest_image_id "
    "nearest_image_distance image_ratio nearest_caption_id nearest_caption longest_copied "
    "closest_bleu"
)


def test_the_columns_are_the_fields(checkout: Path) -> None:
    assert [field.name for field in fields(Row)] == COLUMNS.split()
    with (checkout / "metrics/pairs.csv").open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == COLUMNS.split()
    assert len(table) == 64
    assert {1 <= int(row["judge_rank"]) <= 100 for row in table} == {True}


def test_a_row_is_what_the_measures_say(context: EvaluationContext, pairs: Pairs) -> None:
    found = rows(context, pairs)
    train = context.train.flat_captions
    assert [row.pair_id for row in found] == pairs.ids
    assert [row.longest_copied for row in found] == longest_copied(pairs.captions, train)
    assert [row.closest_bleu for row in found] == closest_bleu(pairs.captions, train)[0]
    seen = context.judge.image_vectors(pairs.pixels)
    read = context.judge.caption_vectors(pairs.captions)
    for i, row in enumerate(found):
        assert row.judge_similarity == pytest.approx(float(seen[i] @ read[i]), abs=1e-5)
        owner, place = row.nearest_caption_id.split("#")
        own = context.train.captions[context.train.ids.index(owner)]
        assert own[int(place)] == row.nearest_caption
    assert [row.nearest_image_id for row in found[:6]] == context.train.ids[:6]
    assert [row.image_ratio for row in found[:6]] == pytest.approx([0] * 6, abs=1e-6)


@settings(max_examples=10)
@given(st.permutations(range(12)), st.integers(1, 12))
def test_neither_order_nor_batch_changes_a_row(
    context: EvaluationContext, pairs: Pairs, order: list[int], batch: int
) -> None:
    wanted = rows(context, pairs)
    found = []
    for i in range(0, 12, batch):
        found += rows(context, pairs.take(order[i : i + batch]))
    for one, i in zip(found, order, strict=True):
        for field in fields(Row):
            value, same = getattr(one, field.name), getattr(wanted[i], field.name)
            assert value == (pytest.approx(same, abs=1e-5) if isinstance(same, float) else same)
