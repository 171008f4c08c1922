"""Novel pairs: every strategy well formed, pair i always pair i, the best of its candidates."""

import functools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

from pairsynth import latents, seeds, synthesis
from pairsynth.captioner import MAX_WORDS
from pairsynth.dataset import PAIRS, REFUSED, SHOWN_OF_EACH, Refusals
from pairsynth.errors import InputError
from pairsynth.examples import Examples
from pairsynth.filters import FILTERS, Thresholds
from pairsynth.image_files import decode
from pairsynth.images import to_network, to_tensor
from pairsynth.latents import CLASSES, FILLING, STRATEGIES, Latent, SynthesisInputs, fillable
from pairsynth.mappings import Mappings
from pairsynth.metrics.novelty import (
    COPY,
    KINDS,
    NEW,
    NEW_CAPTION,
    NEW_IMAGE,
    RECOMBINATION,
    Novelty,
)
from pairsynth.metrics.wording import Standard, Surprise
from pairsynth.synthesis import BLOCK, DUPLICATE, Pair, synthesize
from tests.rows import write_pairs_shard


def only(inputs: SynthesisInputs, strategy: str, **changes: object) -> SynthesisInputs:
    shares = {name: float(name == strategy) for name in STRATEGIES}
    return replace(inputs, config=replace(inputs.config, **{**shares, **changes}))  # type: ignore


def drawn(inputs: SynthesisInputs, strategy: str, rng: np.random.Generator) -> Latent:
    """A latent with its vector."""
    return latents.settle(inputs, [STRATEGIES[strategy](inputs, rng)])[0]


def told(pair: Pair) -> tuple[object, ...]:
    """All of a pair that can be compared."""
    latent = pair.latent
    return (
        *(pair.number, pair.strategy, pair.caption, pair.consistency, pair.novelty),
        *(latent.sources, latent.share, latent.component, latent.class_id),
        *(pair.pixels.numpy().tobytes(), latent.vector.numpy().tobytes()),
    )


@pytest.fixture(scope="module")
def seventy(inputs: SynthesisInputs) -> list[Pair]:
    """Seventy pairs of all strategies: more than one block."""
    assert BLOCK < 70
    return list(synthesize(inputs))


# ---------------------------------------------------------------- latents


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_latents_are_well_formed(inputs: SynthesisInputs, strategy: str, classes: str) -> None:
    inputs = only(inputs, strategy, classes=classes)
    channels = inputs.mappings.gan.discriminator.phi_channels
    for number in range(12):
        latent = drawn(inputs, strategy, seeds.stream(1, number))
        assert latent.vector.dtype == torch.float32
        assert bool(latent.vector.isfinite().all())
        if strategy.startswith("text"):
            assert latent.vector.shape == (8,)
            assert latent.vector.norm().item() == pytest.approx(1, abs=1e-5)
        else:
            assert latent.vector.shape == (channels, 4, 4)
        if strategy.endswith("prototype"):
            assert len(set(latent.sources)) == 2
            assert latent.component is None
            assert latent.share is not None
            assert 0.1 <= latent.share <= 0.9
        else:
            assert latent.sources == []
            assert latent.share is None
            assert latent.class_id is None
            over = "psi" if strategy.startswith("text") else "phi"
            assert latent.component in range(len(inputs.mixtures[over].weights))


def rows_of(inputs: SynthesisInputs, latent: Latent) -> list[int]:
    return [inputs.examples.ids.index(source.split("#")[0]) for source in latent.sources]


@pytest.mark.parametrize("strategy", ["text_prototype", "image_prototype"])
def test_classes_of_prototypes(inputs: SynthesisInputs, strategy: str) -> None:
    class_ids = inputs.examples.class_ids
    seen = {}
    for classes in CLASSES:
        chosen = only(inputs, strategy, classes=classes)
        same = []
        for number in range(60):
            latent = STRATEGIES[strategy](chosen, seeds.stream(2, number))
            left, right = rows_of(inputs, latent)
            assert left != right
            same.append(bool(class_ids[left] == class_ids[right]))
            assert latent.class_id == (int(class_ids[left]) if same[-1] else None)
        seen[classes] = sum(same)
    assert seen["same"] == 60
    assert seen["other"] == 0
    assert 0 < seen["any"] < 40


