"""Probes learn from what they are shown, each for itself, on features that stay as they are."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from pairsynth.contrastive import contrastive_loss
from pairsynth.errors import InputError
from pairsynth.evaluation import probes
from pairsynth.evaluation.probes import CONTEXT, LENGTH, Portion, ProbeExamples, Probes
from pairsynth.examples import Examples
from pairsynth.metrics.feature_extractors import Features, random_features
from pairsynth.sources.garden_captions import WORDS as FLOWERS
from pairsynth.text import PAD, SPECIALS, START, UNKNOWN, Vocabulary

WORDS = FLOWERS.words
CPU = torch.device("cpu")
ALL = torch.arange(24)


@pytest.fixture(scope="module")
def features(examples: Examples) -> Features:
    return probes.reader(probes.frozen_features(CPU), examples.pixels)


@pytest.fixture(scope="module")
def vocabulary(examples: Examples) -> Vocabulary:
    return probes.vocabulary_of(examples.flat_captions)


@pytest.fixture(scope="module")
def known(examples: Examples, features: Features, vocabulary: Vocabulary) -> ProbeExamples:
    seen = features(examples.pixels)
    return probes.prepare(
        seen, examples.captions, examples.class_ids, vocabulary, [0, 1, 2, 3], FLOWERS
    )


def taught(
    known: ProbeExamples, vocabulary: Vocabulary, starts: list[int], steps: int = 4
) -> Probes:
    heads = Probes(starts, vocabulary, known.features.shape[1], 4, len(WORDS))
    probes.train(
        heads, [[Portion(name="real", examples=known, rows=[ALL] * len(starts))]], steps, starts
    )
    return heads


def test_they_learn_all_four_tasks(
    known: ProbeExamples, vocabulary: Vocabulary, features: Features, val: Examples
) -> None:
    heads = taught(known, vocabulary, [1, 2], 60)
    seen = features(val.pixels)[None]
    right = (heads.classes(seen).argmax(2) == val.class_ids).sum(1)
    assert min(right.tolist()) >= 10
    captions = [f"this flower is {name}" for name in ("red", "blue", "yellow", "white")]
    read = heads.read(vocabulary.encode(captions, LENGTH).expand(2, -1, -1))
    for found in (heads.see(seen) @ read.transpose(1, 2)).argmax(2).tolist():
        told = [captions[i] for i in found]
        assert sum(a in b for a, b in zip(val.class_names, told, strict=True)) >= 10
    columns = [WORDS.index(name) for name in ("red", "blue", "yellow", "white")]
    named = heads.names(seen)[:, :, columns].argmax(2)
    assert min((named == val.class_ids).sum(1).tolist()) >= 10
    own = vocabulary.encode([one[0] for one in val.captions], LENGTH).expand(2, -1, -1)
    chances, counts = heads.write(seen, own)
    moved, _ = heads.write(seen.roll(3, 1), own)
    assert bool(((chances * counts).sum() > (moved * counts).sum()).all())


def test_no_probe_feels_another(known: ProbeExamples, vocabulary: Vocabulary) -> None:
    together, alone = taught(known, vocabulary, [5, 6, 7]), taught(known, vocabulary, [6])
    for name, weights in alone.named_parameters():
        other = dict(together.named_parameters())[name]
        assert torch.allclose(weights[0], other[1], atol=1e-4), name
        assert not torch.allclose(other[0], other[1], atol=1e-4) or "tell_bias" in name


def test_what_is_learned_beside_them_moves_no_batch(known: ProbeExamples) -> None:
    share = Portion(name="real", examples=known, rows=[ALL])
    rows, captions = probes._drawn(share, 9, [3], 0)
    assert rows.shape == captions.shape == (9, 1, probes.BATCH)
    again, _ = probes._drawn(replace(share, weight=0.5), 9, [3], 0)
    assert torch.equal(rows, again)
    for other in (probes._drawn(share, 9, [3], 1), probes._drawn(share, 9, [4], 0)):
        assert not torch.equal(rows, other[0])
    flat = rows.flatten()
    for start in range(0, 9 * probes.BATCH - 24, 24):
        assert sorted(flat[start : start + 24].tolist()) == ALL.tolist()
    first = known.first
    assert bool(((first[rows] <= captions) & (captions < first[rows + 1])).all())


def test_a_weight_of_nought_is_as_if_it_were_not_there(
    known: ProbeExamples, vocabulary: Vocabulary
) -> None:
    beside = Probes([6], vocabulary, known.features.shape[1], 4, len(WORDS))
    shares = [
        Portion(name="real", examples=known, rows=[ALL]),
        Portion(name="synthetic", examples=known, rows=[ALL[:5]], weight=0.0),
    ]
    probes.train(beside, [shares], 4, [6])
    alone = taught(known, vocabulary, [6])
    for own, other in zip(beside.parameters(), alone.parameters(), strict=True):
        assert torch.allclose(own, other, atol=1e-4)


def test_chances_of_words_by_hand(known: ProbeExamples, vocabulary: Vocabulary) -> None:
    """A word by the three before it: the first from <start> alone."""
    heads = taught(known, vocabulary, [8, 9])
    row = torch.tensor([START, *torch.arange(len(SPECIALS), len(SPECIALS) + 4), UNKNOWN, PAD])
    tokens, features = row.expand(2, 1, -1), known.features[None, :1]
    chances, counts = heads.write(features, tokens)
    assert counts[0, 0].tolist() == [True] * 4 + [False] * 2
    for k in range(2):
        for t in range(1, 6):
            last = [None] * CONTEXT + row[:t].tolist()
            words = [
                torch.zeros(probes.WORD) if word is None else heads.word[k, word]
                for word in last[-CONTEXT:]
            ]
            hidden = torch.cat(words) @ heads.before[k] + heads.hidden_bias[k, 0]
            hidden = (hidden + known.features[0] @ heads.shown[k]).relu()
            told = (hidden @ heads.out[k] + heads.out_bias[k, 0]).log_softmax(0)
            assert chances[k, 0, t - 1].item() == pytest.approx(told[row[t]].item(), abs=1e-4)


def test_contrasts_are_the_contrastive_loss_of_each(examples: Examples) -> None:
    rng = torch.Generator().manual_seed(0)
    seen, read = (F.normalize(torch.randn(3, 6, 4, generator=rng), dim=2) for _ in range(2))
    groups = torch.tensor([[0, 1, 0, 2, 3, 4], [5, 6, 7, 8, 9, 10], [1, 1, 1, 1, 1, 2]])
    found = probes.contrasts(seen, read, groups)
    for k in range(3):
        wanted = contrastive_loss(seen[k], read[k], groups[k])
        assert found[k].item() == pytest.approx(wanted.item(), abs=1e-5)


def test_words_named_are_the_lexicons(examples: Examples) -> None:
    table = probes.named(examples.flat_captions, FLOWERS)
    for row, caption in zip(table, examples.flat_captions, strict=True):
        assert {WORDS[i] for i in row.nonzero()[:, 0]} == set().union(
            *FLOWERS.said(caption).values()
        )


def test_examples_of_probes_keep_features_captions_and_classes(
    examples: Examples, known: ProbeExamples
) -> None:
    assert known.first.tolist() == examples.first_caption.tolist()
    assert len(known.tokens) == len(known.named) == len(examples.flat_captions)
    assert known.tokens.shape[1] == LENGTH
    assert known.targets.tolist() == known.groups.tolist() == examples.class_ids.tolist()


def test_classes_that_are_not_asked_for_have_no_target(
    examples: Examples, vocabulary: Vocabulary
) -> None:
    """And an image of no known class is in a group of its own."""
    class_ids = torch.where(examples.class_ids == 1, -1, examples.class_ids)
    found = probes.prepare(
        torch.zeros(24, 3), examples.captions, class_ids, vocabulary, [0, 3], FLOWERS
    )
    assert found.targets.tolist() == [0] * 6 + [-1] * 12 + [1] * 6
    alone = found.groups[6:12].tolist()
    assert len({*found.groups.tolist()}) == 3 + 6
    assert min(alone) > 3


def test_features_are_principal_components(examples: Examples, features: Features) -> None:
    seen = features(examples.pixels)
    assert seen.shape[1] <= min(probes.COMPONENTS, 24)
    spread = seen.T.cov()
    assert spread.diagonal().mean().item() == pytest.approx(1, abs=1e-3)
    assert float((spread - spread.diagonal().diag()).abs().max()) < 1e-2
    assert torch.allclose(features(examples.pixels[3:5]), seen[3:5], atol=1e-2)


def test_without_the_extra_eyes_have_learned_nothing_and_it_says_so(
    examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert probes.features_name() == "EfficientNet-Lite0"
    monkeypatch.setattr(probes, "installed", lambda name: False)
    assert probes.features_name() == "a network that learned nothing"
    seen = probes.frozen_features(CPU)(examples.pixels)
    assert torch.equal(seen, random_features()(examples.pixels))


def test_probes_know_the_most_frequent_words() -> None:
    words = [f"w{i}" for i in range(probes.KNOWN + 50)]
    captions = [*words, *words, *words[50:], "once"]
    assert len(Vocabulary.build(captions, "word", 2)) == probes.KNOWN + 50 + len(SPECIALS)
    assert set(probes.vocabulary_of(captions).tokens[len(SPECIALS) :]) == set(words[50:])


def test_a_loss_that_is_no_number_ends_it(known: ProbeExamples, vocabulary: Vocabulary) -> None:
    broken = replace(known, named=known.named * torch.nan)
    with pytest.raises(InputError, match="a probe's loss is nan in step 1"):
        taught(broken, vocabulary, [1])
