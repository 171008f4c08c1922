"""Every figure recomputed apart from the code that made it, on tiny networks and real files."""

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from sacrebleu import corpus_bleu

from pairsynth import bench, cycling, evaluation, judges
from pairsynth.artifacts import Embeddings, Pictures
from pairsynth.bench import Bench, EvaluationConfig, Figure, Pairs
from pairsynth.encoders import JointEncoder
from pairsynth.errors import InputError
from pairsynth.mappings import Mappings
from pairsynth.metrics.captions import most_frequent
from pairsynth.metrics.novelty import COPY, NEW, NoveltyIndex
from pairsynth.text import normalize
from tests.conftest import draw

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scene(pictures: Pictures, val: Pictures, encoder: JointEncoder, mappings: Mappings) -> Bench:
    """Test pictures of their own, with an attribute known, and an untrained judge."""
    test = draw(3, 4)
    test = replace(
        test,
        attributes=[{"petal_colour": name} for name in test.class_names],
        captions=[[*own, f"this flower has {own[0]} petals"] for own in test.captions],
    )
    splits = {"train": pictures, "val": val, "test": test}
    vectors = {
        name: Embeddings(
            encoder.embed_images(one.pixels), encoder.embed_captions(one.flat_captions)
        )
        for name, one in splits.items()
    }
    torch.manual_seed(0)
    judge = judges.build(test, 32).eval()
    novelty = NoveltyIndex(pictures, vectors["train"].psi, val, 32)
    config = EvaluationConfig(12, 20, 8, 2, 1)
    return Bench(mappings, judge, splits, vectors, novelty, config, 5)


@pytest.fixture(scope="module")
def pairs(pictures: Pictures) -> Pairs:
    """Six copies and six of other pictures, of two strategies."""
    other = draw(9, 3)
    pixels = torch.cat([pictures.pixels[:6], other.pixels[:6]])
    captions = [own[0] for own in (*pictures.captions[:6], *other.captions[:6])]
    strategies = ["text_density", "image_density"] * 6
    return Pairs(captions, pixels, strategies, [COPY] * 6 + [NEW] * 6)


@pytest.fixture(scope="module")
def found(scene: Bench, pairs: Pairs) -> dict[str, Figure]:
    return {
        f.key: f
        for group in evaluation.evaluate(scene, bench.draw_again(scene), pairs)
        for f in group
    }


def test_keys_are_flat_and_unique(scene: Bench, pairs: Pairs) -> None:
    figures = [
        f for group in evaluation.evaluate(scene, bench.draw_again(scene), pairs) for f in group
    ]
    assert len({f.key for f in figures}) == len(figures)
    told = json.loads(json.dumps(bench.figures(figures)))
    assert all(isinstance(v, float | int | None) for v in told.values())


def test_bleu_of_the_captioner_is_that_of_its_captions(
    scene: Bench, found: dict[str, Figure]
) -> None:
    rows = bench.spread(16, 12)
    phi = scene.mappings.phi(scene.test.pixels[rows])
    written = [normalize(caption) for caption in scene.mappings.describe(phi)]
    own = [[normalize(c) for c in scene.test.captions[row]] for row in rows]
    most = max(map(len, own))
    streams = [[o[i] if i < len(o) else None for o in own] for i in range(most)]
    wanted = corpus_bleu(written, streams, tokenize="none", smooth_method="none")
    assert found["captions_captioner_bleu_4_all_references"].value == pytest.approx(wanted.score)
    assert found["captions_captioner_bleu_4_all_references"].count == 12


def test_a_persons_caption_is_measured_against_the_others(found: dict[str, Figure]) -> None:
    """The tiny captions of a picture differ in their words: no person repeats another."""
    value = found["captions_person_bleu_1"].value
    assert value is not None
    assert 0 < value < 100
    assert found["captions_most_frequent_bleu_1"].value is not None


def test_most_frequent_is_of_the_train_captions(scene: Bench) -> None:
    counts = Counter(map(normalize, scene.train.flat_captions))
    assert counts[most_frequent(scene.train.flat_captions)] == max(counts.values())


def test_attributes_of_the_judge_are_counted_on_all_test_pictures(
    scene: Bench, found: dict[str, Figure]
) -> None:
    seen = scene.judge.attributes_seen(scene.test.pixels)
    right = sum(
        one["petal_colour"] == name for one, name in zip(seen, scene.test.class_names, strict=True)
    )
    figure = found["judge_real_pictures_petal_colour"]
    assert (figure.value, figure.count) == (right / 16, 16)


def test_r_precision_of_pairs_is_told_for_each_strategy(
    scene: Bench, pairs: Pairs, found: dict[str, Figure]
) -> None:
    judge = scene.judge
    others = judge.caption_vectors([own[0] for own in scene.test.captions])
    images, captions = judge.image_vectors(pairs.pixels), judge.caption_vectors(pairs.captions)
    right = {"text_density": 0, "image_density": 0}
    for strategy in right:
        rows = [i for i, one in enumerate(pairs.strategies) if one == strategy]
        for place, i in enumerate(rows):
            rivals = others[[(99 * place + j) % len(others) for j in range(99)]]
            right[strategy] += bool((images[i] @ captions[i] > rivals @ images[i]).all())
        assert found[f"pairs_{strategy}_r_precision"].value == pytest.approx(right[strategy] / 6)