def test_partners_of_the_same_class_are_drawn_evenly(inputs: SynthesisInputs) -> None:
    chosen = only(inputs, "image_prototype", classes="same")
    pairs = Counter(
        tuple(latents._two_images(chosen, seeds.stream(3, number))) for number in range(6000)
    )
    assert len(pairs) == 4 * 6 * 5
    assert all(20 < count < 90 for count in pairs.values())


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("kind", ["one class", "unknown", "all alone"])
def test_classes_fall_back_where_they_cannot_be_had(
    inputs: SynthesisInputs, classes: str, kind: str
) -> None:
    ids = {
        "one class": torch.zeros(24, dtype=torch.long),
        "unknown": torch.full((24,), -1),
        "all alone": torch.arange(24),
    }
    chosen = only(inputs, "text_prototype", classes=classes)
    chosen = replace(chosen, examples=replace(inputs.examples, class_ids=ids[kind]))
    for number in range(10):
        latent = STRATEGIES["text_prototype"](chosen, seeds.stream(1, number))
        left, right = rows_of(chosen, latent)
        assert left != right
        assert latent.class_id == (0 if kind == "one class" else None)


def test_a_text_prototype_lies_where_its_sources_say(inputs: SynthesisInputs) -> None:
    first = inputs.examples.first_caption
    for number in range(20):
        latent = STRATEGIES["text_prototype"](inputs, seeds.stream(5, number))
        places = []
        for source in latent.sources:
            image_id, caption = source.split("#")
            row = inputs.examples.ids.index(image_id)
            assert int(caption) < len(inputs.examples.captions[row])
            places.append(int(first[row]) + int(caption))
        left, right = inputs.embeddings.psi[places]
        assert latent.share is not None
        wanted = F.normalize(latent.share * left + (1 - latent.share) * right, dim=0)
        assert torch.allclose(latent.vector, wanted, atol=1e-5)


def test_an_image_prototype_lies_where_its_sources_say(inputs: SynthesisInputs) -> None:
    for number in range(10):
        latent = drawn(inputs, "image_prototype", seeds.stream(5, number))
        pixels = inputs.examples.pixels[rows_of(inputs, latent)]
        left, right = inputs.mappings.gan.discriminator.phi(to_network(pixels))
        assert latent.share is not None
        wanted = latent.share * left + (1 - latent.share) * right
        assert torch.allclose(latent.vector, wanted, atol=1e-5)


def test_many_image_prototypes_are_settled_at_once_as_one_by_one(inputs: SynthesisInputs) -> None:
    rngs = [seeds.stream(5, number) for number in range(12)]
    some = [list(STRATEGIES)[i % 4] for i in range(12)]
    begun = [STRATEGIES[name](inputs, rng) for name, rng in zip(some, rngs, strict=True)]
    together = latents.settle(inputs, begun)
    for one, alone in zip(together, begun, strict=True):
        [wanted] = latents.settle(inputs, [alone])
        assert one.sources == alone.sources
        assert torch.allclose(one.vector, wanted.vector, atol=1e-5)


# ---------------------------------------------------------------- rare classes


@pytest.fixture(scope="module")
def uneven(inputs: SynthesisInputs) -> SynthesisInputs:
    """Classes of 17, 4, 2 and 1 images."""
    class_ids = torch.tensor([0] * 17 + [1] * 4 + [2] * 2 + [3])
    return replace(inputs, examples=replace(inputs.examples, class_ids=class_ids))


@pytest.mark.parametrize(("balance", "first"), [(0.0, 1 / 24), (0.5, 0.1171), (1.0, 0.25)])
def test_balance_draws_rare_classes_more_often(
    uneven: SynthesisInputs, balance: float, first: float
) -> None:
    """The share of the class of one image: as the weights say, 1 / size^balance an image."""
    chosen = replace(uneven, config=replace(uneven.config, balance=balance))
    if balance == 0.5:
        assert first == pytest.approx(1 / sum(n**0.5 for n in (17, 4, 2, 1)), abs=1e-3)
    found = [latents._first_image(chosen, seeds.stream(4, i)) for i in range(4000)]
    assert set(found) == set(range(24))
    assert np.mean([row == 23 for row in found]) == pytest.approx(first, abs=0.02)


