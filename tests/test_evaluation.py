"""Every figure recomputed apart from the code that made it, on tiny networks and real files."""

import csv
import io
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from sacrebleu import corpus_bleu

from pairsynth.artifacts import file_digest
from pairsynth.dataset import Refusals, complete, read_rows
from pairsynth.efficientnet import JUDGE, TEACHER, installed, weights
from pairsynth.errors import InputError
from pairsynth.evaluation import (
    caption_quality,
    cycle_consistency,
    judges,
    made,
    quality,
    table,
)
from pairsynth.evaluation.context import (
    EvaluationContext,
    Figure,
    Pairs,
    draw_again,
    evenly_spaced,
    pairs_sheet,
    read_pairs,
    read_splits,
)
from pairsynth.evaluation.cycle_consistency import CyclePoint, Walk
from pairsynth.examples import Examples, read_examples
from pairsynth.mappings import Turn
from pairsynth.metrics.captions import bleu, most_frequent
from pairsynth.sources.garden_captions import WORDS
from pairsynth.text import normalize
from tests.conftest import draw
from tests.rows import write_pairs, write_pairs_shard
from tests.workspace import facts_of


def quality_of(context: EvaluationContext, pairs: Pairs) -> list[Figure]:
    ours = made.look_at(context, pairs)
    every = table.parts([*quality.MEASURES, *caption_quality.MEASURES])
    return [figure for part in every for figure in part(context, ours)]


@pytest.fixture(scope="module")
def found(context: EvaluationContext, pairs: Pairs) -> dict[str, Figure]:
    return {f.key: f for f in quality_of(context, pairs)}


def test_keys_are_flat_and_unique(context: EvaluationContext, pairs: Pairs) -> None:
    figures = quality_of(context, pairs)
    assert len({f.key for f in figures}) == len(figures)
    told = json.loads(json.dumps(table.flat(figures)))
    assert all(isinstance(v, float | int | None) for v in told.values())


def test_bleu_of_the_captioner_is_that_of_its_captions(
    context: EvaluationContext, found: dict[str, Figure]
) -> None:
    rows = evenly_spaced(16, 12)
    phi = context.mappings.phi(context.test.pixels[rows])
    written = [normalize(caption) for caption in context.mappings.describe(phi)]
    own = [[normalize(c) for c in context.test.captions[row]] for row in rows]
    most = max(map(len, own))
    streams: Any = [[o[i] if i < len(o) else None for o in own] for i in range(most)]
    wanted = corpus_bleu(written, streams, tokenize="none", smooth_method="none")
    assert found["captions_captioner_bleu_4_all_references"].value == pytest.approx(wanted.score)
    assert found["captions_captioner_bleu_4_all_references"].count == 12


def test_a_persons_caption_is_measured_against_the_others(found: dict[str, Figure]) -> None:
    """The tiny captions of an image differ in their words: no person repeats another."""
    value = found["captions_person_bleu_1"].value
    assert value is not None
    assert 0 < value < 100
    assert found["captions_most_frequent_bleu_1"].value is not None


def test_most_frequent_is_of_the_train_captions(context: EvaluationContext) -> None:
    counts = Counter(map(normalize, context.train.flat_captions))
    assert counts[most_frequent(context.train.flat_captions)] == max(counts.values())


def test_psi_tells_classes_by_the_vectors_of_the_encoder(
    context: EvaluationContext, found: dict[str, Figure]
) -> None:
    """An image's class is right where no other class's captions are nearer to it."""
    test, vectors = context.test, context.embeddings["test"]
    owners = [int(one) for one, own in zip(test.class_ids, test.captions, strict=True) for _ in own]
    means = [vectors.psi[[o == one for o in owners]].mean(0) for one in range(4)]
    right = sum(
        max(range(4), key=lambda one: float(image @ means[one])) == int(class_id)
        for image, class_id in zip(vectors.image, test.class_ids, strict=True)
    )
    assert found["psi_test_images_class_first"].value == pytest.approx(right / 16)
    assert found["psi_shuffled_images_class_precision_at_50"].count == 4


def test_attributes_of_the_judge_are_counted_on_all_test_images(
    context: EvaluationContext, found: dict[str, Figure]
) -> None:
    seen = context.judge.assess(context.test.pixels).attributes
    right = sum(
        one["petal_colour"] == name
        for one, name in zip(seen, context.test.class_names, strict=True)
    )
    figure = found["judge_real_images_petal_colour"]
    assert (figure.value, figure.count) == (right / 16, 16)