def test_novelty_counts_what_the_rows_say(found: dict[str, Figure]) -> None:
    assert found["novelty_pairs_copy"].value == 0.5
    assert found["novelty_pairs_all_new"].value == 0.5
    assert found["novelty_pairs_recombination"].value == 0


def test_planted_mirrored_copies_are_found(found: dict[str, Figure]) -> None:
    figure = found["novelty_planted_mirrored_copies_found"]
    assert (figure.value, figure.count) == (1.0, 2)


def test_without_attributes_nothing_is_said_of_them(scene: Bench, pairs: Pairs) -> None:
    plain = replace(scene.test, attributes=None)
    torch.manual_seed(0)
    blind = replace(
        scene,
        pictures={**scene.pictures, "test": plain},
        judge=judges.build(plain, 32).eval(),
    )
    measures = {
        f.measure
        for group in evaluation.evaluate(blind, bench.draw_again(blind), pairs)
        for f in group
    }
    assert "petal_colour" not in measures
    assert "r_precision" in measures


def test_copied_runs_of_copied_pairs_are_whole_captions(scene: Bench, pairs: Pairs) -> None:
    """The tiny captions are all of one grammar; those of the copies are in train word for word."""
    copies = replace(pairs, captions=[own[0] for own in scene.train.captions[:12]])
    told = {f.key: f.value for f in evaluation.copied(scene, copies)}
    words = [len(normalize(caption).split()) for caption in copies.captions]
    assert told["novelty_pairs_longest_copied_words"] == pytest.approx(sum(words) / 12)
    long = sum(count >= 4 for count in words) / 12
    assert told["novelty_pairs_closest_bleu"] == pytest.approx(long, abs=1e-6)


def test_retrieval_stands_beside_shuffled_and_real(found: dict[str, Figure]) -> None:
    for subject in ("pairs", "pairs_shuffled", "drawn", "real_pictures"):
        for way in ("text_to_image", "image_to_text"):
            assert found[f"retrieval_{subject}_{way}_recall_at_5"].count == 12


def test_variety_is_measured_on_as_many_captions_of_each(found: dict[str, Figure]) -> None:
    assert {found[f"variety_{s}_self_bleu"].count for s in ("pairs", "train", "test")} == {12}
    assert found["variety_train_vocabulary_coverage"].value is not None


def test_pictures_drawn_again_do_not_depend_on_the_batch(scene: Bench) -> None:
    drawn = bench.draw_again(scene)
    psi = scene.mappings.psi(drawn.captions[3:4])
    alone = scene.mappings.draw(psi, scene.noise(12, "drawn")[3:4])
    assert (alone[0].int() - drawn.pixels[3].int()).abs().max() <= 1


# ---------------------------------------------------------------- the bench


@pytest.mark.parametrize(("total", "most", "wanted"), [(5, 9, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8])])
def test_spread_is_even_and_from_end_to_end(total: int, most: int, wanted: list[int]) -> None:
    assert bench.spread(total, most) == wanted


def test_pairs_are_read_back_from_the_shards(checkout: Path) -> None:
    pairs = bench.read_pairs(checkout / "data/synthetic", 10)
    table = pd.read_parquet(sorted((checkout / "data/synthetic").glob("*.parquet")))
    rows = bench.spread(64, 10)
    assert pairs.captions == table["caption"].iloc[rows].tolist()
    assert pairs.strategies == table["strategy"].iloc[rows].tolist()
    assert pairs.pixels.shape == (10, 3, 32, 32)
    sheet, captions, columns, title = bench.gallery(pairs, 2)
    assert len(sheet) == len(captions) <= 8
    assert columns == 2
    assert "pairs" in title


def test_a_missing_dataset_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dvc repro synthesize"):
        bench.read_pairs(tmp_path / "data/synthetic", 10)


def test_the_table_and_the_numbers_of_a_run_agree(checkout: Path) -> None:
    told = json.loads((checkout / "metrics/evaluate.json").read_text())
    rows = csv.DictReader(io.StringIO((checkout / "metrics/evaluate.csv").read_text()))
    for row in rows:
        value = told[f"{row['group']}_{row['subject']}_{row['measure']}"]
        assert (row["value"] == "") == (value is None)
        if value is not None:
            assert float(row["value"]) == pytest.approx(value, rel=1e-4, abs=1e-6)


# ---------------------------------------------------------------- cycles


def test_cosines_of_cycles_against_numpy(scene: Bench) -> None:
    walks = list(cycling.image_cycle(scene))
    rows = bench.spread(16, 8)
    pixels = scene.test.pixels[rows]
    turns = scene.mappings.image_cycle(pixels, scene.noise(8, "image_cycle"))
    before = scene.mappings.phi(pixels).flatten(1).numpy().astype(float)
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


def test_words_kept_by_hand(scene: Bench) -> None:
    before = ["a red flower with thin petals", "a blue flower with thin petals"]
    points = {p.measure: p for p in cycling._words_kept(1, before, before)}
    assert points["bleu_4"].value == pytest.approx(100)
    assert points["petal_colour_kept"].value == 1
    assert points["petal_colour_kept"].shuffled == 0


def test_the_figures_name_turn_and_control(scene: Bench) -> None:
    walks = list(cycling.walk(scene))
    told = cycling.figures(walks)
    assert {f"cycle_image_turn_{turn}_phi_cosine_shuffled" for turn in (1, 2)} <= told.keys()
    assert "cycle_text_turn_2_psi_cosine" in told
    pixels, captions, columns, _ = cycling.gallery(scene, walks)
    assert len(pixels) == len(captions) == 8 * columns