def test_pairs_that_fill_classes_are_of_two_images_of_the_class(uneven: SynthesisInputs) -> None:
    """Class by class in turn, and only those in which there is something between."""
    class_ids = uneven.examples.class_ids
    assert fillable(class_ids.tolist()) == [0, 1, 2]
    assert fillable([-1, -1, 5]) == []
    for i in range(30):
        one = synthesis.draft(uneven, FILLING + i)
        assert one.strategy.endswith("prototype")
        assert one.latent.class_id == i % 3
        assert {int(class_ids[row]) for row in rows_of(uneven, one.latent)} == {i % 3}
        assert len(set(rows_of(uneven, one.latent))) == 2


def test_the_margin_bounds_lambda(inputs: SynthesisInputs) -> None:
    half = only(inputs, "text_prototype", margin=0.5)
    assert STRATEGIES["text_prototype"](half, seeds.stream(0, 1)).share == 0.5
    wide = only(inputs, "text_prototype", margin=0.0)
    shares = [STRATEGIES["text_prototype"](wide, seeds.stream(0, i)).share for i in range(200)]
    assert min(s for s in shares if s is not None) < 0.05
    assert max(s for s in shares if s is not None) > 0.95


# ---------------------------------------------------------------- pairs


def test_pair_i_is_pair_i_however_many_are_asked_for(
    inputs: SynthesisInputs, seventy: list[Pair]
) -> None:
    assert [pair.number for pair in seventy] == list(range(70))
    three = list(synthesize(inputs, numbers=range(3)))
    assert [told(pair) for pair in three] == [told(pair) for pair in seventy[:3]]
    more = list(synthesize(replace(inputs, config=replace(inputs.config, pairs=65))))
    assert [told(pair) for pair in more] == [told(pair) for pair in seventy[:65]]
    second = list(synthesize(inputs, numbers=range(BLOCK, 70)))
    assert [told(pair) for pair in second] == [told(pair) for pair in seventy[BLOCK:]]


def test_another_seed_makes_other_pairs(inputs: SynthesisInputs, seventy: list[Pair]) -> None:
    other = list(synthesize(replace(inputs, seed=8, config=replace(inputs.config, pairs=64))))
    assert not any(told(a) == told(b) for a, b in zip(other, seventy, strict=False))


def test_pairs_are_well_formed(inputs: SynthesisInputs, seventy: list[Pair]) -> None:
    for pair in seventy:
        assert pair.pixels.shape == (3, 32, 32)
        assert pair.pixels.dtype == torch.uint8
        assert pair.caption
        assert -1 <= pair.consistency <= 1
        assert pair.novelty.kind in KINDS
    assert {pair.strategy for pair in seventy} == set(STRATEGIES)


def test_consistency_is_that_of_the_finished_pair(
    inputs: SynthesisInputs, seventy: list[Pair]
) -> None:
    encoder = inputs.mappings.encoder
    psi = encoder.embed_captions([pair.caption for pair in seventy])
    joint = encoder.embed_images(torch.stack([pair.pixels for pair in seventy]))
    stated = torch.tensor([pair.consistency for pair in seventy])
    assert torch.allclose(stated, (psi * joint).sum(1), atol=1e-5)


def test_images_of_the_image_strategies_are_drawn_from_their_caption(
    inputs: SynthesisInputs, seventy: list[Pair]
) -> None:
    for pair in [pair for pair in seventy if pair.strategy.startswith("image")][:5]:
        noise = synthesis.draft(inputs, pair.number).noise
        psi = inputs.mappings.psi([pair.caption]).expand(len(noise), -1)
        drawn = inputs.mappings.draw(psi, noise).int()
        assert int((drawn - pair.pixels.int()).abs().amax((1, 2, 3)).min()) <= 1


def asking(inputs: SynthesisInputs, consistency: float) -> SynthesisInputs:
    """Inputs by which so consistent a pair agrees as well as real ones do."""
    return replace(inputs, standard=replace(inputs.standard, consistency=consistency))


