"""Pupils learn from what they are shown, half and half where there are two sources."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from pairsynth import seeds
from pairsynth.errors import InputError
from pairsynth.evaluation import probes
from pairsynth.evaluation.probes import LENGTH, WORDS, Lessons, Probe
from pairsynth.examples import Pictures
from pairsynth.metrics.lexicon import said
from pairsynth.text import PAD, Vocabulary
from tests.workspace import undone

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def lessons(pictures: Pictures) -> Lessons:
    vocabulary = Vocabulary.build(pictures.flat_captions, "word")
    return probes.prepare(
        pictures.pixels, pictures.captions, pictures.class_ids, vocabulary, [0, 1, 2, 3]
    )


@pytest.fixture(scope="module")
def probe(pictures: Pictures, lessons: Lessons) -> Iterator[Probe]:
    with undone():
        seeds.fix(0, "probe")
        model = Probe(Vocabulary.build(pictures.flat_captions, "word"), 4)
        probes.train(model, [(lessons, torch.arange(24))], 60, torch.Generator().manual_seed(0))
        yield model


def test_it_learns_all_four_tasks(probe: Probe, val: Pictures) -> None:
    maps = probe.maps(probes.small(val.pixels))
    features = maps.mean((2, 3))
    right = (probe.classes(features).argmax(1) == val.class_ids).sum()
    assert int(right) >= 10
    captions = [f"this flower is {name}" for name in ("red", "blue", "yellow", "white")]
    read = probe.read(probe.vocabulary.encode(captions, LENGTH))
    found = (probe.see(features) @ read.T).argmax(1)
    assert sum(a in captions[i] for a, i in zip(val.class_names, found, strict=True)) >= 10
    columns = [WORDS.index(name) for name in ("red", "blue", "yellow", "white")]
    named = probe.names(features)[:, columns].argmax(1)
    assert int((named == val.class_ids).sum()) >= 10


def test_words_named_are_the_lexicons(pictures: Pictures) -> None:
    table = probes.named(pictures.flat_captions)
    for row, caption in zip(table, pictures.flat_captions, strict=True):
        assert {WORDS[i] for i in row.nonzero()[:, 0]} == set().union(*said(caption).values())


def test_lessons_keep_pictures_captions_and_classes(pictures: Pictures, lessons: Lessons) -> None:
    assert torch.equal(lessons.pixels[..., 2:-2, 2:-2], pictures.pixels)
    assert lessons.first.tolist() == pictures.first_caption.tolist()
    assert len(lessons.tokens) == len(lessons.named) == len(pictures.flat_captions)
    assert lessons.targets.tolist() == pictures.class_ids.tolist()


def test_classes_that_are_not_asked_for_have_no_target(pictures: Pictures) -> None:
    vocabulary = Vocabulary.build(pictures.flat_captions, "word")
    class_ids = torch.where(pictures.class_ids == 1, -1, pictures.class_ids)
    found = probes.prepare(pictures.pixels, pictures.captions, class_ids, vocabulary, [0, 3])
    assert found.targets.tolist() == [0] * 6 + [-1] * 12 + [1] * 6


@pytest.mark.parametrize("size", [32, 64, 128])
def test_pictures_are_seen_at_one_size(size: int) -> None:
    pixels = torch.randint(256, (3, 3, size, size)).to(torch.uint8)
    found = probes.small(pixels)
    assert found.shape == (3, 3, 32, 32)
    wanted = F.avg_pool2d(pixels.float(), size // 32).round()
    assert torch.equal(found.float(), wanted)


def test_each_source_gives_half_a_batch_and_none_twice(lessons: Lessons) -> None:
    wide = Lessons(*(torch.cat([value] * 4) for value in vars(replace(lessons)).values()))
    wide = replace(wide, first=torch.arange(97), class_ids=torch.arange(96))
    images, tokens, named, class_ids, _ = probes._batch(
        wide, torch.arange(96), torch.Generator().manual_seed(0), 2
    )
    assert len(images) == len(tokens) == len(named) == 32
    assert len(set(class_ids.tolist())) == 32
    assert tokens.shape[1] == LENGTH
    assert bool((tokens[:, -1] == PAD).all())


def test_few_rows_come_again(lessons: Lessons) -> None:
    *_, class_ids, _ = probes._batch(lessons, torch.tensor([0, 6]), torch.Generator(), 1)
    assert class_ids.tolist().count(0) == class_ids.tolist().count(1) == 32


def test_a_loss_that_is_no_number_ends_it(pictures: Pictures, lessons: Lessons) -> None:
    broken = replace(lessons, named=lessons.named * torch.nan)
    model = Probe(Vocabulary.build(pictures.flat_captions, "word"), 4)
    with pytest.raises(InputError, match="a probe's loss is nan in step 1"):
        probes.train(model, [(broken, torch.arange(24))], 1, torch.Generator())
