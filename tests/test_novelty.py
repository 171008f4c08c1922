"""Is a pair new? Planted copies are found, and the alarm is as rare as it claims."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from pairsynth.encoders import JointEncoder
from pairsynth.examples import Embeddings, Examples
from pairsynth.images import center_crop
from pairsynth.metrics.nearest import Exact, Features
from pairsynth.metrics.novelty import (
    COPY,
    FALSE_ALARMS,
    KINDS,
    NEW,
    NEW_CAPTION,
    NEW_IMAGE,
    RECOMBINATION,
    Neighbours,
    NoveltyIndex,
    alarm,
    hashes,
    kind_of,
    thumbnails,
)
from tests.conftest import draw


@pytest.fixture(scope="module")
def index(examples: Examples, val: Examples, embeddings: Embeddings) -> NoveltyIndex:
    return NoveltyIndex(examples, embeddings.psi, val, 32)


# ---------------------------------------------------------------- images


def test_thumbnails_are_means_over_a_raster(examples: Examples) -> None:
    found = thumbnails(examples.pixels)
    assert found.shape == (24, 768)
    blocks = examples.pixels.double().numpy().reshape(24, 3, 16, 2, 16, 2).mean((3, 5)) / 255
    assert np.allclose(found.numpy(), blocks.reshape(24, -1), atol=1e-6)


@pytest.mark.parametrize("block", [1, 3, 1024])
def test_the_nearest_two_against_brute_force(block: int) -> None:
    rng = np.random.default_rng(0)
    own, mirrored, references = (rng.random((n, 30)) for n in (20, 20, 50))
    distances = np.minimum(
        *(np.sqrt(((side[:, None] - references) ** 2).mean(2)) for side in (own, mirrored))
    )
    ones, others, those = (torch.from_numpy(a).float() for a in (own, mirrored, references))
    found = Exact(lambda vectors: vectors, those).two(ones, others, block)
    first, second = np.sort(distances, 1)[:, :2].T
    assert found.row.tolist() == distances.argmin(1).tolist()
    assert np.allclose(found.distance.numpy(), first, atol=1e-6)
    assert np.allclose(found.ratio.numpy(), first / second, atol=1e-5)


def test_a_copy_is_at_zero_beside_twins_that_are_nearly_it() -> None:
    """Images that differ by one grey level in one pixel: nearest is exact all the same."""
    pixels = torch.full((40, 3, 32, 32), 200, dtype=torch.uint8)
    for i in range(40):
        pixels[i, i % 3, i % 16, i // 3] += 1
    small = thumbnails(pixels)
    found = Exact(thumbnails, pixels).two(small, small)
    assert found.distance.tolist() == [0] * 40
    assert bool((small[found.row] == small).all())


def test_a_copy_of_an_image_that_is_there_twice_has_no_ratio_but_is_at_zero() -> None:
    pixels = torch.randint(256, (3, 3, 32, 32)).to(torch.uint8)
    small = thumbnails(pixels)
    found = Exact(thumbnails, pixels[[0, 0, 1, 2]]).two(small, small)
    assert found.distance.tolist() == [0, 0, 0]
    assert found.ratio.tolist() == [1, 0, 0]


def test_planted_copies_are_found_mirrored_too(index: NoveltyIndex, examples: Examples) -> None:
    for pixels in (examples.pixels, examples.pixels.flip(3)):
        near, flags = index.alarms(pixels)
        assert near.row.tolist() == list(range(24))
        assert torch.allclose(near.distance, torch.zeros(24), atol=1e-7)
        assert torch.allclose(near.ratio, torch.zeros(24), atol=1e-6)
        assert bool(flags["distance"].all())
        assert bool(flags["ratio"].all())
    near, _ = index.alarms(examples.pixels.flip(2))
    assert float(near.distance.max()) > 0.01


def test_copies_are_found_among_stored_margins(examples: Examples, val: Examples) -> None:
    wide = replace(examples, pixels=F.pad(examples.pixels, (3, 3, 3, 3), value=9))
    psi = torch.eye(len(examples.flat_captions))
    index = NoveltyIndex(wide, psi, val, 32)
    near, _ = index.alarms(center_crop(wide.pixels, 32))
    assert near.row.tolist() == list(range(24))
    assert torch.allclose(near.distance, torch.zeros(24), atol=1e-7)


# ---------------------------------------------------------------- hashes


def flat(*colour: int) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.uint8)[None, :, None, None].expand(1, 3, 32, 32)


def test_the_cosine_frequencies_are_those_of_the_textbook(examples: Examples) -> None:
    grey = (examples.pixels.double() / 255).mean(1).numpy()
    waves = np.cos(np.pi / 32 * np.arange(8)[:, None] * (np.arange(32) + 0.5))
    low = (4 * waves @ grey @ waves.T).reshape(24, -1)[:, 1:]
    median = np.sort(low, 1)[:, [31]]
    found = hashes(examples.pixels)[:, :63].numpy()
    unsure = abs(low - median) < 1e-3
    assert bool(((found == (low > median)) | unsure).all())
    assert unsure.mean() < 0.05


def test_the_colour_hash_tells_what_the_perceptual_one_cannot() -> None:
    red, blue = hashes(flat(255, 0, 0))[0], hashes(flat(0, 0, 255))[0]
    assert torch.equal(red[:63], blue[:63])
    assert int((red != blue).sum()) > 32


@pytest.mark.parametrize("view", [thumbnails, hashes])
def test_copies_that_were_changed_a_little_stay_near(
    view: Features, examples: Examples, val: Examples
) -> None:
    near = Neighbours(view, examples.pixels, val.pixels, FALSE_ALARMS)
    changed = (examples.pixels.int() + 2).clamp(0, 255).to(torch.uint8)
    found = near.find(changed)
    assert (found.row == torch.arange(24)).float().mean() > 0.9
    assert float(found.distance.mean()) < float(near.find(val.pixels).distance.mean()) / 2


# ---------------------------------------------------------------- alarms


def test_an_alarm_is_true_of_no_more_than_the_rate() -> None:
    values = torch.tensor([3.0, 1.0, 2.0, 2.0, 5.0])
    assert alarm(values, 0.0) == 1
    assert alarm(values, 0.2) == 2
    assert alarm(values, 0.5) == 2
    assert alarm(values, 1.0) == 5
    with pytest.raises(ValueError, match="not numbers"):
        alarm(torch.tensor([1.0, torch.nan]), 0.1)


@pytest.mark.parametrize(("train", "held_out"), [(1, 5), (0, 5), (5, 0)])
def test_too_few_images_are_refused(examples: Examples, train: int, held_out: int) -> None:
    with pytest.raises(ValueError, match=f"{train} training and {held_out} held-out images"):
        Neighbours(thumbnails, examples.pixels[:train], examples.pixels[:held_out], 0.01)


@given(st.permutations(range(12)), st.integers(1, 12))
def test_neither_order_nor_batch_changes_a_row(order: list[int], batch: int) -> None:
    val, train = draw(2, 3), draw(1, 6)
    index = NoveltyIndex(train, F.normalize(torch.randn(48, 8), dim=1), val, 32)
    captions, psi = [own[0] for own in val.captions], F.normalize(torch.randn(12, 8), dim=1)
    wanted = index.judge(val.pixels, captions, psi)
    found = []
    for i in range(0, 12, batch):
        rows = order[i : i + batch]
        found += index.judge(val.pixels[rows], [captions[row] for row in rows], psi[rows])
    for one, row in zip(found, order, strict=True):
        assert (one.kind, one.nearest_image, one.nearest_caption_id) == (
            wanted[row].kind,
            wanted[row].nearest_image,
            wanted[row].nearest_caption_id,
        )
        assert one.image_distance == pytest.approx(wanted[row].image_distance, abs=1e-7)


def test_no_pairs_have_no_novelty(index: NoveltyIndex) -> None:
    assert index.judge(torch.empty(0, 3, 32, 32, dtype=torch.uint8), [], torch.empty(0, 8)) == []


def test_the_alarm_is_as_rare_as_it_claims() -> None:
    rng = torch.Generator().manual_seed(0)

    def noise(count: int) -> Examples:
        pixels = torch.randint(256, (count, 3, 32, 32), generator=rng).to(torch.uint8)
        ids = [str(i) for i in range(count)]
        return Examples(
            ids=ids,
            class_ids=torch.zeros(count).long(),
            class_names=ids,
            pixels=pixels,
            captions=[["a"]] * count,
            attributes=None,
        )

    train, held_out = noise(50), noise(1000)
    index = NoveltyIndex(train, torch.eye(50), held_out, 32)

    def seen(pixels: torch.Tensor) -> float:
        return float(torch.stack(list(index.alarms(pixels)[1].values())).any(0).float().mean())

    assert FALSE_ALARMS / 3 <= seen(held_out.pixels) <= FALSE_ALARMS
    assert seen(noise(1000).pixels) < 4 * FALSE_ALARMS


# ---------------------------------------------------------------- pairs


def test_kind_of_by_hand() -> None:
    assert kind_of(False, False, False) == NEW
    assert kind_of(False, True, False) == kind_of(False, True, True) == NEW_IMAGE
    assert kind_of(True, False, False) == NEW_CAPTION
    assert kind_of(True, True, False) == RECOMBINATION
    assert kind_of(True, True, True) == COPY


def test_all_five_kinds_are_told(
    index: NoveltyIndex, examples: Examples, encoder: JointEncoder
) -> None:
    own, mirror = examples.pixels[0], examples.pixels[0].flip(2)
    fresh = torch.randint(256, (3, 32, 32), generator=torch.Generator().manual_seed(0))
    pixels = torch.stack([own, own, mirror, own, fresh.to(torch.uint8), fresh.to(torch.uint8)])
    captions = [
        examples.captions[0][0],  # its own
        examples.captions[0][0].upper() + " !",  # its own, written otherwise
        examples.captions[6][0],  # another's
        "something nobody wrote",
        examples.captions[6][0],
        "something nobody wrote",
    ]
    found = index.judge(pixels, captions, encoder.embed_captions(captions))
    assert [one.kind for one in found] == [
        COPY,
        COPY,
        RECOMBINATION,
        NEW_CAPTION,
        NEW_IMAGE,
        NEW,
    ]
    assert {one.kind for one in found} == set(KINDS)
    assert [one.caption_seen for one in found] == [True, True, True, False, True, False]
    assert [one.nearest_image for one in found[:4]] == [examples.ids[0]] * 4
    assert found[0].image_distance == pytest.approx(0, abs=1e-7)
    assert found[0].nearest_caption == captions[0]
    assert found[0].caption_similarity == pytest.approx(1, abs=1e-5)


def test_a_caption_of_several_images_belongs_to_each(
    val: Examples, examples: Examples, encoder: JointEncoder
) -> None:
    shared = replace(examples, captions=[["the same words"]] * 24)
    index = NoveltyIndex(shared, encoder.embed_captions(shared.flat_captions), val, 32)
    psi = encoder.embed_captions(["the same words"] * 24)
    found = index.judge(examples.pixels, ["The same words."] * 24, psi)
    assert {one.kind for one in found} == {COPY}


def test_the_nearest_caption_against_brute_force(
    index: NoveltyIndex, examples: Examples, embeddings: Embeddings
) -> None:
    queries = F.normalize(torch.randn(30, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    pixels = examples.pixels[torch.arange(30) % 24]
    found = index.judge(pixels, ["x"] * 30, queries)
    cosines = queries.double().numpy() @ embeddings.psi.double().numpy().T
    for one, row in zip(found, cosines, strict=True):
        assert one.caption_similarity == pytest.approx(row.max(), abs=1e-5)
        owner, place = one.nearest_caption_id.split("#")
        own = examples.captions[examples.ids.index(owner)]
        assert own[int(place)] == one.nearest_caption
        assert row[examples.flat_captions.index(one.nearest_caption)] == pytest.approx(
            row.max(), abs=1e-5
        )


def test_a_row_is_judged_the_same_alone(
    index: NoveltyIndex, val: Examples, encoder: JointEncoder
) -> None:
    captions = [own[0] for own in val.captions]
    psi = encoder.embed_captions(captions)
    together = index.judge(val.pixels, captions, psi)
    for i in range(12):
        [alone] = index.judge(val.pixels[i : i + 1], captions[i : i + 1], psi[i : i + 1])
        assert alone.kind == together[i].kind
        assert alone.nearest_image == together[i].nearest_image
        assert alone.nearest_caption == together[i].nearest_caption
        assert alone.image_distance == pytest.approx(together[i].image_distance, abs=1e-7)