def captions_and_scores(inputs: SynthesisInputs, number: int) -> tuple[list[str], list[float]]:
    """The slow way: every candidate of one pair by itself, its own noise and its own draws."""
    mappings: Mappings = inputs.mappings
    one = synthesis.draft(inputs, number)
    assert one.noise.shape == (5, 6)
    assert one.draws.shape == (5, MAX_WORDS)
    [latent] = latents.settle(inputs, [one.latent])
    captions, scores = [], []
    for noise, draws in zip(one.noise.split(1), one.draws.split(1), strict=True):
        if one.strategy.startswith("text"):
            pixels = mappings.draw(latent.vector[None], noise)
            captions += mappings.describe_freely(mappings.phi(pixels), draws)
        else:
            captions += mappings.describe_freely(latent.vector[None], draws)
            pixels = mappings.draw(mappings.psi(captions[-1:]), noise)
        scores.append(float(mappings.consistency(captions[-1:], pixels)))
    assert len(set(scores)) > 1
    return captions, scores


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_most_consistent_is_kept_where_none_agrees_as_real_pairs_do(
    inputs: SynthesisInputs, strategy: str
) -> None:
    inputs = asking(only(inputs, strategy, pairs=3, candidates=5), 2.0)
    for pair in synthesize(inputs):
        _, scores = captions_and_scores(inputs, pair.number)
        assert pair.consistency == pytest.approx(max(scores), abs=1e-3)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_of_those_that_agree_the_words_as_rare_as_a_persons_are_kept(
    inputs: SynthesisInputs, strategy: str
) -> None:
    inputs = asking(only(inputs, strategy, pairs=3, candidates=5), -2.0)
    for pair in synthesize(inputs):
        captions, _ = captions_and_scores(inputs, pair.number)
        wanted = synthesis.draft(inputs, pair.number).surprise
        off = [abs(inputs.standard.surprise(caption) - wanted) for caption in captions]
        assert abs(inputs.standard.surprise(pair.caption) - wanted) == pytest.approx(min(off))


def test_more_candidates_agree_better(inputs: SynthesisInputs) -> None:
    inputs = asking(only(inputs, "text_density", pairs=64), 2.0)
    one, many = (
        [p.consistency for p in synthesize(only(inputs, "text_density", pairs=64, candidates=n))]
        for n in (1, 6)
    )
    assert np.mean(many) > np.mean(one)


def test_words_are_asked_to_be_as_rare_as_those_of_real_captions(inputs: SynthesisInputs) -> None:
    wanted = [synthesis.draft(inputs, number).surprise for number in range(300)]
    assert set(wanted) == set(inputs.standard.surprises)
    assert len(set(wanted)) > 2


def test_shares_of_strategies_are_respected(inputs: SynthesisInputs) -> None:
    shares: dict[str, Any] = dict.fromkeys(STRATEGIES, 0.0)
    shares |= {"text_prototype": 3.0, "text_density": 1.0}
    uneven = replace(inputs, config=replace(inputs.config, **shares))
    counts = Counter(synthesis.draft(uneven, number).strategy for number in range(400))
    assert set(counts) == {"text_prototype", "text_density"}
    assert 260 < counts["text_prototype"] < 340


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_strategy_alone_makes_a_whole_dataset(inputs: SynthesisInputs, strategy: str) -> None:
    pairs = list(synthesize(only(inputs, strategy, pairs=5)))
    assert [pair.strategy for pair in pairs] == [strategy] * 5


def test_no_pairs_are_no_pairs(inputs: SynthesisInputs) -> None:
    assert list(synthesize(replace(inputs, config=replace(inputs.config, pairs=0)))) == []


def test_nothing_lies_between_one_image(inputs: SynthesisInputs) -> None:
    examples = inputs.examples
    alone = Examples(
        ids=examples.ids[:1],
        class_ids=examples.class_ids[:1],
        class_names=examples.class_names[:1],
        pixels=examples.pixels[:1],
        captions=examples.captions[:1],
        attributes=None,
    )
    with pytest.raises(InputError, match="fewer than two train images"):
        replace(inputs, examples=alone)


# ---------------------------------------------------------------- what is refused


def held_to(consistency: float) -> Standard:
    """A standard of people who write "a red flower", and nothing else."""
    surprise = Surprise(["a red flower"] * 9)
    return Standard(consistency=consistency, surprises=[0.0], surprise=surprise)


