"""Kinds of novelty are those of the rows; planted copies are found; copies move global scores."""

from dataclasses import replace

import pytest
import torch

from pairsynth.evaluation import made, novelty, per_pair, table
from pairsynth.evaluation.context import EvaluationContext, Figure, Pairs
from pairsynth.evaluation.novelty import PLANTS, as_jpeg, translated
from pairsynth.metrics.novelty import COPY, NEW
from pairsynth.text import normalize


@pytest.fixture(scope="module")
def found(context: EvaluationContext, pairs: Pairs) -> dict[str, Figure]:
    ours = made.look_at(context, pairs)
    return {f.key: f for part in table.parts(novelty.MEASURES) for f in part(context, ours)}


def test_kinds_are_counted(
    context: EvaluationContext, pairs: Pairs, found: dict[str, Figure]
) -> None:
    kinds = [row.novelty for row in per_pair.rows(context, pairs)]
    assert kinds[:6] == [COPY] * 6
    assert found["novelty_pairs_copy"].value == kinds.count(COPY) / 12
    assert found["novelty_pairs_all_new"].value == kinds.count(NEW) / 12


def test_copies_of_the_training_set_are_the_other_end(found: dict[str, Figure]) -> None:
    assert found["novelty_training_copies_copy"].value == 1
    assert found["novelty_training_copies_caption_seen"].value == 1


def test_held_out_captions_seen_word_for_word_are_counted_over_all_of_them(
    context: EvaluationContext, found: dict[str, Figure]
) -> None:
    known = {normalize(caption) for caption in context.train.flat_captions}
    seen = [normalize(caption) in known for caption in context.test.flat_captions]
    figure = found["novelty_real_held_out_caption_seen"]
    assert figure.value == pytest.approx(sum(seen) / len(seen))
    assert figure.count == len(seen)


def test_planted_copies_are_found_at_every_share(found: dict[str, Figure]) -> None:
    for share, count in (("1", 1), ("5", 1), ("100", 16)):
        for plant in ("exact", "mirrored"):
            for detector in ("distance", "ratio", "seen"):
                figure = found[f"novelty_planted_{share}_{plant}_found_by_{detector}"]
                assert (figure.value, figure.count) == (1, count)
        assert f"novelty_planted_{share}_jpeg_found_by_judge" in found
        assert f"novelty_planted_{share}_shifted_found_by_hash" in found


def test_false_alarms_are_of_the_real_images_left(found: dict[str, Figure]) -> None:
    assert found["novelty_planted_1_seen_false_alarms"].count == 15
    figure = found["novelty_planted_100_seen_false_alarms"]
    assert (figure.value, figure.count) == (None, 0)
    assert found["novelty_real_held_out_seen_alarms"].count == 16


def test_copies_move_the_global_scores_only_where_there_are_many(found: dict[str, Figure]) -> None:
    real, few, all_copies = (
        found[f"novelty_{subject}_data_copying"].value
        for subject in ("real_held_out", "planted_5", "planted_100")
    )
    assert real is not None
    assert few is not None
    assert all_copies is not None
    assert all_copies < few <= real
    assert found["novelty_planted_100_nearer_to_train"].value == 1
    assert found["novelty_planted_100_authenticity"].value == 0


def test_copied_runs_are_means_over_rows(
    context: EvaluationContext, pairs: Pairs, found: dict[str, Figure]
) -> None:
    rows = per_pair.rows(context, pairs)
    wanted = sum(row.longest_copied for row in rows) / 12
    assert found["novelty_pairs_longest_copied_words"].value == pytest.approx(wanted)
    copies = replace(pairs, captions=[own[0] for own in context.train.captions[:12]])
    told = {f.key: f.value for f in novelty.copied(context, made.look_at(context, copies))}
    words = [len(normalize(caption).split()) for caption in copies.captions]
    assert told["novelty_pairs_longest_copied_words"] == pytest.approx(sum(words) / 12)
    long = sum(count >= 4 for count in words) / 12
    assert told["novelty_pairs_closest_bleu"] == pytest.approx(long, abs=1e-6)


def test_plants_change_what_they_say(context: EvaluationContext) -> None:
    pixels = context.train.pixels[:4]
    for plant in PLANTS.values():
        assert plant(pixels).shape == pixels.shape
        assert plant(pixels).dtype == torch.uint8
    assert torch.equal(translated(pixels)[..., 1:, 1:], pixels[..., :-1, :-1])
    assert torch.equal(translated(pixels)[..., 0, 1:], pixels[..., 0, :-1])
    error = (as_jpeg(pixels).float() - pixels.float()).abs().mean()
    assert 0 < float(error) < 20
