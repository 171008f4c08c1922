"""Batches: every image once, a caption of its own, and one of another class."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from pairsynth.batches import RIVALS, Batches, class_ranges, told_apart
from pairsynth.examples import Embeddings, Examples

CPU = torch.device("cpu")


def chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def batches(examples: Examples, embeddings: Embeddings) -> Batches:
    return of_size(8, examples, embeddings)


def of_size(size: int, examples: Examples, embeddings: Embeddings) -> Batches:
    """Batches whose noise tells the row."""
    noise = torch.arange(len(examples)).float()[:, None].expand(-1, 6)
    return Batches(examples, embeddings, noise, size, 32, CPU)


def test_wrong_rows_are_of_any_other_class_evenly(
    examples: Examples, embeddings: Embeddings
) -> None:
    mixed = torch.randperm(24, generator=chance())
    shuffled = replace(examples, class_ids=examples.class_ids[mixed])
    source = batches(shuffled, embeddings)
    rng = chance()
    rows = torch.arange(24).repeat(200)
    wrong = source.wrong_rows(rows, rng)
    assert not bool((shuffled.class_ids[wrong] == shuffled.class_ids[rows]).any())
    for row in (0, 11, 23):
        drawn = Counter(wrong[rows == row].tolist())
        others = (shuffled.class_ids != shuffled.class_ids[row]).nonzero().flatten().tolist()
        assert set(drawn) == set(others)
    # 4,800 draws over 24 images: 200 each, give or take four deviations.
    assert all(140 < count < 260 for count in Counter(wrong.tolist()).values())


def test_wrong_rows_with_classes_of_unequal_size_and_unknown_ones(
    examples: Examples, embeddings: Embeddings
) -> None:
    class_ids = torch.tensor([-1] * 5 + [7] * 15 + [9] + [3] * 3)
    source = batches(replace(examples, class_ids=class_ids), embeddings)
    rows = torch.arange(24).repeat(300)
    wrong = source.wrong_rows(rows, chance())
    known = class_ids[rows] >= 0
    assert not bool((class_ids[wrong] == class_ids[rows])[known].any())
    assert not bool((wrong == rows).any())
    unknown = Counter(wrong[rows == 2].tolist())
    assert set(unknown) == set(range(24)) - {2}
    assert set(wrong[rows == 20].tolist()) == set(range(24)) - {20}


@pytest.mark.parametrize("class_id", [-1, 0, 5])
def test_where_all_are_of_one_class_any_other_image_is_wrong(
    examples: Examples, embeddings: Embeddings, class_id: int
) -> None:
    source = batches(replace(examples, class_ids=torch.full((24,), class_id)), embeddings)
    rows = torch.arange(24).repeat(100)
    wrong = source.wrong_rows(rows, chance())
    assert not bool((wrong == rows).any())
    assert set(wrong.tolist()) == set(range(24))


def test_class_ranges_by_hand() -> None:
    start, count = class_ranges(torch.tensor([0, 1, 2, 2, 2, 8]))
    assert start.tolist() == [0, 1, 2, 2, 2, 5]
    assert count.tolist() == [1, 1, 3, 3, 3, 1]


def test_images_that_no_class_tells_apart_are_each_a_class() -> None:
    assert told_apart(torch.tensor([-1, 2, -1, 8, 2])).tolist() == [9, 2, 11, 8, 2]
    for class_id in (-1, 4):
        assert told_apart(torch.full((3,), class_id)).tolist() == [0, 1, 2]


def test_rivals_are_captions_of_any_images_with_their_classes(
    examples: Examples, embeddings: Embeddings
) -> None:
    # 512 captions of 24 images: 21 of each, give or take four deviations
    owner = torch.repeat_interleave(torch.arange(24), examples.first_caption.diff())
    told = replace(embeddings, psi=owner[:, None].float().expand(-1, 8).contiguous())
    unknown = examples.class_ids.clone()
    unknown[:6] = -1
    for class_ids in (examples.class_ids, unknown):
        source = batches(replace(examples, class_ids=class_ids), told)
        batch = next(source.epoch(chance()))
        rows = batch.rival_psi[:, 0].long()
        assert len(rows) == RIVALS
        assert set(rows.tolist()) == set(range(24))
        assert max(Counter(rows.tolist()).values()) < 21 + 4 * 21**0.5
        assert torch.equal(batch.rival_class_ids, told_apart(class_ids)[rows])


def test_an_epoch_shows_every_image_once_with_a_caption_of_its_own(
    examples: Examples, embeddings: Embeddings
) -> None:
    # psi that tells its row, pixels that tell theirs
    first = examples.first_caption
    owner = torch.repeat_interleave(torch.arange(24), first.diff())
    told = Embeddings(image=embeddings.image, psi=owner[:, None].float().expand(-1, 8).contiguous())
    flat = torch.arange(24, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 32, 32)
    source = batches(replace(examples, pixels=flat.contiguous()), told)
    seen = []
    for batch in source.epoch(chance()):
        assert batch.images.shape == (8, 3, 32, 32)
        rows = ((batch.images[:, 0, 0, 0] + 1) * 127.5).round().long()
        assert torch.equal(batch.psi[:, 0].long(), rows)
        assert torch.equal(batch.noise[:, 0].long(), rows)
        assert torch.equal(batch.class_ids, examples.class_ids[rows])
        wrong = examples.class_ids[batch.wrong_psi[:, 0].long()]
        assert not bool((wrong == batch.class_ids).any())
        seen += rows.tolist()
    assert sorted(seen) == list(range(24))


def test_the_incomplete_last_batch_is_left_out(examples: Examples, embeddings: Embeddings) -> None:
    source = of_size(10, examples, embeddings)
    assert [len(batch.images) for batch in source.epoch(chance())] == [10, 10]
    whole = of_size(1000, examples, embeddings)
    assert [len(batch.images) for batch in whole.epoch(chance())] == [24]


def test_stored_margins_are_cropped_away(examples: Examples, embeddings: Embeddings) -> None:
    wide = replace(examples, pixels=F.pad(examples.pixels, (3, 3, 3, 3)))
    batch = next(batches(wide, embeddings).epoch(chance()))
    assert batch.images.shape == (8, 3, 32, 32)
    assert float(batch.images.abs().max()) <= 1