def test_r_precision_of_pairs_is_told_for_each_strategy(
    context: EvaluationContext, pairs: Pairs, found: dict[str, Figure]
) -> None:
    judge = context.judge
    others = {normalize(own[0]): judge.caption_vectors(own[:1])[0] for own in context.test.captions}
    images, captions = judge.image_vectors(pairs.pixels), judge.caption_vectors(pairs.captions)
    right = {"text_density": 0, "image_density": 0}
    for i, strategy in enumerate(pairs.strategies):
        rivals = [one for words, one in others.items() if words != normalize(pairs.captions[i])]
        assert len(rivals) < 99, "so few that all are met"
        right[strategy] += all(float(images[i] @ (captions[i] - one)) > 0 for one in rivals)
    for strategy, count in right.items():
        assert found[f"pairs_{strategy}_r_precision"].value == pytest.approx(count / 6)


def test_each_strategy_stands_beside_its_floors_and_the_ceiling(found: dict[str, Figure]) -> None:
    for subject in ("", "_shuffled", "_shifted"):
        assert found[f"pairs_text_density{subject}_r_precision"].count == 6
    for subject in ("all", "shuffled", "shifted", "real_pairs"):
        assert found[f"pairs_{subject}_r_precision"].count == 12
    assert found["captions_shifted_person_bleu_1"].count == 12
    assert found["retrieval_pairs_shifted_text_to_image_recall_at_1"].count == 12


def test_without_attributes_nothing_is_said_of_them(
    context: EvaluationContext, pairs: Pairs
) -> None:
    plain = replace(context.test, attributes=None)
    torch.manual_seed(0)
    blind = replace(
        context,
        examples={**context.examples, "test": plain},
        judge=judges.build(plain, 32).eval(),
    )
    measures = {figure.measure for figure in quality_of(blind, pairs)}
    assert "petal_colour" not in measures
    assert "r_precision" in measures


def test_retrieval_stands_beside_shuffled_and_real(found: dict[str, Figure]) -> None:
    for subject in ("pairs", "pairs_shuffled", "drawn", "real_images"):
        for way in ("text_to_image", "image_to_text"):
            assert found[f"retrieval_{subject}_{way}_recall_at_5"].count == 12


def test_variety_is_measured_on_as_many_captions_of_each(found: dict[str, Figure]) -> None:
    assert {found[f"variety_{s}_self_bleu"].count for s in ("pairs", "train", "test")} == {12}
    assert found["variety_train_vocabulary_coverage"].value is not None


def test_images_drawn_again_do_not_depend_on_the_batch(context: EvaluationContext) -> None:
    drawn = draw_again(context)
    psi = context.mappings.psi(drawn.captions[3:4])
    alone = context.mappings.draw(psi, context.noise(12, "drawn")[3:4])
    assert (alone[0].int() - drawn.pixels[3].int()).abs().max() <= 1


# ---------------------------------------------------------------- the bench


@pytest.mark.parametrize(("total", "most", "wanted"), [(5, 9, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8])])
def test_spread_is_even_and_from_end_to_end(total: int, most: int, wanted: list[int]) -> None:
    assert evenly_spaced(total, most) == wanted


def test_pairs_are_read_back_from_the_shards(checkout: Path) -> None:
    folder, train = checkout / "data/synthetic", read_examples(checkout / "data/pictures", "train")
    pairs, digest = read_pairs(folder, 10, pictures=train.digest)
    table = pd.read_parquet(folder / "data")
    rows = evenly_spaced(64, 10)
    assert pairs.ids == table["pair_id"].iloc[rows].tolist()
    assert pairs.captions == table["caption"].iloc[rows].tolist()
    assert pairs.strategies == table["strategy"].iloc[rows].tolist()
    assert pairs.consistency == pytest.approx(table["consistency"].iloc[rows].tolist())
    assert pairs.pixels.shape == (10, 3, 32, 32)
    assert len(digest) == 16
    sheet, captions, columns, title = pairs_sheet(pairs, 2)
    assert len(sheet) == len(captions) <= 8
    assert columns == 2
    assert "pairs" in title