def candidate(pair: Pair, kind: str, consistency: float) -> Pair:
    return replace(pair, consistency=consistency, novelty=replace(pair.novelty, kind=kind))


@pytest.mark.parametrize(
    ("kinds", "scores", "kept", "reasons"),
    [
        ([NEW, NEW, NEW], [0.1, 0.5, 0.3], 1, ["less consistent", "less consistent"]),
        ([NEW, COPY, NEW], [0.1, 0.5, 0.3], 2, ["less consistent", "copy"]),
        ([NEW_CAPTION, RECOMBINATION], [0.1, 0.5], 0, ["recombination"]),
        ([NEW_IMAGE, COPY], [0.5, 0.1], 0, ["copy"]),
        ([COPY, RECOMBINATION], [0.1, 0.5], None, ["copy", "recombination"]),
        ([NEW, NEW], [0.5, 0.5], 0, ["less consistent"]),
        ([NEW], [0.5], 0, []),
        ([NEW_IMAGE, NEW, NEW_CAPTION], [0.9, 0.1, 0.5], 1, ["less new", "less new"]),
        ([NEW_IMAGE, NEW_CAPTION], [0.1, 0.5], 1, ["less consistent"]),
    ],
)
def test_the_most_consistent_of_the_new_is_kept(
    seventy: list[Pair], kinds: list[str], scores: list[float], kept: int | None, reasons: list[str]
) -> None:
    tried = [candidate(seventy[0], *one) for one in zip(kinds, scores, strict=True)]
    choice = synthesis.choose(tried, held_to(2.0), 0.0)
    assert choice.kept is (None if kept is None else tried[kept])
    assert [reason for _, reason, _ in choice.reasons()] == reasons
    assert all(why for _, _, why in choice.reasons())


@pytest.mark.parametrize(
    ("scores", "surprise", "kept", "reasons"),
    [
        ([0.6, 0.7, 0.5], 0.0, 0, ["less apt words", "less apt words"]),
        ([0.6, 0.7, 0.5], 99.0, 2, ["less apt words", "less apt words"]),
        ([0.6, 0.7, 0.4], 99.0, 1, ["less apt words", "less consistent"]),
        ([0.4, 0.7, 0.5], 0.0, 1, ["less consistent", "less apt words"]),
        ([0.4, 0.3, 0.2], 99.0, 0, ["less consistent", "less consistent"]),
    ],
)
def test_of_the_new_that_agree_the_words_as_rare_as_asked_for_are_kept(
    seventy: list[Pair], scores: list[float], surprise: float, kept: int, reasons: list[str]
) -> None:
    """Rarer and rarer words; from a consistency of 0.5 on pairs agree as real ones do."""
    captions = ["a red flower", "a red orchid", "thrice mottled orchid"]
    tried = [
        replace(candidate(seventy[0], NEW, score), caption=caption)
        for caption, score in zip(captions, scores, strict=True)
    ]
    choice = synthesis.choose(tried, held_to(0.5), surprise)
    assert choice.kept is tried[kept]
    assert [reason for _, reason, _ in choice.reasons()] == reasons


def test_a_refusal_says_why(seventy: list[Pair]) -> None:
    def told(bar: float, *kinds: tuple[str, float]) -> list[str]:
        tried = [candidate(seventy[0], *kind) for kind in kinds]
        return [why for *_, why in synthesis.choose(tried, held_to(bar), 0.0).reasons()]

    copy = f"copy of {seventy[0].novelty.nearest_image} and its caption"
    tried = [(NEW, 0.52), (NEW, 0.31), (COPY, 0.9)]
    assert told(0.6, *tried) == ["less consistent than asked for: 0.310 < 0.520", copy]
    assert told(0.4, *tried) == ["less consistent than asked for: 0.310 < 0.400", copy]
    words = "words too plain or too rare beside those of the one kept"
    assert told(0.3, *tried) == [words, copy]
    assert told(2.0, (NEW, 0.1), (NEW_IMAGE, 0.9)) == [
        "new image, seen caption; of the one kept both are new"
    ]


def test_every_candidate_is_kept_or_refused(inputs: SynthesisInputs, seventy: list[Pair]) -> None:
    refusals = Refusals()
    again = list(synthesize(inputs, refusals))
    assert [told(pair) for pair in again] == [told(pair) for pair in seventy]
    assert len(again) + refusals.left_out == 70
    assert len(again) + refusals.counts.total() == 70 * inputs.config.candidates
    assert len(refusals.rows) == sum(min(n, SHOWN_OF_EACH) for n in refusals.counts.values())
    assert all(list(row) == REFUSED.names for row in refusals.rows)
    pa.Table.from_pylist(refusals.rows, schema=REFUSED)


def test_a_pair_that_is_only_copies_is_left_out(
    inputs: SynthesisInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some images are called copies: the other pairs stay as they were, each by its number."""
    judge = inputs.novelty.judge

    def odd(pixels: torch.Tensor) -> bool:
        return bool(pixels.int().sum() % 2)

    def harsh(pixels: torch.Tensor, captions: list[str], psi: torch.Tensor) -> list[Novelty]:
        found = judge(pixels, captions, psi)
        return [
            replace(new, kind=COPY if odd(image) else NEW)
            for new, image in zip(found, pixels, strict=True)
        ]

    one = replace(inputs, config=replace(inputs.config, candidates=1))
    before, refusals = list(synthesize(one)), Refusals()
    monkeypatch.setattr(inputs.novelty, "judge", harsh)
    wanted = [pair.number for pair in before if not odd(pair.pixels)]
    assert 10 < len(wanted) < 60
    assert [pair.number for pair in synthesize(one, refusals)] == wanted
    assert refusals.counts == {COPY: 70 - len(wanted)}
    assert refusals.left_out == 70 - len(wanted)


def test_a_candidate_that_a_filter_refuses_is_not_chosen(seventy: list[Pair]) -> None:
    fault = ("flat image", "flat image: 0.3 grey levels, less than 4")
    sound, odd = (candidate(seventy[0], NEW, score) for score in (0.1, 0.9))
    odd = replace(odd, fault=fault)
    choice = synthesis.screen([odd, sound], held_to(0.5), 5.0)
    assert choice.kept is sound
    assert list(choice.reasons()) == [(odd, *fault)]
    none = synthesis.screen([odd, odd], held_to(0.5), 5.0)
    assert none.kept is None
    assert [reason for _, reason, _ in none.reasons()] == ["flat image"] * 2


def test_filters_look_at_the_finished_pairs(inputs: SynthesisInputs, seventy: list[Pair]) -> None:
    middle = float(np.median([pair.consistency for pair in seventy]))
    values = {**inputs.thresholds.values, "inconsistent": middle}
    strict = replace(inputs, thresholds=Thresholds(values=values))
    refusals = Refusals()
    kept = list(synthesize(strict, refusals))
    assert 20 < len(kept) < 70
    assert all(pair.consistency >= middle for pair in kept)
    assert len(kept) + refusals.counts.total() == 70 * inputs.config.candidates
    shown = [row for row in refusals.rows if row["reason"] == "inconsistent"]
    assert shown
    assert all(row["consistency"] < middle for row in shown)
    assert all("less than" in row["why"] for row in shown)


def test_a_pair_that_is_there_already_is_refused(
    inputs: SynthesisInputs, seventy: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pair 7 comes again as 60, its caption written otherwise, and nearly its image."""
    close = synthesis.close

    def repeated(inputs: SynthesisInputs, drafts: list[synthesis.Draft]) -> list[synthesis.Choice]:
        found = close(inputs, drafts)
        for i, choice in enumerate(found):
            if choice.kept is not None and choice.kept.number == 60:
                caption = f"{seventy[7].caption.upper()}."
                pixels = (seventy[7].pixels.int() + 1).clamp(max=255).to(torch.uint8)
                twin = replace(choice.kept, caption=caption, pixels=pixels)
                found[i] = replace(choice, kept=twin)
            elif choice.kept is not None and choice.kept.number == 61:
                other = replace(choice.kept, caption=seventy[7].caption)
                found[i] = replace(choice, kept=other)
        return found

    monkeypatch.setattr(synthesis, "close", repeated)
    monkeypatch.setattr(inputs.novelty.hashes, "distance", 0.1)
    refusals = Refusals()
    numbers = [pair.number for pair in synthesize(inputs, refusals)]
    assert numbers == [i for i in range(70) if i != 60]
    assert refusals.counts[DUPLICATE] == 1
    assert refusals.left_out == 1
    [row] = [row for row in refusals.rows if row["reason"] == DUPLICATE]
    assert (row["pair_id"], row["why"]) == ("pair-0000060", "the same as pair-0000007")
    assert 60 in [pair.number for pair in synthesize(inputs, numbers=range(BLOCK, 70))]


def test_the_sample_of_refusals_is_bounded() -> None:
    refusals, asked = Refusals(), list[int]()

    def told(i: int) -> dict[str, Any]:
        asked.append(i)
        return {"i": i}

    for i in range(1000):
        refusals.add("copy" if i % 2 else "less consistent", functools.partial(told, i))
    assert len(asked) == len(refusals.rows) == 2 * SHOWN_OF_EACH
    assert refusals.counts == {"copy": 500, "less consistent": 500}


# ---------------------------------------------------------------- the dataset


def test_rows_are_those_of_the_schema(inputs: SynthesisInputs, seventy: list[Pair]) -> None:
    found = list(synthesis.rows(inputs, seventy))
    assert all(list(row) == PAIRS.names for row in found)
    table = pa.Table.from_pylist(found, schema=PAIRS)
    assert table.num_rows == 70
    assert table["pair_id"].to_pylist()[:2] == ["pair-0000000", "pair-0000001"]
    names = dict(zip(inputs.examples.class_ids.tolist(), inputs.examples.class_names, strict=True))
    for row, pair in zip(found, seventy, strict=True):
        assert torch.equal(to_tensor(decode(row["image"]["bytes"])), pair.pixels)
        assert row["image"]["path"] == f"{row['pair_id']}.png"
        assert row["seed"] == 7
        assert row["class_name"] == (None if row["class_id"] is None else names[row["class_id"]])
        if row["strategy"].endswith("prototype"):
            assert row["blend_weight"] is not None
            assert row["component"] is None
        if row["strategy"].endswith("density"):
            assert row["blend_weight"] is None
            assert row["component"] is not None
        assert row["nearest_image_id"] in inputs.examples.ids
        assert row["nearest_caption"] in inputs.examples.flat_captions


def test_the_summary_counts_what_the_shards_hold(
    tmp_path: Path, inputs: SynthesisInputs, seventy: list[Pair]
) -> None:
    write_pairs_shard(tmp_path, 0, 1, synthesis.rows(inputs, seventy))
    refusals = Refusals()
    refusals.counts[COPY], refusals.left_out = 5, 2
    summary = synthesis.summary(tmp_path, refusals)
    assert summary["pairs"] == 70
    counts = Counter(pair.strategy for pair in seventy)
    for strategy in STRATEGIES:
        own = [pair.consistency for pair in seventy if pair.strategy == strategy]
        assert summary[f"{strategy}_pairs"] == counts[strategy]
        assert summary[f"{strategy}_consistency"] == pytest.approx(np.mean(own), abs=1e-5)
    kinds = Counter(pair.novelty.kind for pair in seventy)
    assert summary["new_pairs"] == kinds["new"]
    assert summary["seen_image_new_caption_pairs"] == kinds["seen image, new caption"]
    assert sum(summary[key] for key in summary if key.endswith("pairs")) == 3 * 70
    assert {key: summary[key] for key in summary if key.startswith("refused")} == {
        "refused_copy": 5,
        "refused_recombination": 0,
        **{f"refused_{name.replace(' ', '_')}": 0 for name in FILTERS},
        "refused_duplicate": 0,
        "refused_less_new": 0,
        "refused_less_consistent": 0,
        "refused_less_apt_words": 0,
    }
    assert summary["left_out"] == 2
    json.dumps(summary, allow_nan=False)


def test_facts_tell_where_the_pairs_come_from(inputs: SynthesisInputs) -> None:
    facts = synthesis.facts(inputs)
    assert facts["source_images"] == 24
    assert facts["made_from"] == {"pictures": inputs.examples.digest}
    assert (facts["seed"], facts["size"]) == (7, 32)
    assert facts["distance"] == inputs.novelty.threshold