def test_neither_the_order_of_rows_nor_of_shards_counts(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same pairs backwards, in many shards, are read as the same pairs."""
    folder, train = checkout / "data/synthetic", read_examples(checkout / "data/pictures", "train")
    rows = read_rows(folder).to_pylist()[::-1]
    monkeypatch.setattr("pairsynth.artifacts.ROWS_PER_GROUP", 5)
    for i in range(7):
        write_pairs_shard(tmp_path, i, 7, rows[10 * i : 10 * i + 10])
    complete(tmp_path, facts_of(folder), Refusals())
    (one, digest), (other, other_digest) = (
        read_pairs(where, 20, pictures=train.digest) for where in (folder, tmp_path)
    )
    assert one.ids == other.ids
    assert one.captions == other.captions
    assert torch.equal(one.pixels, other.pixels)
    assert digest != other_digest


def test_pairs_of_other_images_are_refused(checkout: Path) -> None:
    other = read_examples(checkout / "data/pictures", "val")
    with pytest.raises(InputError, match="from another pictures; remake it: dvc repro --force"):
        read_pairs(checkout / "data/synthetic", 10, pictures=other.digest)


def test_shards_that_the_manifest_does_not_tell_of_are_refused(
    checkout: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "synthetic"
    shutil.copytree(checkout / "data/synthetic", folder)
    shard = next(folder.glob("data/*.parquet"))
    shard.write_bytes(shard.read_bytes() + b"0")
    with pytest.raises(InputError, match=r"is not the file that .* tells of; remake it: dvc"):
        read_pairs(folder, 10)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pairs_are_refused(checkout: Path, tmp_path: Path, count: int) -> None:
    folder = checkout / "data/synthetic"
    rows = read_rows(folder).slice(0, count).to_pylist()
    write_pairs(tmp_path, rows, 64, facts_of(folder))
    with pytest.raises(InputError, match=f"has {count} pairs, and 2 are needed; set"):
        read_pairs(tmp_path, 10)


def test_a_missing_dataset_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dvc repro synthesize"):
        read_pairs(tmp_path / "data/synthetic", 10)


def test_a_split_of_one_image_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = draw(1, 1)
    alone = Examples(
        ids=one.ids[:1],
        class_ids=one.class_ids[:1],
        class_names=one.class_names[:1],
        pixels=one.pixels[:1],
        captions=one.captions[:1],
        attributes=None,
    )
    monkeypatch.setattr("pairsynth.evaluation.context.read_examples", lambda *_: alone)
    with pytest.raises(InputError, match=r"train has 1 and needs 4, val has 1 and needs 2"):
        read_splits(checkout / "data/pictures", checkout / "data/embeddings", "")


def test_numbers_say_what_they_were_measured_on(checkout: Path) -> None:
    told = json.loads((checkout / "metrics/evaluate.json").read_text())
    for split in ("train", "val", "test"):
        digest = read_examples(checkout / "data/pictures", split).digest
        assert f"{split}:{digest}" in told["images_digest"]
    names = {JUDGE: "lite2", TEACHER: "lite0"}
    judges = [f"{names[one]}:{file_digest(weights(one))[:16]}" for one in names if installed(one)]
    assert told["judges_digest"].split() == judges
    assert told["pairs_digest"] == read_pairs(checkout / "data/synthetic", 2)[1]
    assert told["bleu_signature"].startswith("nrefs:")
    assert told["cycle_verdict"]
    assert told["use_verdict"]


def test_the_table_and_the_numbers_of_a_run_agree(checkout: Path) -> None:
    told = json.loads((checkout / "metrics/evaluate.json").read_text())
    rows = csv.DictReader(io.StringIO((checkout / "metrics/evaluate.csv").read_text()))
    for row in rows:
        value = told[f"{row['group']}_{row['subject']}_{row['measure']}"]
        assert (row["value"] == "") == (value is None)
        if value is not None:
            assert float(row["value"]) == pytest.approx(value, rel=1e-4, abs=1e-6)


# ---------------------------------------------------------------- cycles


def test_cosines_of_cycles_against_numpy(context: EvaluationContext) -> None:
    walks = list(cycle_consistency.image_cycle(context))
    rows = evenly_spaced(16, 8)
    pixels = context.test.pixels[rows]
    turns = context.mappings.image_cycle(pixels, context.noise(8, "image_cycle"))
    before = context.mappings.phi(pixels).flatten(1).numpy().astype(float)
    for number, (one, turn) in enumerate(zip(walks, turns, strict=False), start=1):
        after = turn.phi.flatten(1).numpy().astype(float)
        points = {point.measure: point for point in one.points}
        for name, middle in (("phi_cosine", 0), ("phi_cosine_centred", before.mean(0))):
            a, b = before - middle, after - middle
            a /= ((a**2).sum(1) ** 0.5)[:, None]
            b /= ((b**2).sum(1) ** 0.5)[:, None]
            assert points[name].turn == number
            assert points[name].value == pytest.approx((a * b).sum(1).mean(), abs=1e-5)
            other = (a[[*range(8)]] * b[[4, 5, 6, 7, 0, 1, 2, 3]]).sum(1).mean()
            assert points[name].shuffled == pytest.approx(other, abs=1e-5)
    assert len(walks) == 2


def test_words_kept_by_hand() -> None:
    before = ["a red flower with thin petals", "a blue flower with thin petals"]
    points = {p.measure: p for p in cycle_consistency._words_kept(WORDS, "text", 1, before, before)}
    assert points["bleu_4"].value == pytest.approx(100)
    for measure in ("petal_colour_kept", "colours_kept", "colours_f1"):
        assert points[measure].value == 1
        assert points[measure].shuffled == 0
    assert points["shapes_f1"].shuffled == 1


def test_words_of_image_cycles_are_compared_with_those_of_turn_one(
    context: EvaluationContext,
) -> None:
    one, two = cycle_consistency.image_cycle(context)
    assert not [point for point in one.points if point.measure == "bleu_4"]
    points = {point.measure: point for point in two.points}
    first = one.turn.captions
    assert points["bleu_4"].value == bleu(two.turn.captions, [[c] for c in first])["bleu_4"]
    told = [WORDS.said(caption).get("colours", set()) for caption in first]
    left = [WORDS.said(caption).get("colours", set()) for caption in two.turn.captions]
    if sum(map(len, told)):
        kept = sum(len(a & b) for a, b in zip(told, left, strict=True)) / sum(map(len, told))
        assert points["colours_kept"].value == pytest.approx(kept)


def test_the_rank_of_the_first_caption_against_sorting(context: EvaluationContext) -> None:
    *_, walk = cycle_consistency.text_cycle(context)
    rows = evenly_spaced(16, 8)
    captions = [context.test.captions[row][0] for row in rows]
    own = context.mappings.psi(captions).double()
    back = context.mappings.psi(walk.turn.captions).double()
    everyone = context.embeddings["test"].psi.double()
    ranks = []
    for i, caption in enumerate(captions):
        rivals = [
            float(back[i] @ psi)
            for psi, other in zip(everyone, context.test.flat_captions, strict=True)
            if normalize(other) != normalize(caption)
        ]
        ranks.append(1 + sum(rival >= float(back[i] @ own[i]) - 1e-6 for rival in rivals))
    point = next(p for p in walk.points if p.measure == "own_median_rank")
    assert point.value == sorted(ranks)[3]


def walked(gaps: list[float], start: str = "image") -> list[Walk]:
    nothing = Turn(captions=[], pixels=torch.zeros(0), phi=torch.zeros(0))
    shares = {"phi": 1.0, "pixel": 0.5, "psi": 1.0}
    return [
        Walk(
            start=start,
            turn=nothing,
            points=[
                CyclePoint(
                    start=start,
                    turn=turn,
                    measure=f"{name}_cosine{kind}",
                    value=gap * share,
                    shuffled=0.0,
                )
                for name, share in shares.items()
                for kind in ("", "_centred")
            ],
        )
        for turn, gap in enumerate(gaps, 1)
    ]


@pytest.mark.parametrize(
    ("gaps", "wanted"),
    [([0.8, 0.5, 0.4], 3), ([0.8, 0.41], None), ([0.0, 0.0], None), ([-0.1, -0.3], None)],
)
def test_half_life_by_hand(gaps: list[float], wanted: int | None) -> None:
    assert cycle_consistency.half_life(walked(gaps), "image", "phi") == wanted


@pytest.mark.parametrize(
    ("gaps", "words"),
    [
        ([0.99], ["stays close to 1", "and keeps more", "0.99 against 0.49"]),
        ([0.8, 0.6], ["after turn 2", "does not stay close to 1", "but keeps more"]),
        ([-0.1], ["no nearer than that of unrelated images"]),
    ],
)
def test_the_verdict_has_its_numbers(gaps: list[float], words: list[str]) -> None:
    told = cycle_consistency.verdict(walked(gaps))
    for word in words:
        assert word in told


def test_the_summary_names_turn_and_control(context: EvaluationContext) -> None:
    walks = list(cycle_consistency.walk(context))
    told = cycle_consistency.summary(walks)
    assert {f"cycle_image_turn_{turn}_phi_cosine_shuffled" for turn in (1, 2)} <= told.keys()
    assert "cycle_text_turn_2_psi_cosine" in told
    pixels, captions, columns, _ = cycle_consistency.cycles_sheet(context, walks)
    assert len(pixels) == len(captions) == 8 * columns
